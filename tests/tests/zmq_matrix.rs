//! Real callers of ZeroMQ through Fourmi to real workers of ZeroMQ: every binding with every other.

use fourmi_tests::Setup;
use fourmi_tests::peers::{Binding, zmq_client, zmq_worker};
use std::panic::catch_unwind;

const COMMANDS: usize = 100;
const CLIENTS: [(Binding, &str); 6] = [
    (Binding::Php, "req"),
    (Binding::Python, "req"),
    (Binding::Node, "req"),
    (Binding::Php, "dealer"),
    (Binding::Python, "dealer"),
    (Binding::Node, "dealer"),
];
const WORKERS: [(Binding, &str); 4] =
    [(Binding::Php, "rep"), (Binding::Python, "rep"), (Binding::Python, "router"), (Binding::Node, "rep")];

#[test]
fn every_client_with_every_worker() {
    let mut failed = Vec::new();
    for (binding, kind) in WORKERS {
        let worker = zmq_worker(binding, kind, None);
        let fourmi = Setup::beside(&format!("zmq+tcp://127.0.0.1:{}", worker.port)).start();
        for (client, socket) in CLIENTS {
            let name = format!("{client:?} {socket} -> {binding:?} {kind}");
            let passed = catch_unwind(|| zmq_client(client, socket, fourmi.port(), COMMANDS)).is_ok();
            println!("{name}: {}", if passed { "passed" } else { "FAILED" });
            if !passed {
                failed.push(name);
            }
        }
        let labels = [("protocol", "zmq"), ("outcome", "success")];
        let counted = fourmi.metrics().sum("fourmi_commands_total", &labels);
        assert_eq!(counted, (COMMANDS * (CLIENTS.len() - failed.len())) as f64, "each is counted once");
    }
    println!("{} of {} pairs passed", CLIENTS.len() * WORKERS.len() - failed.len(), CLIENTS.len() * WORKERS.len());
    assert!(failed.is_empty(), "{failed:?}");
}
