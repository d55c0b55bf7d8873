//! The disk under stored commands: full, read-only, torn, damaged, somebody else's.

use fourmi_tests::{Cases, Fourmi, Setup, Worker, until};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";

/// A mount of our own; it is gone when dropped.
struct Mount {
    folder: TempDir,
}

impl Mount {
    /// What `mount` is given before the folder.
    fn new(steps: &[&[&str]]) -> Self {
        let folder = TempDir::with_prefix("fourmi-disk-").unwrap();
        let mount = Mount { folder };
        for step in steps {
            let place = mount.path().to_str().unwrap();
            let arguments = step.iter().map(|a| if *a == "HERE" { place } else { a });
            let done = Command::new("mount").args(arguments).output().expect("no program `mount`");
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(done.status.success(), "this test mounts disks of its own, as root: mount {step:?}: {said}");
        }
        mount
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Something else takes all the room but so many bytes.
    fn fill(&self, but: u64) {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.path().join("other")).unwrap();
        let piece = vec![b'x'; 4096];
        while file.write_all(&piece).is_ok() {}
        let size = file.metadata().unwrap().len();
        file.set_len(size.saturating_sub(but)).unwrap();
    }

    /// It goes away again.
    fn make_room(&self) {
        fs::remove_file(self.path().join("other")).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

/// Fourmi beside this worker, with its spool here.
fn on(folder: &Path, worker: &Worker, keys: &str) -> Setup {
    Setup::beside(worker.address())
        .more("commands: {retry: {delays: [100ms], max_attempts: 1000}}")
        .more(&format!("spool: {{path: \"{}\", {keys}}}", folder.display()))
}

/// How a start ends that cannot succeed: its code, and what it says.
fn ends(setup: Setup) -> (i32, String) {
    let mut fourmi = setup.spawn();
    let code = fourmi.ends();
    until("it says why", || !fourmi.stderr().is_empty());
    (code, fourmi.stderr())
}

#[track_caller]
fn refused(setup: Setup, code: i32, words: &[&str]) {
    let (ended, said) = ends(setup);
    assert_eq!(ended, code, "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing: {said}");
    }
    println!("    exit {ended}: {}", said.lines().last().unwrap_or_default());
}

/// `sqlite3` on a file: what it prints.
fn sqlite(file: &Path, sql: &str) -> String {
    let done = Command::new("sqlite3").arg(file).arg(sql).output().expect("no program `sqlite3`");
    assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// Sends commands of this size until one is not taken: the ids of those that were, and that answer.
fn until_full(fourmi: &Fourmi, name: &str, size: usize) -> (Vec<String>, fourmi_tests::Message) {
    let (mut taken, body) = (Vec::new(), "x".repeat(size));
    loop {
        let id = format!("{name}-{}", taken.len());
        let answer = fourmi.post("/orders", &format!("Prefer: respond-async\r\nFourmi-Id: {id}\r\n"), &body);
        if answer.status() != 202 {
            return (taken, answer);
        }
        taken.push(id);
        assert!(taken.len() < 10_000, "it never becomes full");
    }
}

fn is_full(answer: &fourmi_tests::Message) {
    assert_eq!(answer.status(), 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some_and(|n| n.parse::<u32>().is_ok_and(|n| n > 0)));
    assert!(answer.text().contains("spool-full"), "{}", answer.text());
}

#[test]
fn a_full_disk_takes_nothing_and_loses_nothing() {
    let mut cases = Cases::default();
    let disk = Mount::new(&[&["-t", "tmpfs", "-o", "size=64m", "none", "HERE"]]);
    let (worker, latch) = Worker::held(OK);
    let mut fourmi = on(&disk.path().join("spool"), &worker, "min_free: 0").start();
    let mut all: Vec<String> = Vec::new();
    cases.case("26a", "a full disk: 503 with Retry-After; what waits for its worker passes", || {
        fourmi.later("/held", "Fourmi-Id: held\r\n", "");
        fourmi.becomes("held", "running");
        disk.fill(20 << 20);
        assert_eq!(fourmi.spools(&["pause"]), "everything is paused\n");
        let (taken, answer) = until_full(&fourmi, "large", 64 << 10);
        is_full(&answer);
        assert!(taken.len() > 20, "{}", taken.len());
        all.extend(taken);
        assert_eq!(fourmi.post("/now", "", "at once").status(), 200);
        assert_eq!(fourmi.states()["ready"], all.len() as i64);
    });
    cases.case("26b", "not one byte left: the same, and what is due is not lost", || {
        disk.fill(0);
        let (taken, answer) = until_full(&fourmi, "small", 10);
        is_full(&answer);
        all.extend(taken);
        let resume = fourmi.spool(&["resume"]);
        assert!(resume.code == 1 && resume.stderr.contains("full"), "that cannot be written down either: {resume:?}");
        assert_eq!(fourmi.post("/now", "", "at once").status(), 200);
        until("it is told", || !fourmi.admin("GET", "/api/v1/spool").json()["trouble"].is_null());
        let metrics = fourmi.metrics();
        assert!(metrics.sum("fourmi_spool_refused_total", &[]) >= 2.0, "{}", metrics.text());
    });
    cases.case(
        "26c",
        "it dies and is started with a full disk: its worker is served, and all is there with room",
        || {
            fourmi.start_again();
            assert_eq!(fourmi.post("/now", "", "at once").status(), 200);
            is_full(&fourmi.post("/orders", "Prefer: respond-async\r\n", "x"));
            let said = fourmi.spools(&[]);
            assert!(said.contains("NOTHING IS ACCEPTED"), "{said}");
            latch.open();
            disk.make_room();
            until("it can be written again", || fourmi.spool(&["resume"]).code == 0);
            until("every accepted one is done", || all.iter().all(|id| worker.had(id) >= 1));
            fourmi.has_states(&[("succeeded", all.len() as i64 + 1)]);
            assert_eq!(worker.had("held"), 2, "it was in the worker's hands when Fourmi died");
        },
    );
    cases.case("26d", "the disk becomes full and gets room while it runs: it accepts again by itself", || {
        disk.fill(0);
        until("it refuses", || fourmi.post("/orders", "Prefer: respond-async\r\n", "x".repeat(20_000)).status() == 503);
        disk.make_room();
        let body = "again";
        let mut nth = 0;
        until("it accepts", || {
            nth += 1;
            fourmi.post("/orders", &format!("Prefer: respond-async\r\nFourmi-Id: again-{nth}\r\n"), body).status()
                == 202
        });
        fourmi.becomes(&format!("again-{nth}"), "succeeded");
        until("nothing is wrong", || fourmi.admin("GET", "/api/v1/spool").json()["trouble"].is_null());
    });
    drop(fourmi);
    cases.case("26e", "spool.min_free and spool.max_bytes are kept", || {
        let fourmi = on(&disk.path().join("free"), &worker, "min_free: 2MiB").start();
        disk.fill(1 << 20);
        until("the disk was looked at", || !fourmi.admin("GET", "/api/v1/spool").json()["trouble"].is_null());
        let answer = fourmi.post("/orders", "Prefer: respond-async\r\n", "x");
        is_full(&answer);
        assert!(answer.text().contains("spool.min_free"), "{}", answer.text());
        disk.make_room();
        let fourmi = on(&disk.path().join("small"), &worker, "min_free: 0, max_bytes: 1MiB").start();
        fourmi.spools(&["pause"]);
        let (taken, answer) = until_full(&fourmi, "bounded", 64 << 10);
        assert!((4..16).contains(&taken.len()), "{}", taken.len());
        assert!(answer.text().contains("spool.max_bytes"), "{}", answer.text());
        let fourmi = on(&disk.path().join("few"), &worker, "min_free: 0, max_commands: 5").start();
        fourmi.spools(&["pause"]);
        let (taken, answer) = until_full(&fourmi, "few", 1);
        assert_eq!(taken.len(), 5);
        assert!(answer.text().contains("spool.max_commands"), "{}", answer.text());
    });
    cases.end();
}

#[test]
fn what_cannot_be_opened_is_named_with_the_fix() {
    let mut cases = Cases::default();
    let folder = TempDir::with_prefix("fourmi-spool-").unwrap();
    let worker = Worker::echo();
    let place = |name: &str| folder.path().join(name);
    let written = |name: &str, keys: &str| {
        let path = place(name);
        let mut fourmi = on(&path, &worker, keys).start();
        fourmi.later_as(&format!("{name}-1"), "");
        fourmi.becomes(&format!("{name}-1"), "succeeded");
        fourmi.signal(nix::sys::signal::Signal::SIGTERM);
        assert_eq!(fourmi.ends(), 0);
        path
    };
    let key = place("key");
    fs::write(&key, "07".repeat(32)).unwrap();
    let other = place("other-key");
    fs::write(&other, "08".repeat(32)).unwrap();
    let with = |key: &Path| format!("key_file: \"{}\"", key.display());

    cases.case("disk 1", "a read-only folder", || {
        let disk = Mount::new(&[&["-t", "tmpfs", "none", "HERE"], &["-o", "remount,ro", "HERE"]]);
        refused(on(&disk.path().join("new"), &worker, ""), 73, &["cannot create", "spool.path"]);
        refused(on(disk.path(), &worker, ""), 73, &["spool.path", disk.path().to_str().unwrap()]);
    });
    cases.case("disk 2", "a damaged database", || {
        let path = written("damaged", "");
        let file = path.join("spool.db");
        let whole = fs::read(&file).unwrap();
        fs::write(&file, "this is no database, whatever its name says".repeat(300)).unwrap();
        refused(on(&path, &worker, ""), 73, &[".recover", "spool.db"]);
        // Its head is well, the rest is not.
        let mut torn = whole.clone();
        torn[4096..].fill(0xaa);
        fs::write(&file, &torn).unwrap();
        refused(on(&path, &worker, ""), 73, &[".recover"]);
    });
    cases.case("disk 3", "the wrong key, none, no file, half a key", || {
        let path = written("sealed", &with(&key));
        let bytes = fs::read(path.join("spool.db")).unwrap();
        assert!(!bytes.windows(8).any(|w| w == b"sealed-1") || !String::from_utf8_lossy(&bytes).contains("Host: test"));
        refused(on(&path, &worker, &with(&other)), 78, &["another key", "spool.key_file"]);
        refused(on(&path, &worker, ""), 78, &["encrypted", "spool.key_file"]);
        refused(on(&path, &worker, &with(&place("nowhere"))), 78, &["nowhere", "spool.key_file"]);
        let half = place("half-key");
        fs::write(&half, "0707").unwrap();
        refused(on(&path, &worker, &with(&half)), 78, &["32 bytes", "openssl rand"]);
        let fourmi = on(&path, &worker, &with(&key)).start();
        assert_eq!(fourmi.stored("sealed-1")["state"], "succeeded");
    });
    cases.case("disk 4", "what a later version wrote", || {
        let path = written("later", "");
        sqlite(&path.join("spool.db"), "PRAGMA user_version = 99");
        refused(on(&path, &worker, ""), 73, &["later version", "spool.path"]);
    });
    cases.case("disk 5", "another process has it", || {
        let fourmi = on(&place("shared"), &worker, "").start();
        let pid = fourmi.pid().to_string();
        refused(on(&place("shared"), &worker, ""), 73, &["another fourmi", &pid, "spool.path"]);
        assert_eq!(fourmi.later_as("shared-1", "").status(), 202, "the first one goes on");
    });
    cases.case("disk 6", "sqlite3 reads the view `spool` while it is written", || {
        let fourmi = on(&place("watched"), &worker, "").start();
        let file = place("watched").join("spool.db");
        for nth in 0..50 {
            fourmi.later_as(&format!("watched-{nth}"), "Fourmi-Command: Watch\r\n");
            if nth % 10 == 9 {
                let count = sqlite(&file, "SELECT count(*) FROM spool WHERE name = 'Watch'");
                assert_eq!(count, (nth + 1).to_string());
            }
        }
        fourmi.has_states(&[("succeeded", 50)]);
        let row =
            sqlite(&file, "SELECT id, state, attempt, status, created IS NOT NULL FROM spool WHERE id = 'watched-7'");
        assert_eq!(row, "watched-7|succeeded|1|200|1");
        assert_eq!(sqlite(&file, "PRAGMA integrity_check"), "ok");
    });
    cases.end();
}

#[test]
fn a_torn_end_of_the_log_costs_nothing_that_was_committed_before() {
    let folder = TempDir::with_prefix("fourmi-spool-").unwrap();
    let worker = Worker::echo();
    let mut fourmi = on(folder.path(), &worker, "").start();
    fourmi.spools(&["pause"]);
    let log = folder.path().join("spool.db-wal");
    // Each on disk before the next one is sent, so that each has a place of its own in the log.
    for nth in 0..100 {
        fourmi.later_as(&format!("torn-{nth}"), "");
    }
    let last = fourmi.stored("torn-99");
    assert_eq!(last["state"], "ready");
    for cut in [1, 4000, 5000] {
        fourmi.kill();
        let size = fs::metadata(&log).unwrap().len();
        assert!(size > 100 * 4096, "{size}");
        fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(size - cut).unwrap();
        fourmi.start_again();
        let there = (0..100).filter(|nth| fourmi.stored(&format!("torn-{nth}")) != Value::Null).count();
        println!("{cut} bytes torn off a log of {size}: {there} of 100 are there");
        assert!(there >= 97, "{there}");
        assert!((0..90).all(|nth| fourmi.stored(&format!("torn-{nth}"))["state"] == "ready"));
    }
    let left = fourmi.states()["ready"];
    fourmi.spools(&["resume"]);
    fourmi.has_states(&[("succeeded", left)]);
    // What was torn off is not known any more, and may be sent again.
    fourmi.later_as("torn-99", "");
    fourmi.becomes("torn-99", "succeeded");
}
