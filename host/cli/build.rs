//! Builds the first-party plugins to components, so that the program carries them in its own file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const PLUGINS: [&str; 12] = [
    "path", "flash", "zfs", "docker", "database", "script", "proxmox", "local", "object", "rclone", "rsync",
    "restic",
];

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for watched in [
        "plugins",
        "sdk/rust/src",
        "sdk/rust/Cargo.toml",
        "wit",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    // OUT_DIR is <target>/<profile>/build/<package>/out; its own directory keeps this cargo from waiting for that one.
    let target = out
        .ancestors()
        .nth(4)
        .map_or_else(|| out.clone(), |t| t.join("plugins"));
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(&root)
        .args([
            "build",
            "--profile",
            "plugin",
            "--target",
            "wasm32-wasip2",
            "--target-dir",
        ])
        .arg(&target);
    for plugin in PLUGINS {
        command.args(["--package", &format!("backstay-plugin-{plugin}")]);
    }
    for name in [
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CLIPPY_ARGS",
    ] {
        command.env_remove(name);
    }
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => fail(&format!(
            "the plugins do not build ({status}); is the target there? `rustup target add wasm32-wasip2`"
        )),
        Err(error) => fail(&format!("cannot run cargo for the plugins: {error}")),
    }
    let mut list = String::from("&[\n");
    for plugin in PLUGINS {
        let built = target.join(format!("wasm32-wasip2/plugin/backstay_plugin_{plugin}.wasm"));
        let copy = out.join(format!("{plugin}.wasm"));
        if let Err(error) = fs::copy(&built, &copy) {
            fail(&format!("cannot copy {}: {error}", built.display()));
        }
        list.push_str(&format!(
            "    backstay_plugin::Bundled {{ id: {plugin:?}, wasm: include_bytes!({:?}) }},\n",
            copy.display().to_string()
        ));
    }
    list.push_str("]\n");
    if let Err(error) = fs::write(out.join("bundled.rs"), list) {
        fail(&format!("cannot write the list of plugins: {error}"));
    }
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    std::process::exit(1);
}
