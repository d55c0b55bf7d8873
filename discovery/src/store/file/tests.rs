use super::*;
use crate::keys::Order;
use crate::{Instance, Node, Probe, Record, State};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::sync::Arc;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
fn put(key: &str, value: &str, cas: Option<u64>) -> Order {
    Order::Put { key: key.into(), value: value.to_owned().into(), flags: 42, cas }
}

/// Set for the process that is killed: where its file is.
const CHILD: &str = "FOURMI_TEST_REGISTRY";

fn open(path: &Path) -> Store {
    Store::open(path, Limits::default()).unwrap()
}

fn checked(id: &str) -> (Instance, Vec<Check>) {
    let instance = Instance::new("stock", id, "n1", 8080);
    let check = Check::new(Definition::of(&instance, format!("ttl:{id}"), Probe::Ttl(Duration::from_secs(30))));
    (instance, vec![check])
}

#[tokio::test]
async fn what_was_registered_comes_back_and_is_announced_when_seen_well() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.db");
    let before = {
        let store = open(&path);
        let registry = store.registry();
        registry.put_node(Node::new("N1", HERE)).unwrap();
        let (a, checks) = checked("a");
        registry.register(a, checks, false).unwrap();
        registry.report("n1", "ttl:a", State::Passing, "fine");
        registry.register(Instance::new("stock", "plain", "n1", 1), Vec::new(), false).unwrap();
        registry.register(Instance::new("stock", "gone", "n1", 2), Vec::new(), false).unwrap();
        assert!(registry.drain("n1", "gone", true));
        let (configured, checks) = checked("configured");
        let configured = Instance { transient: true, ..configured };
        registry.register(configured, checks, false).unwrap();
        registry.put_record("a.skydns.local", Record::host("10.0.0.1", 1)).unwrap();
        registry.put_record("b.skydns.local", Record::host("10.0.0.2", 1)).unwrap();
        registry.remove_record("b.skydns.local");
        store.settled().await.unwrap();
        registry.snapshot()
    };
    assert_eq!(before.usable("stock").count(), 2);

    let store = open(&path);
    let registry = store.registry();
    let after = registry.snapshot();
    assert!(after.changes() > before.changes(), "no number is seen twice");
    assert_eq!(after.service("stock").unwrap().members.len(), 3);
    assert_eq!(after.usable("stock").count(), 0, "nobody who was not seen well again");
    assert_eq!(after.records.keys().map(|path| &**path).collect::<Vec<_>>(), ["local/skydns/a"]);
    registry.report("n1", "ttl:a", State::Passing, "fine");
    assert_eq!(registry.snapshot().usable("stock").map(|m| &*m.instance.id).collect::<Vec<_>>(), ["a"]);
    registry.register(Instance::new("stock", "plain", "n1", 1), Vec::new(), false).unwrap();
    assert_eq!(registry.snapshot().usable("stock").count(), 2, "it says itself that it is there");
    let gone = Arc::clone(&registry.snapshot().service("stock").unwrap().members[1]);
    assert!(gone.instance.draining, "who was going is still going");
    assert!(registry.deregister_node("n1"));
    drop(store);
    assert!(open(&path).registry().snapshot().is_empty());
}

/// Registers without an end and says after each one that it is written; killed by the test below.
#[test]
fn child() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = open(Path::new(&path));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    store.registry().put_node(Node::new("n1", HERE)).unwrap();
    for n in 0.. {
        let (instance, checks) = checked(&n.to_string());
        store.registry().register(instance, checks, false).unwrap();
        let keys = store.registry().keys();
        assert_eq!(runtime.block_on(keys.order(put(&format!("n/{n}"), &n.to_string(), Some(0)))), Ok(true));
        assert_eq!(runtime.block_on(keys.order(put("last", &n.to_string(), None))), Ok(true));
        runtime.block_on(store.settled()).unwrap();
        std::fs::write(Path::new(&path).with_extension("settled"), n.to_string()).unwrap();
    }
}

#[test]
fn what_is_settled_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.db");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["store::file::tests::child", "--exact", "--nocapture"])
        .env(CHILD, &path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let settled = || std::fs::read_to_string(path.with_extension("settled")).ok().and_then(|n| n.parse::<usize>().ok());
    while settled().is_none_or(|n| n < 50) {
        assert!(child.try_wait().unwrap().is_none(), "the child runs");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // The file that counts is not written in one step, and may be empty now: 50 were settled in any case.
    let settled = settled().unwrap_or(50);
    let store = open(&path);
    let now = store.registry().snapshot();
    let members = &now.service("stock").unwrap().members;
    assert!(members.len() > settled, "{} of {settled}", members.len());
    assert!(members.iter().all(|member| member.checks.len() == 1), "an instance comes back with its checks");
    assert_eq!(now.usable("stock").count(), 0);
    let keys = store.registry().keys();
    let last = keys.get("last").unwrap();
    let last = std::str::from_utf8(&last.value).unwrap().parse::<usize>().unwrap();
    assert!(last >= settled, "{last} of {settled}");
    // What belongs together is written together: between two keys there was no rest.
    assert!(keys.under("n/").len() - last <= 2, "{} keys, the last is {last}", keys.under("n/").len());
    assert!(
        (0..=settled).all(|n| keys.get(&format!("n/{n}")).is_some_and(|pair| *pair.value == *n.to_string().as_bytes()))
    );
}

#[tokio::test]
async fn keys_come_back_with_their_numbers_and_no_number_goes_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.db");
    let (kept, last) = {
        let store = open(&path);
        let keys = store.registry().keys();
        for (key, value) in [("a", "1"), ("gone", "2"), ("b/\u{0}", "\u{1}")] {
            assert_eq!(keys.order(put(key, value, None)).await, Ok(true));
        }
        assert_eq!(keys.order(put("a", "3", None)).await, Ok(true));
        assert_eq!(keys.order(Order::Delete { key: "gone".into(), cas: None }).await, Ok(true));
        store.settled().await.unwrap();
        (keys.under(""), keys.last())
    };
    // A clock that is set back, as far as the file can tell: it was written by a process of a later time.
    let later = i64::try_from(now()).unwrap() + 86_400_000_000;
    let change = Connection::open(&path).unwrap();
    let written: i64 =
        change.query_row("SELECT number FROM numbers WHERE what = 'keys'", [], |row| row.get(0)).unwrap();
    assert_eq!(written.cast_unsigned(), last, "the newest number is written with what it is of");
    change.execute("UPDATE numbers SET number = ?1", [later]).unwrap();
    drop(change);

    let store = open(&path);
    let keys = store.registry().keys();
    assert_eq!(keys.under(""), kept, "with the numbers that clients compare");
    assert_eq!(kept.iter().map(|pair| pair.flags).collect::<Vec<_>>(), [42, 42]);
    assert!(keys.changed("gone") > last && keys.last() > later.cast_unsigned());
    assert!(*store.registry().watch().borrow() > later.cast_unsigned());
    let before = kept[0].modified;
    assert_eq!(keys.order(put("a", "4", Some(before))).await, Ok(true), "a number from before still counts");
    assert_eq!(keys.order(put("a", "5", Some(before))).await, Ok(false));
    assert!(keys.changed("a") > later.cast_unsigned());
    store.settled().await.unwrap();
    drop(store);
    assert_eq!(&*open(&path).registry().keys().get("a").unwrap().value, b"4");
}

#[test]
fn a_file_that_cannot_be_used_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.db");
    std::fs::write(&path, "this is a text, and a text is no database at all").unwrap();
    let error = Store::open(&path, Limits::default()).unwrap_err().to_string();
    assert!(error.contains("registry.db") && error.contains("move it away"), "{error}");
    std::fs::remove_file(&path).unwrap();
    let first = open(&path);
    let error = Store::open(&path, Limits::default()).unwrap_err().to_string();
    assert!(error.contains("another process has it open"), "{error}");
    drop(first);
    open(&path);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o777, 0o600, "headers of checks may be secret");
    let nowhere = Store::open(&directory.path().join("none/registry.db"), Limits::default()).unwrap_err().to_string();
    assert!(nowhere.contains("none/registry.db") && nowhere.contains("No such file"), "{nowhere}");
}
