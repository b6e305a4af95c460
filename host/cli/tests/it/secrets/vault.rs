//! Setting, listing, using and removing.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::json;

use super::lab::{Lab, said};

impl Lab {
    /// `secret set token` with this for its standard input.
    fn setting(&self, input: Stdio) -> Child {
        Command::new(env!("CARGO_BIN_EXE_backstay"))
            .env("BACKSTAY_DATA_DIR", self.backstay.data_dir())
            .args(["secret", "set", "token"])
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Backs up what a program sees of the secret.
    #[track_caller]
    fn seen(&self) -> String {
        self.backstay.run(&["run", "j"]).ok();
        self.content("j")
    }
}

#[test]
fn they_come_from_a_file_a_variable_or_standard_input() {
    let lab = Lab::on(|backstay| backstay.env("TOKEN", "from a variable"));
    lab.backstay.secret("token", "from a file\n");
    lab.apply("j", "printf '<%s>' \"$LAB_SECRET\"");
    assert_eq!(lab.seen(), "<from a file>");
    let changed = lab
        .backstay
        .run(&["secret", "set", "token", "--from-env", "TOKEN"])
        .ok();
    assert!(changed.stdout.contains("another text"), "{}", changed.stdout);
    assert_eq!(lab.seen(), "<from a variable>");
    let mut child = lab.setting(Stdio::piped());
    let input = b"two\nlines\r\n";
    child.stdin.take().unwrap().write_all(input).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(lab.seen(), "<two\nlines>");
}

#[test]
fn at_a_terminal_they_are_asked_for_twice_and_not_shown() {
    for (answers, code) in [
        (["typed secret", "typed secret"], 0),
        (["typed secret", "mistyped"], 2),
    ] {
        let lab = Lab::new();
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let name = name.to_str().unwrap().to_owned();
        let input = fs::File::options().read(true).write(true).open(name).unwrap();
        let mut child = lab.setting(input.try_clone().unwrap().into());
        let mut keyboard = fs::File::from(terminal);
        let mut questions = child.stderr.take().unwrap();
        let mut asked = String::new();
        for answer in answers {
            let mut byte = [0];
            while !asked.ends_with(": ") {
                questions.read_exact(&mut byte).unwrap();
                asked.push(char::from(byte[0]));
            }
            writeln!(keyboard, "{answer}").unwrap();
            asked.push('\n');
        }
        questions.read_to_string(&mut asked).unwrap();
        assert!(
            asked.starts_with("secret `token`: \n\nsecret `token`, again: \n"),
            "{asked}"
        );
        assert_eq!(child.wait().unwrap().code(), Some(code), "{asked}");
        // What the terminal would show.
        drop(input);
        let mut shown = Vec::new();
        let mut part = [0; 256];
        while let Ok(length @ 1..) = keyboard.read(&mut part) {
            shown.extend_from_slice(&part[..length]);
        }
        assert!(!String::from_utf8_lossy(&shown).contains("typed"), "{shown:?}");
        if code == 0 {
            lab.apply("j", "printf '<%s>' \"$LAB_SECRET\"");
            assert_eq!(lab.seen(), "<typed secret>");
        } else {
            assert!(asked.contains("not the same twice"), "{asked}");
            assert_eq!(lab.backstay.json(&["secret", "list"]), json!([]));
        }
    }
}

#[test]
fn they_are_listed_with_their_jobs_and_stay_while_one_names_them() {
    let lab = Lab::new();
    for name in ["token", "spare"] {
        lab.backstay.secret(name, "text of it");
    }
    lab.apply("j", "true");
    lab.apply("k", "true");
    let hook = json!({ "before": { "scriptPath": "/bin/x.sh", "secretEnvironment": { "A": "hooked" } } });
    let hooked = lab.job("hooked", "true", &hook).to_string();
    let refused = lab.backstay.apply(&hooked).code(2);
    assert!(said(&refused).contains("there is no file /bin/x.sh"));
    let listed = lab.backstay.json(&["secret", "list"]);
    let jobs: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (&one["name"], &one["jobs"]))
        .collect();
    assert_eq!(json!(jobs), json!([["spare", []], ["token", ["j", "k"]]]));
    let text = lab.backstay.run(&["secret", "list"]).ok().stdout;
    assert!(text.contains("token  ") && text.contains("j, k"), "{text}");
    assert!(!(text + &listed.to_string()).contains("text of it"));

    let refused = lab.backstay.run(&["secret", "rm", "token"]).code(2);
    assert!(
        said(&refused).contains("used by the jobs `j`, `k`"),
        "{}",
        refused.stderr
    );
    assert!(lab.doctor("secret ").is_empty());
    lab.backstay.run(&["secret", "rm", "spare"]).ok();
    lab.backstay.run(&["secret", "rm", "token", "--force"]).ok();
    let missing = lab.doctor("secret token");
    assert!(
        matches!(&missing[..], [(_, false, says)] if says.contains("`backstay secret set token`") && says.contains("(for j, k)")),
        "{missing:?}"
    );
    let run = lab.backstay.run(&["run", "j"]).code(3);
    assert!(
        said(&run).contains("there is no secret `token`"),
        "{}",
        run.stderr
    );
    lab.backstay.run(&["secret", "rm", "token"]).code(3);
}

#[test]
fn what_is_wrong_with_them() {
    let lab = Lab::on(|backstay| backstay.env("EMPTY", ""));
    for (name, bytes) in [
        ("large", vec![b'x'; (64 << 10) + 1]),
        ("binary", vec![0xff, 0xfe]),
        ("nul", b"a\0b".to_vec()),
        ("blank", b" \n".to_vec()),
    ] {
        fs::write(lab.at(name), bytes).unwrap();
    }
    // A file of an older version.
    fs::create_dir(lab.backstay.data_dir().join("secrets")).unwrap();
    fs::write(lab.backstay.data_dir().join("secrets/token"), "old").unwrap();
    lab.apply("j", "true");
    let mut text = String::new();
    for command in [
        "secret set a/b --from-env HOME",
        "secret set .hidden --from-env HOME",
        "secret set a",
        "secret set a --from-file absent",
        "secret set a --from-file large",
        "secret set a --from-file binary",
        "secret set a --from-file nul",
        "secret set a --from-file blank",
        "secret set a --from-env ABSENT",
        "secret set a --from-env EMPTY",
        "secret set a --from-env HOME --from-file large",
        "secret set a hunter2",
        "secret rm a",
        "secret rotate-key",
        "secret list",
        "run j",
    ] {
        let args: Vec<&str> = command.split(' ').collect();
        let output = lab.backstay.run(&args);
        text += &format!(
            "$ backstay {command}\n{}{}[{}]\n\n",
            output.stdout, output.stderr, output.code
        );
    }
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(lab.backstay.scratch_dir().to_str().unwrap(), "DIR");
    settings.add_filter(
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "ID",
    );
    settings.add_filter(r"\d+\.\d s\b", "SECONDS");
    settings.add_filter(r"\d{4}-\d\d-\d\dT\S+Z", "TIME");
    settings.bind(|| insta::assert_snapshot!("wrong", text));
    assert!(!lab.key().exists());
}
