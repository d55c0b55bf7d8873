//! `examples/instances` does what its README says: two sidecars, mutual TLS, several instances behind a name.

use fourmi_tests::sidecar::{binary, run_fourmi_in};
use fourmi_tests::wire::Client;
use fourmi_tests::{Worker, eventually, free_port, until};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(folder: &Path, name: &str) -> Running {
    let log = std::fs::File::create(folder.join(format!("{name}.log"))).unwrap();
    let mut command = Command::new(binary());
    command.args(["run", "-c", &format!("{name}.yaml")]).current_dir(folder);
    command.env("FOURMI_LOG_FORMAT", "json").stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
    Running(command.spawn().unwrap())
}

#[test]
fn the_example_runs_as_its_readme_says() {
    let folder = tempfile::tempdir().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/instances");
    // Its ports may be somebody's here, so each gets another one.
    let worker = Worker::echo();
    let ports: Vec<(&str, u16)> = ["8081", "25011", "15001", "25443", "9911", "9912"]
        .into_iter()
        .map(|port| (port, free_port()))
        .chain([("8082", worker.port())])
        .collect();
    for name in ["order.yaml", "stock.yaml"] {
        let mut text = std::fs::read_to_string(example.join(name)).unwrap();
        for (old, new) in &ports {
            text = text.replace(&format!(":{old}"), &format!(":{new}"));
        }
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let port = |old: &str| ports.iter().find(|(p, _)| *p == old).unwrap().1;
    let readme = std::fs::read_to_string(example.join("README.md")).unwrap();
    let certs: Vec<&str> = readme.lines().filter_map(|l| l.strip_prefix("$ fourmi cert ")).collect();
    assert_eq!(certs.len(), 3);
    for line in certs {
        let arguments: Vec<&str> = std::iter::once("cert").chain(line.split(' ')).collect();
        let ended = run_fourmi_in(folder.path(), &arguments);
        assert_eq!(ended.code, 0, "{line}: {ended:?}");
    }
    let (_stock, _order) = (run(folder.path(), "stock"), run(folder.path(), "order"));
    until("order listens", || TcpStream::connect(("127.0.0.1", port("15001"))).is_ok());
    let answer = Client::connect(port("15001")).send("GET /items/7 HTTP/1.1\r\nHost: stock\r\n\r\n").answer();
    assert_eq!((answer.status(), answer.json()["target"].as_str()), (200, Some("/items/7")), "{}", answer.text());
    let log = eventually("stock tells who called", || {
        let log = std::fs::read_to_string(folder.path().join("stock.log")).unwrap();
        log.contains("spiffe://shop.example/order").then_some(log)
    });
    assert!(log.contains("client_identity"), "{log}");

    let admin = format!("http://127.0.0.1:{}", port("9911"));
    let list = run_fourmi_in(folder.path(), &["upstreams", "--admin", &admin]).stdout;
    let healthy = |l: &&str| l.starts_with("stock ") && l.contains(&format!(":{}", port("25443")));
    assert!(list.lines().find(healthy).is_some_and(|l| l.contains(" healthy ")), "{list}");
    let explain = ["explain", "http://stock/items/7", "-c", "order.yaml"];
    let explained = run_fourmi_in(folder.path(), &explained_by(&explain, &admin)).stdout;
    assert!(explained.contains("picked by latency"), "{explained}");
    // Out by hand, and back.
    let set = |state: &str| run_fourmi_in(folder.path(), &["upstreams", "set", state, "stock", "--admin", &admin]);
    assert!(set("down").stdout.contains("forced-down"));
    let refused = Client::connect(port("15001")).send("GET / HTTP/1.1\r\nHost: stock\r\n\r\n").answer();
    assert_eq!(refused.status(), 503);
    assert!(set("auto").stdout.contains("healthy"));
    let answer = Client::connect(port("15001")).send("GET / HTTP/1.1\r\nHost: stock\r\n\r\n").answer();
    assert_eq!(answer.status(), 200);
    let unknown = run_fourmi_in(folder.path(), &["upstreams", "set", "up", "nobody", "--admin", &admin]);
    assert!(unknown.code == 1 && unknown.stderr.contains("no service is called nobody"), "{unknown:?}");
}

fn explained_by<'a>(line: &[&'a str], admin: &'a str) -> Vec<&'a str> {
    line.iter().copied().chain(["--admin", admin]).collect()
}
