//! Scripts that are WASI commands: the same grants, the same limits.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use backstay_testkit::tools;
use serde_json::{Value, json};

use super::lab::Lab;

/// A command that does what its arguments say, for WASI preview 2.
const COMMAND: &str = r#"
use std::{env, fs, io::Write, net::TcpStream, process::exit};

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let output = env::var("BACKSTAY_OUTPUT_DIR").expect("an output directory");
    for act in &args {
        let (act, with) = act.split_once('=').unwrap_or((act, ""));
        match act {
            "write" => fs::write(format!("{output}/file"), format!("{} {with}\n", env::var("BACKSTAY_JOB").unwrap())).unwrap(),
            "copy" => { fs::copy(with, format!("{output}/copy")).unwrap(); }
            "say" => println!("{with}"),
            "escape" => {
                for path in ["/etc/shadow", &format!("{output}/../../etc/shadow"), "/proc/self/environ", "/"] {
                    assert!(fs::read(path).is_err() && fs::read_dir(path).is_err(), "{path}");
                }
                assert!(fs::write("/etc/x", "x").is_err() && fs::write(format!("{output}/../x"), "x").is_err());
                assert!(TcpStream::connect("127.0.0.1:22").is_err());
                assert!(env::vars().all(|(name, _)| name.starts_with("BACKSTAY_") || name == "LANG"), "{:?}", env::vars().collect::<Vec<_>>());
            }
            "overwrite" => assert!(fs::write(with, "x").is_err() && fs::remove_file(with).is_err()),
            "loop" => loop { std::hint::black_box(0); },
            "sleep" => std::thread::sleep(std::time::Duration::from_secs(600)),
            "memory" => { let mut all = Vec::new(); loop { all.push(vec![1u8; 1 << 20]); } }
            "fill" => { let mut file = fs::File::create(format!("{output}/big")).unwrap(); loop { file.write_all(&[1; 65536]).unwrap(); } }
            "panic" => panic!("no room"),
            "exit" => exit(with.parse().unwrap()),
            other => panic!("{other}?"),
        }
    }
}
"#;

/// A command for WASI preview 1, which all compilers of WebAssembly can make: it writes a file and a line.
const MODULE: &str = r#"(module
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "file")
  (data (i32.const 16) "hello\n")
  (data (i32.const 32) "\10\00\00\00\06\00\00\00")
  (func (export "_start")
    (if (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 64))
      (then (call $exit (i32.const 5))))
    (if (call $write (i32.load (i32.const 64)) (i32.const 32) (i32.const 1) (i32.const 72)) (then (call $exit (i32.const 6))))
    (drop (call $write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 72)))))"#;

/// The compiled command, once for all tests.
fn command() -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| {
        tools::require(&["rustc"]);
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("command.rs");
        fs::write(&source, COMMAND).unwrap();
        let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args([
                "--edition=2024",
                "--target=wasm32-wasip2",
                "-O",
                "-C",
                "strip=symbols",
                "-A",
                "warnings",
                "-o",
                "command.wasm",
            ])
            .arg(&source)
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        fs::read(directory.path().join("command.wasm")).unwrap()
    })
}

fn wasm(lab: &Lab) -> PathBuf {
    let path = lab.path("dump.wasm");
    fs::write(&path, command()).unwrap();
    path
}

fn apply(lab: &Lab, acts: &[&str], config: Value) {
    let mut all = json!({ "scriptArgs": acts });
    all.as_object_mut()
        .unwrap()
        .extend(config.as_object().unwrap().clone());
    lab.apply(&wasm(lab), all, json!({}));
}

#[test]
fn a_component_writes_and_reads_what_it_was_granted() {
    let lab = Lab::new();
    let file = lab.path("notes/file").display().to_string();
    let acts = [
        "write=here",
        &format!("copy={file}"),
        &format!("overwrite={file}"),
        "escape",
        "say=\u{1b}[31mred",
        "say=backstay:metadata a=b",
    ];
    apply(&lab, &acts, json!({ "read": [lab.path("notes")] }));
    lab.run(0);
    assert!(lab.log().contains("info  plugin:script: red"), "{}", lab.log());
    let facts = &lab.backstay.json(&["backups"])[0]["manifest"]["artifacts"][0]["metadata"];
    assert_eq!(facts["metadata"], json!({ "a": "b" }));
    let restored = lab.restore();
    assert_eq!(fs::read_to_string(restored.join("file")).unwrap(), "j here\n");
    assert_eq!(fs::read_to_string(restored.join("copy")).unwrap(), "content\n");
    assert_eq!(fs::read_to_string(lab.path("notes/file")).unwrap(), "content\n");
    lab.assert_clean();
}

#[test]
fn a_core_module_runs_as_well() {
    let lab = Lab::new();
    let script = lab.path("dump.wasm");
    fs::write(&script, wat::parse_str(MODULE).unwrap()).unwrap();
    lab.apply(&script, json!({}), json!({}));
    lab.run(0);
    assert!(lab.log().contains("plugin:script: hello"));
    assert_eq!(fs::read_to_string(lab.restore().join("file")).unwrap(), "hello\n");
}

#[test]
fn a_command_is_compiled_once_and_again_if_what_was_kept_is_damaged_or_it_has_changed() {
    let lab = Lab::new();
    let script = lab.path("dump.wasm");
    fs::write(&script, wat::parse_str(MODULE).unwrap()).unwrap();
    lab.apply(&script, json!({}), json!({}));
    let cache = lab.backstay.data_dir().join("cache/scripts");
    let kept = || {
        let entries = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap());
        let times = entries.map(|entry| (entry.path(), entry.metadata().unwrap().modified().unwrap()));
        times.collect::<std::collections::BTreeMap<_, _>>()
    };
    lab.run(0);
    let first = kept();
    assert_eq!(first.len(), 1);
    lab.run(0);
    assert_eq!(kept(), first);
    let file = first.keys().next().unwrap();
    fs::write(file, "half a file").unwrap();
    lab.run(0);
    assert!(fs::metadata(file).unwrap().len() > 1000);
    fs::write(&script, wat::parse_str(MODULE.replace("hello", "hallo")).unwrap()).unwrap();
    lab.run(0);
    assert_eq!(kept().len(), 2);
    assert_eq!(fs::read_to_string(lab.restore().join("file")).unwrap(), "hallo\n");
}

#[test]
fn a_command_that_misbehaves_is_ended_with_the_reason() {
    let lab = Lab::new();
    for (act, config, code, words) in [
        ("loop", json!({ "timeout": 1 }), 4, "longer than 1 s"),
        ("sleep", json!({ "timeout": 1 }), 4, "longer than 1 s"),
        (
            "memory",
            json!({ "maxMemoryBytes": 33_554_432 }),
            14,
            "more than 32 MiB of memory",
        ),
        (
            "fill",
            json!({ "maxOutputBytes": 2_097_152 }),
            14,
            "wrote more than 2097152 bytes",
        ),
        ("panic", json!({}), 4, "ended with status 134"),
        ("exit=3", json!({}), 4, "ended with status"),
        ("say=x", json!({}), 4, "left no files"),
        (
            "write",
            json!({ "read": [lab.path("notes/file")] }),
            2,
            "is not a directory",
        ),
        (
            "write",
            json!({ "read": [lab.backstay.scratch_dir()] }),
            14,
            "Backstay itself",
        ),
    ] {
        apply(&lab, &[act], config);
        let reason = lab.reason(code);
        assert!(reason.contains(words), "{act}: {reason}");
    }
    fs::write(lab.path("dump.wasm"), "not WebAssembly").unwrap();
    let reason = lab.reason(2);
    assert!(reason.contains("is not a WASI command"), "{reason}");
}

#[test]
fn a_hook_can_be_a_command_too() {
    let lab = Lab::new();
    let module = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))) (memory (export "memory") 1)
        (func (export "_start") (call $exit (i32.const 9))))"#;
    let hook = lab.path("no.wasm");
    fs::write(&hook, wat::parse_str(module).unwrap()).unwrap();
    let source = json!({ "plugin": "path", "config": { "path": lab.path("notes") } });
    lab.apply_source(source, json!({ "before": { "scriptPath": hook } }));
    let reason = lab.reason(4);
    assert!(reason.contains("no.wasm ended with status 9"), "{reason}");
}
