//! Records in a file that others move, empty and remove.

use fourmi_tests::sidecar::run_fourmi_in;
use fourmi_tests::{Fourmi, Setup, Worker, until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::path::Path;

fn send(fourmi: &Fourmi, ids: std::ops::Range<u32>) {
    let mut client = fourmi.client();
    for id in ids {
        client.post("/", &format!("Fourmi-Command: Pay\r\nFourmi-Id: n{id}\r\n"), "x");
    }
}

/// The ids of a file's lines, each of which must be a whole record.
fn ids(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'), "a torn line in {}", file.display());
    let read = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    text.lines().map(|l| read(l)["command_id"].as_str().unwrap().to_owned()).collect()
}

fn written(fourmi: &Fourmi, n: u32) {
    let sent = || fourmi.metrics().sum("fourmi_sink_records_total", &[("sink", "file"), ("result", "sent")]);
    until("all records are written", || sent() == f64::from(n));
}

#[test]
fn a_log_that_is_rotated_in_the_usual_ways_loses_nothing() {
    let worker = Worker::echo();
    let setup = Setup::beside(worker.address());
    let (path, old) = (setup.folder().join("records.log"), setup.folder().join("records.log.1"));
    let logs = format!("[{{file: {{path: \"{}\", mode: \"0600\"}}}}]", path.display());
    let fourmi = setup.logs(logs).start();
    send(&fourmi, 0..50);
    written(&fourmi, 50);
    assert_eq!(ids(&path).len(), 50);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    // Moved, and told by the signal. What is written in between is in the one file or the other.
    std::fs::rename(&path, &old).unwrap();
    fourmi.signal(Signal::SIGHUP);
    let mut n = 50;
    until("the new file is there", || {
        send(&fourmi, n..n + 1);
        n += 1;
        path.exists()
    });
    written(&fourmi, n);
    let mut all = ids(&old);
    all.extend(ids(&path));
    assert_eq!(all, (0..n).map(|n| format!("n{n}")).collect::<Vec<_>>());

    // Copied and emptied, and told nothing.
    std::fs::write(&path, "").unwrap();
    send(&fourmi, n..n + 10);
    written(&fourmi, n + 10);
    assert_eq!(ids(&path), (n..n + 10).map(|n| format!("n{n}")).collect::<Vec<_>>());

    // Removed, and told nothing: noticed within a second of writing.
    std::fs::remove_file(&path).unwrap();
    n += 10;
    until("the file is made again", || {
        send(&fourmi, n..n + 1);
        n += 1;
        !ids(&path).is_empty()
    });
    written(&fourmi, n);
}

#[test]
fn a_folder_that_is_not_there_is_an_error_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fourmi.yaml");
    std::fs::write(&file, "worker: http://127.0.0.1:1\nlogs:\n  - file: {path: /no/such/folder/log}\n").unwrap();
    let checked = run_fourmi_in(folder.path(), &["validate", "-c", file.to_str().unwrap()]);
    let said = checked.stdout + &checked.stderr;
    assert_ne!(checked.code, 0, "{said}");
    assert!(said.contains("logs[0].file.path") && said.contains("/no/such/folder"), "{said}");
    assert!(said.contains("3:") || said.contains(":3"), "it says the line: {said}");
}
