use super::super::tests::values;
use super::*;
use crate::sink::logs::LogSettings;
use crate::sink::ring::{self, begin};
use serde_json::json;
use tokio::task::JoinHandle;

struct Rig {
    outlet: Arc<Outlet>,
    ring: ring::Writer,
    task: JoinHandle<()>,
}

impl Rig {
    fn into(path: &Path) -> Rig {
        let outlet = Outlet::new("file", String::new());
        let ring = outlet.connect(1 << 16, &Arc::default());
        let target = Target { path: path.to_owned(), mode: 0o640, file: None };
        let task = tokio::spawn(run(outlet.clone(), Inbox::new(outlet.clone()), target));
        Rig { outlet, ring, task }
    }

    fn push(&mut self, line: &str) {
        let mut framed = Vec::new();
        begin(&mut framed);
        framed.extend_from_slice(line.as_bytes());
        framed.push(b'\n');
        assert!(self.ring.push(&mut framed));
        self.outlet.ring();
    }

    async fn until(&self, what: &str, done: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !done() {
            assert!(Instant::now() < end, "{what}: {:?} {:?}", self.outlet.counts.totals(), self.outlet.counts.last_error());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn wrote(&self, n: u64) {
        self.until("lines are written", || self.outlet.counts.totals().sent == n).await;
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test]
async fn rotation_by_moving_and_a_signal_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
    let mut rig = Rig::into(&path);
    rig.push("one");
    rig.wrote(1).await;
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    std::fs::rename(&path, &old).unwrap();
    rig.outlet.poke();
    rig.push("two");
    rig.wrote(2).await;
    rig.until("the new file has it", || text(&path) == "two\n").await;
    assert_eq!(text(&old), "one\n");
    // Emptied in place, as copytruncate does: it goes on at the new end, without a hole.
    std::fs::File::create(&path).unwrap();
    rig.push("three");
    rig.wrote(3).await;
    assert_eq!(text(&path), "three\n");
    rig.outlet.stop(Instant::now() + Duration::from_secs(2));
    rig.task.await.unwrap();
}

#[tokio::test]
async fn a_file_that_was_moved_without_a_word_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut rig = Rig::into(&path);
    rig.push("one");
    rig.wrote(1).await;
    std::fs::remove_file(&path).unwrap();
    // Whatever is written before the next look at the path goes where the old file went.
    let mut n = 1;
    while text(&path).is_empty() {
        n += 1;
        assert!(n < 2000, "never noticed");
        rig.push("more");
        rig.wrote(n).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(rig.outlet.counts.totals().error, 0);
    rig.outlet.stop(Instant::now() + Duration::from_secs(2));
    rig.task.await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_written_now_is_written_later_or_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    // Root may write anywhere, so a folder stands for what refuses.
    std::fs::create_dir(&path).unwrap();
    let mut rig = Rig::into(&path);
    rig.push("one");
    rig.push("two");
    rig.until("it is refused", || rig.outlet.counts.last_error().is_some_and(|e| e.contains("log"))).await;
    assert!(rig.outlet.counts.totals().troubles.iter().sum::<u64>() > 0);
    std::fs::remove_dir(&path).unwrap();
    rig.wrote(2).await;
    assert_eq!(text(&path), "one\ntwo\n");
    // A disk that is full for good.
    let mut rig = Rig::into(Path::new("/dev/full"));
    rig.push("never");
    rig.until("it is full", || rig.outlet.counts.last_error().is_some()).await;
    rig.outlet.stop(Instant::now() + Duration::from_millis(200));
    rig.task.await.unwrap();
    assert_eq!((rig.outlet.counts.totals().sent, rig.outlet.counts.totals().error), (0, 1));
    assert!(rig.outlet.counts.last_error().unwrap().contains("space"), "{:?}", rig.outlet.counts.last_error());
}

#[test]
fn a_line_that_was_torn_begins_again_in_another_file() {
    let mut batch = Batch { bytes: b"one\ntwo\nthree\n".to_vec(), at: 6, told: 0 };
    assert_eq!((batch.written(), batch.rest()), (1, 2));
    batch.whole_line();
    assert_eq!((batch.at, batch.written(), batch.rest()), (4, 0, 2));
    batch.at = batch.bytes.len();
    assert_eq!((batch.written(), batch.rest()), (2, 0));
}

#[test]
fn the_configuration_is_checked_before_anything_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = |path: &Path, mode: &str| {
        let values = values(json!({"path": path, "format": "json", "mode": mode}));
        LogSettings::new("file", values).map(|_| ()).unwrap_err()
    };
    let missing = wrong(&folder.path().join("no/log"), "0640");
    assert!(missing.key == Some("path") && missing.message.contains("cannot be used"), "{missing:?}");
    assert_eq!(wrong(folder.path(), "0640").key, Some("path"));
    assert_eq!(wrong(&folder.path().join("log"), "rw").key, Some("mode"));
    let good = values(json!({"path": folder.path().join("log"), "format": "gelf", "mode": "0600"}));
    LogSettings::new("file", good).unwrap();
    assert!(!folder.path().join("log").exists());
}
