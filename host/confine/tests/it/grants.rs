//! What was granted works, and nothing more is seen.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use backstay_confine::How;
use backstay_model::Code;

use super::lab::Lab;

#[test]
fn every_language_writes_into_its_output_directory() {
    for (name, content) in [
        ("a.sh", "echo hi > $BACKSTAY_OUTPUT_DIR/f"),
        (
            "b.sh",
            "#!/bin/bash\n[[ -w $BACKSTAY_OUTPUT_DIR ]] && printf 'hi\\n' > $BACKSTAY_OUTPUT_DIR/f",
        ),
        (
            "a.py",
            "import os\nopen(os.environ['BACKSTAY_OUTPUT_DIR'] + '/f', 'w').write('hi\\n')",
        ),
        (
            "b.py",
            "#!/usr/bin/env python3\nimport os\nopen(os.environ['BACKSTAY_OUTPUT_DIR'] + '/f', 'w').write('hi\\n')",
        ),
        (
            "a.pl",
            "open(F, '>', \"$ENV{BACKSTAY_OUTPUT_DIR}/f\") or die $!; print F \"hi\\n\"; close F or die;",
        ),
        (
            "a.js",
            "require('fs').writeFileSync(process.env.BACKSTAY_OUTPUT_DIR + '/f', 'hi\\n')",
        ),
    ] {
        let lab = Lab::new();
        let done = lab.run(&lab.script(name, content));
        assert_eq!(done.ended.how, How::Exited(0), "{name}: {:?}", done.lines);
        assert_eq!(
            fs::read_to_string(lab.output().join("f")).unwrap(),
            "hi\n",
            "{name}"
        );
        assert_eq!(
            (done.ended.output.size.entries, done.ended.output.size.bytes),
            (1, 3),
            "{name}"
        );
    }
}

#[test]
fn what_it_wrote_is_the_hosts_own_afterwards() {
    let lab = Lab::new();
    lab.sh("mkdir d && echo x > d/f && chmod 000 d/f && ln -s f d/l && chmod 000 d");
    for name in ["", "d", "d/f", "d/l"] {
        let found = fs::symlink_metadata(lab.output().join(name)).unwrap();
        assert_eq!((found.uid(), found.gid()), (0, 0), "{name}");
    }
}

#[test]
fn arguments_arrive_as_they_are() {
    let lab = Lab::new();
    let mut script = lab.script("a.sh", "for a; do echo \"<$a>\"; done");
    script.args = ["$(id)", "a b", "*", "--help", "'\"\\", ""]
        .map(str::to_owned)
        .into();
    assert_eq!(
        lab.run(&script).ok(),
        ["<$(id)>", "<a b>", "<*>", "<--help>", "<'\"\\>", "<>"]
    );
}

#[test]
fn its_environment_is_what_was_named_and_nothing_else() {
    let lab = Lab::new();
    let mut script = lab.script("a.sh", "exec env");
    script.env = vec![("TOKEN".to_owned(), "a=b c".to_owned())];
    let mut lines = lab.run(&script).ok();
    lines.retain(|line| !line.starts_with("PWD=") && !line.starts_with("_=") && !line.starts_with("SHLVL="));
    lines.sort_unstable();
    let path = format!("PATH={}", backstay_confine::script::PATH);
    let expected = [
        "BACKSTAY_OUTPUT_DIR=/backstay/output",
        "HOME=/tmp",
        "LANG=C.UTF-8",
        &path,
        "TMPDIR=/tmp",
        "TOKEN=a=b c",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_granted_directory_is_seen_and_stays_as_it_is() {
    let lab = Lab::new();
    let data = lab.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "content\n").unwrap();
    fs::write(lab.path().join("other"), "secret\n").unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(data.join("file"), fs::Permissions::from_mode(0o666)).unwrap();
    let before = fs::metadata(data.join("file")).unwrap();
    let mut script = lab.script(
        "a.sh",
        "cat file\nfor try in 'echo x > file' 'echo x > new' 'chmod 777 file' 'chown 65001 file' 'touch file' 'rm file' \
         'mv file gone' 'ln file here' 'mkdir sub' 'truncate -s 0 file' 'setfattr -n user.a -v b file' \
         'ln file /backstay/output/same'; do\n  sh -c \"$try\" 2>/dev/null && echo \"did $try\"\ndone\n\
         cat ../other 2>/dev/null || echo unseen",
    );
    script.readable = vec![data.clone()];
    script.directory = Some(data.clone());
    assert_eq!(lab.run(&script).ok(), ["content", "unseen"]);
    let after = fs::metadata(data.join("file")).unwrap();
    let facts = |meta: &fs::Metadata| {
        (
            meta.mode(),
            meta.uid(),
            meta.mtime_nsec(),
            meta.ctime_nsec(),
            meta.nlink(),
        )
    };
    assert_eq!(facts(&before), facts(&after));
    assert_eq!(fs::read_to_string(data.join("file")).unwrap(), "content\n");
}

#[test]
fn a_granted_file_is_seen_alone() {
    let lab = Lab::new();
    fs::write(lab.path().join("one"), "1\n").unwrap();
    fs::write(lab.path().join("two"), "2\n").unwrap();
    let directory = lab.path().display().to_string();
    let mut script = lab.script("a.sh", &format!("cat {directory}/one; ls {directory}"));
    script.readable = vec![lab.path().join("one")];
    assert_eq!(lab.run(&script).ok(), ["1", "a.sh", "one"]);
}

#[test]
fn what_belongs_to_the_host_is_covered_over_in_what_was_granted() {
    let lab = Lab::new();
    let hidden = lab.path().join("srv/backstay");
    fs::create_dir_all(&hidden).unwrap();
    fs::write(hidden.join("backstay.db"), "secret").unwrap();
    let srv = lab.path().join("srv");
    for path in [&srv, &hidden] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut script = lab.script(
        "a.sh",
        &format!(
            "ls {0}; ls {0}/backstay 2>/dev/null || echo closed",
            srv.display()
        ),
    );
    script.readable = vec![srv];
    script.hidden = vec![hidden.clone()];
    assert_eq!(lab.run(&script).ok(), ["backstay", "closed"]);
    script.readable = vec![hidden.join("backstay.db")];
    let error = lab.refused(&script);
    assert_eq!(error.code(), Code::Security);
}

#[test]
fn what_can_not_be_granted_is_refused_with_the_way_out() {
    let lab = Lab::new();
    std::os::unix::fs::symlink("/", lab.path().join("root")).unwrap();
    for (path, code) in [
        (Path::new("/"), Code::Security),
        (Path::new("/proc/1"), Code::Security),
        (Path::new("/dev/sda"), Code::Environment),
        (Path::new("/etc/../root"), Code::Security),
        (&lab.path().join("root"), Code::Security),
        (&lab.path().join("none"), Code::Environment),
        (Path::new("relative"), Code::Configuration),
    ] {
        let mut script = lab.script("a.sh", "echo ran");
        script.readable = vec![path.to_owned()];
        let error = lab.refused(&script);
        assert_eq!(error.code(), code, "{}: {error}", path.display());
    }
}

#[test]
fn a_directory_that_it_does_not_see_is_no_place_to_start() {
    let lab = Lab::new();
    let mut script = lab.script("a.sh", "pwd");
    script.directory = Some("/var/lib".into());
    let error = lab.refused(&script);
    assert_eq!(error.code(), Code::Configuration);
    script.directory = Some("/usr/share".into());
    assert_eq!(lab.run(&script).ok(), ["/usr/share"]);
    script.directory = None;
    assert_eq!(lab.run(&script).ok(), ["/backstay/output"]);
    script.output = None;
    assert_eq!(lab.run(&script).ok(), ["/tmp"]);
}

#[test]
fn the_network_is_there_only_if_granted() {
    let lab = Lab::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut script = lab.script(
        "a.py",
        &format!("import socket\ntry:\n  socket.create_connection(('127.0.0.1', {port}), 2)\n  print('there')\nexcept OSError as e:\n  print('none')"),
    );
    assert_eq!(lab.run(&script).ok(), ["none"]);
    script.network = true;
    assert_eq!(lab.run(&script).ok(), ["there"]);
}
