//! Networks that break, servers that are overloaded, hosts that die: a backup is whole or not there, and what may pass
//! passes.

use std::time::Duration;

use backstay_testkit::compare;
use backstay_testkit::process::wait_until;
use backstay_testkit::proxy::Fault;
use backstay_testkit::stores::Protocol;

use super::lab::{Lab, noise, said};

#[test]
fn what_passes_next_time_is_tried_again() {
    let lab = Lab::new(Protocol::S3);
    lab.write("noise", &noise(10 << 20));
    lab.apply("");
    lab.proxy.fail("PUT", "partNumber=1", 0, 1, Fault::Answer(503));
    lab.proxy
        .fail("PUT", "partNumber=2", 0, 1, Fault::ResetRequest(1 << 20));
    lab.proxy.fail("PUT", "manifest.json", 0, 1, Fault::Answer(500));
    lab.back_up();
    assert_eq!(lab.proxy.struck(), 3);
    lab.assert_only_whole_backups();
    lab.proxy.fail("GET", "data.tar", 0, 1, Fault::CutAnswer(3 << 20));
    lab.proxy
        .fail("HEAD", "data.tar", 0, 1, Fault::Delay(Duration::from_millis(200)));
    compare::trees(&lab.at("source"), &lab.restore("target", &[])).unwrap();
    assert_eq!(lab.proxy.struck(), 5);
}

#[test]
fn a_store_is_asked_once_whether_all_of_an_object_is_there() {
    let lab = Lab::new(Protocol::S3);
    lab.write("noise", &noise(10 << 20));
    lab.apply("");
    lab.back_up();
    let requests = lab.proxy.seen();
    let mut of_data = requests.iter().filter(|line| line.contains("data.tar"));
    assert!(of_data.any(|line| line.starts_with("POST") && line.contains("uploadId=")));
    let after: Vec<&String> = of_data.collect();
    assert!(after.len() == 1 && after[0].starts_with("HEAD"), "{requests:#?}");
}

#[test]
fn a_refusal_is_not_tried_again() {
    let lab = Lab::new(Protocol::S3);
    lab.apply("");
    lab.proxy.fail("PUT", "data.tar", 0, 9, Fault::Answer(400));
    let output = lab.backstay.run(&["run", "data"]).code(5);
    assert_eq!(lab.proxy.struck(), 1, "{}", said(&output));
    lab.proxy.heal();
    lab.assert_only_whole_backups();
}

#[test]
fn damage_on_the_way_up_is_refused_by_the_store_and_on_the_way_down_found() {
    let lab = Lab::new(Protocol::S3);
    lab.write("noise", &noise(1 << 20));
    lab.apply("");
    lab.back_up();
    lab.proxy.fail("GET", "data.tar", 0, 1, Fault::Flip(100_000));
    let output = lab.backstay.run(&["verify", "latest:data"]).code(8);
    assert!(said(&output).contains("data.tar"), "{}", said(&output));
    lab.backstay.run(&["verify", "latest:data"]).ok();
}

#[test]
fn a_source_that_fails_leaves_no_object() {
    for protocol in [Protocol::S3, Protocol::WebDav] {
        let lab = Lab::new(protocol);
        let script = "head -c 20000000 /dev/zero; echo it is broken >&2; exit 3";
        lab.apply_source(
            &format!("{{ plugin: lab-source, config: {{ do: command, script: \"{script}\" }} }}"),
            "",
        );
        let output = lab.backstay.run(&["run", "data"]).code(4);
        assert!(said(&output).contains("it is broken"), "{}", said(&output));
        lab.assert_only_whole_backups();
    }
}

#[test]
fn a_connection_that_is_lost_for_good_leaves_no_object_of_a_stream_that_cannot_be_repeated() {
    let lab = Lab::new(Protocol::WebDav);
    lab.write("noise", &noise(10 << 20));
    lab.apply("");
    lab.proxy
        .fail("PUT", "data.tar", 0, 1, Fault::ResetRequest(4 << 20));
    lab.backstay.run(&["run", "data"]).code(6);
    lab.assert_only_whole_backups();
    lab.back_up();
    lab.assert_only_whole_backups();
}

#[test]
fn a_host_that_dies_while_it_uploads_leaves_nothing_after_the_next_start() {
    for (protocol, request) in [(Protocol::S3, "partNumber=2"), (Protocol::WebDav, "data.tar")] {
        let lab = Lab::new(protocol);
        lab.apply("");
        lab.back_up();
        lab.write("noise", &noise(20 << 20));
        lab.proxy.fail("PUT", request, 0, 1, Fault::Hang(1 << 20));
        let mut running = lab.backstay.spawn(&["run", "data"]);
        wait_until("the upload to hang", Duration::from_secs(60), || {
            lab.proxy.struck() == 1
        });
        if protocol == Protocol::S3 {
            wait_until("an upload to be there", Duration::from_secs(60), || {
                lab.server.unfinished_uploads().contains("UploadId")
            });
        }
        running.kill();
        lab.proxy.heal();
        let runs = lab.backstay.run(&["runs"]).ok();
        assert!(said(&runs).contains("had been interrupted"), "{}", said(&runs));
        assert_eq!(lab.backstay.json(&["backups"]).as_array().unwrap().len(), 1);
        lab.assert_only_whole_backups();
        lab.back_up();
        lab.assert_only_whole_backups();
    }
}

#[test]
fn a_run_that_is_cancelled_gives_its_upload_up() {
    let lab = Lab::new(Protocol::S3);
    lab.write("noise", &noise(20 << 20));
    lab.apply("");
    lab.proxy.fail("PUT", "partNumber=2", 0, 1, Fault::Hang(1 << 20));
    let running = lab.backstay.spawn(&["run", "data"]);
    wait_until("the upload to hang", Duration::from_secs(60), || {
        lab.proxy.struck() == 1
    });
    running.terminate();
    // The server gives nothing up while a part of it hangs.
    std::thread::sleep(Duration::from_millis(300));
    lab.proxy.heal();
    let output = running.wait().code(4);
    assert!(said(&output).contains("cancelled"), "{}", said(&output));
    lab.proxy.heal();
    lab.assert_only_whole_backups();
}
