//! Compose: its own schema, what the schema cannot see, and the stand-ins for Graylog and StatsD run for real.

use crate::{BEYOND_DRAIN, Running, effective, entries, example, items, port_of, python_peer, ran, seconds, text};
use crate::{word, yaml};
use fourmi_tests::{Setup, Worker, free_port};
use serde_json::{Value, json};
use std::process::Command;

fn model() -> Value {
    yaml(&text("compose/compose.yaml")).remove(0)
}

#[test]
fn conformance_of_compose_with_its_schema() {
    let folder = tempfile::tempdir().unwrap();
    let check = |source: &str| {
        let file = folder.path().join("compose.yaml");
        std::fs::write(&file, source).unwrap();
        let schema = ["--builtin-schema", "vendor.compose-spec"];
        ran(Command::new(python_peer("check-jsonschema")).args(schema).arg(&file))
    };
    let source = text("compose/compose.yaml");
    let (good, said) = check(&source);
    assert!(good, "{said}");
    let (good, said) = check(&source.replace("network_mode:", "network_mod:"));
    assert!(!good && said.contains("network_mod"), "{said}");
}

#[test]
fn every_container_is_hardened() {
    for (name, service) in entries(&model()["services"]) {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        // The image of `try` has its own.
        let user = service["user"].as_str().unwrap_or("100:101");
        assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{name}: {user}");
        for volume in items(&service["volumes"]) {
            let parts: Vec<&str> = volume.as_str().unwrap().split(':').collect();
            assert!(parts.len() == 3 && parts[2] == "ro", "{name}: {volume}");
            assert!(example("compose").join(parts[0]).is_dir(), "{name}: {volume} does not exist");
        }
    }
}

#[test]
fn the_parts_of_compose_agree() {
    let model = model();
    let services = &model["services"];
    for (name, service) in entries(services) {
        for (other, how) in entries(&service["depends_on"]) {
            assert!(services[other].is_object(), "{name} depends on {other}, which is not there");
            let shares = service["network_mode"] == json!(format!("service:{other}"));
            // Whoever shares a sidecar's network is the worker that it is waiting for.
            assert!(!(shares && how["condition"] == "service_healthy"), "{name} and {other} would wait for each other");
        }
        for network in items(&service["networks"]) {
            assert!(model["networks"].get(network.as_str().unwrap()).is_some(), "{name}: {network}");
        }
        if let Some(other) = service["network_mode"].as_str().and_then(|m| m.strip_prefix("service:")) {
            assert!(services[other].is_object(), "{name}: {other}");
            for key in ["ports", "networks", "hostname", "dns"] {
                assert!(service.get(key).is_none(), "{name} has no network of its own for `{key}`");
            }
        }
    }

    let (sidecar, worker) = (&services["payment-fourmi"], &services["payment"]);
    assert_eq!(worker["network_mode"], "service:payment-fourmi");
    assert_eq!(worker["depends_on"]["payment-fourmi"]["restart"], true);
    assert_eq!(sidecar["healthcheck"]["test"], json!(["CMD", "/fourmi", "health"]));
    assert!(example("compose").join(word(sidecar, "/build/context")).join("Cargo.lock").is_file());
    let dockerfile = example("compose").join(word(sidecar, "/build/context")).join(word(sidecar, "/build/dockerfile"));
    assert!(dockerfile.is_file(), "{}", dockerfile.display());

    let config = effective(&example("compose/fourmi/fourmi.yaml"), &[]);
    let listen = port_of(&config["inbound"][0]["listen"]);
    for port in items(&sidecar["ports"]) {
        assert_eq!(port_of(port), listen, "what is published must be what listens; the admin listener is not");
    }
    let python = std::fs::read_to_string(example("worker/worker.py")).unwrap();
    let port = port_of(&config["worker"]["address"][0]["url"]);
    assert!(python.contains(&format!("\"WORKER_PORT\", \"{port}\"")), "the worker listens elsewhere than on {port}");
    assert!(seconds(&sidecar["stop_grace_period"]) >= seconds(&config["timeouts"]["drain"]) + BEYOND_DRAIN);
    assert!(seconds(&worker["stop_grace_period"]) > 20.0, "the worker finishes what it has within 20 s");

    // Receivers are called by the names that they have here, on the ports that they are told.
    for (sink, key) in
        [(&config["logs"][1]["graylog"], "graylog"), (&config["metrics"]["sinks"][0]["statsd"], "statsd")]
    {
        let to = word(sink, "/to").strip_prefix("udp://").unwrap();
        let (host, port) = to.split_once(':').unwrap();
        assert_eq!((host, services[host]["command"][3].as_str()), (key, Some(port)));
        assert_eq!(services[host]["profiles"], json!(["receivers"]));
    }
}

/// The stand-ins of the profile `receivers` understand what Fourmi sends: packed, in chunks, and counted.
#[test]
fn the_receivers_show_what_fourmi_tells() {
    let python = |kind: &str, port: u16| {
        let mut command = Command::new(python_peer("python3"));
        let running = Running::start(command.arg(example("compose/receivers.py")).args([kind, &port.to_string()]));
        running.says("listening on");
        running
    };
    let (gelf_port, statsd_port) = (free_port(), free_port());
    let (gelf, statsd) = (python("gelf", gelf_port), python("statsd", statsd_port));
    let worker = Worker::echo();
    for (compress, chunk) in [("gzip", 1420), ("zlib", 1420), ("none", 512)] {
        let mut fourmi = Setup::beside(worker.address())
            .logs(format!(
                "[{{graylog: {{to: \"udp://127.0.0.1:{gelf_port}\", compress: {compress}, chunk: {chunk}}}}}]"
            ))
            .env(
                "FOURMI_METRICS__SINKS",
                format!("[{{statsd: {{to: \"udp://127.0.0.1:{statsd_port}\", interval: 100ms}}}}]"),
            )
            .start();
        let answer = fourmi.get_with("/pay", &format!("Fourmi-Command: pay-{compress}\r\n"));
        assert_eq!(answer.status(), 200);
        gelf.says(&format!("\"_command\": \"pay-{compress}\""));
        fourmi.signal(nix::sys::signal::Signal::SIGTERM);
        assert_eq!(fourmi.ends(), 0);
    }
    assert!(!gelf.said().contains("not understood"), "{}", gelf.said());
    statsd.says("|c");
}
