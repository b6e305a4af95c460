//! Where the interface is: on the loopback address, by the usual port, unless the settings say otherwise.

use std::fs;

use backstay_testkit::process::wait_until;
use serde_json::json;

use super::lab::{Lab, PATIENCE};

/// The ports on which a process listens.
fn ports(pid: u32) -> Vec<u16> {
    let sockets: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|fd| Some(fs::read_link(fd.ok()?.path()).ok()?.display().to_string()))
        .collect();
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    // 0A is LISTEN; the tenth column is the inode of the socket.
    rows.filter(|row| row[3] == "0A" && sockets.contains(&format!("socket:[{}]", row[9])))
        .map(|row| u16::from_str_radix(row[1].rsplit(':').next().unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn it_listens_on_port_1201_of_this_machine_unless_told_otherwise() {
    let lab = Lab::with_settings("runs: { max: 4 }");
    let problems = || lab.local("GET /status").json(200)["problems"].to_string();
    assert_eq!(
        lab.local("GET /api/v1/config").json(200)["api"]["listen"],
        "127.0.0.1:1201"
    );
    // Something else may have the port just now: then it is said, and backups are made all the same.
    wait_until("it to listen", PATIENCE, || {
        ports(lab.service.pid()) == [1201] || problems().contains("cannot listen on 127.0.0.1:1201")
    });
    lab.job("documents");
    lab.backstay.run(&["run", "documents"]).ok();
    let lab = Lab::with_settings("api: { listen: none }");
    assert_eq!(lab.local("GET /status").json(200)["problems"], json!([]));
    assert_eq!(ports(lab.service.pid()), [0_u16; 0]);
    // Nobody needs a token for that.
    assert_eq!(lab.backstay.json(&["token", "list"]), json!([]));
}
