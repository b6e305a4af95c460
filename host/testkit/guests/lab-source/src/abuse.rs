//! What a plugin may do to its host whichever kind it is. Compiled into both lab guests.

use std::hint::black_box;

use backstay_sdk::{ByteStream, Failure, Result, log};

/// Bytes of a string that no honest plugin returns.
pub const HUGE_BYTES: usize = 100 << 20;

/// Traps.
pub fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort();
}

/// Never ends, and calls nobody.
pub fn spin() -> ! {
    loop {
        black_box(0);
    }
}

/// Takes memory without end.
pub fn allocate() -> ! {
    let mut all: Vec<Vec<u8>> = Vec::new();
    loop {
        all.push(black_box(vec![1; 1 << 20]));
    }
}

/// Calls itself until the stack ends.
pub fn recurse(depth: u64) -> u64 {
    let here = black_box([depth; 16]);
    if depth == u64::MAX {
        here[0]
    } else {
        recurse(depth + 1).wrapping_add(black_box(here)[1])
    }
}

/// Fills the host's table of handles.
pub fn flood_table() -> ! {
    let mut all = Vec::new();
    loop {
        all.push(ByteStream::text("x"));
    }
}

/// Writes a million lines.
pub fn flood_log() {
    for line in 0..1_000_000 {
        log::info(format!("line {line} of a flood"));
    }
}

/// A text that is too long.
pub fn huge() -> String {
    "x".repeat(HUGE_BYTES)
}

/// Opens a file by WASI itself.
pub fn wasi_open() -> Result<()> {
    escape(
        "opening /etc/passwd",
        std::fs::read("/etc/passwd").map(|bytes| bytes.len()),
    )
}

/// Opens a connection by WASI itself.
pub fn wasi_net() -> Result<()> {
    escape(
        "connecting to 127.0.0.1:22",
        std::net::TcpStream::connect("127.0.0.1:22"),
    )
}

/// Reads the host's environment.
pub fn wasi_env() -> Result<()> {
    let names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
    escape(
        "reading the environment",
        if names.is_empty() {
            Err("there is none")
        } else {
            Ok(names)
        },
    )
}

/// Waits for an hour.
pub fn sleep() {
    std::thread::sleep(std::time::Duration::from_secs(3600));
}

/// A way out that is closed is a failure which says so; an open one lets the run go on, which a test sees.
fn escape<T, E: std::fmt::Display>(attempt: &str, result: Result<T, E>) -> Result<()> {
    match result {
        Ok(_) => {
            log::error(format!("{attempt} worked"));
            Ok(())
        }
        Err(error) => Err(Failure::new(
            backstay_sdk::Code::Security,
            format!("{attempt} was refused: {error}"),
        )),
    }
}
