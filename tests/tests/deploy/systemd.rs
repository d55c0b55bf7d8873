//! systemd: its own verdict on the units, and Fourmi's system calls held against the unit's filter. No systemd runs here.

use crate::{BEYOND_DRAIN, Running, clean, effective, example, ran, seconds, status, text, tool};
use fourmi_tests::sidecar::binary;
use fourmi_tests::{free_port, run_fourmi, until};
use serde_json::json;
use std::collections::BTreeSet;

/// The values of a key of the unit, in order.
fn values(key: &str) -> Vec<String> {
    let text = text("systemd/fourmi@.service");
    let lines = text.lines().filter_map(|l| l.split_once('=')).filter(|(k, _)| *k == key);
    lines.map(|(_, value)| value.to_owned()).collect()
}

/// What `systemd-analyze verify` says of the units, this text being the one of Fourmi.
fn verified(unit: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    // A program that is not there would be the only thing told.
    let unit = unit.replace("/usr/bin/fourmi", binary().to_str().unwrap());
    std::fs::write(folder.path().join("fourmi@.service"), unit).unwrap();
    std::fs::copy(example("systemd/payment.service"), folder.path().join("payment.service")).unwrap();
    let instance = folder.path().join("fourmi@payment.service");
    std::os::unix::fs::symlink("fourmi@.service", &instance).unwrap();
    let mut command = tool("systemd-analyze");
    // The machine's own units are looked up too and are none of our business.
    let path = format!("{}:", folder.path().display());
    let (_, said) = ran(command
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(&instance)
        .arg(folder.path().join("payment.service"))
        .env("SYSTEMD_UNIT_PATH", path));
    let ours = said.lines().filter(|l| l.contains("fourmi@") || l.contains("payment.service"));
    ours.collect::<Vec<_>>().join("\n")
}

#[test]
fn conformance_of_the_units_with_systemd() {
    let unit = text("systemd/fourmi@.service");
    assert_eq!(verified(&unit), "");
    // It succeeds with a misspelt key and only says so.
    let said = verified(&unit.replace("TimeoutStopSec=", "TimeoutStoppSec="));
    assert!(said.contains("TimeoutStoppSec"), "{said}");

    let mut command = tool("systemd-analyze");
    command.args(["security", "--offline=yes", "--threshold=20", "--no-pager"]);
    let (good, said) = ran(command.arg(example("systemd/fourmi@.service")));
    assert!(good && said.contains("Overall exposure level"), "{said}");
}

#[test]
fn the_unit_does_what_fourmi_needs() {
    let config = effective(&example("systemd/payment.yaml"), &[]);
    let drain = seconds(&config["timeouts"]["drain"]);
    assert!(seconds(&json!(values("TimeoutStopSec")[0])) >= drain + BEYOND_DRAIN);
    // Whatever the file says by default.
    let default = &effective(&root_example("minimal/fourmi.yaml"), &[])["timeouts"]["drain"];
    assert!(seconds(&json!(values("TimeoutStopSec")[0])) >= seconds(default) + BEYOND_DRAIN);
    assert_eq!((&values("KillMode")[0][..], &values("KillSignal")[0][..]), ("mixed", "SIGTERM"));
    assert_eq!(values("Type"), ["exec"]);

    let never: Vec<i32> = values("RestartPreventExitStatus")[0].split(' ').map(|c| c.parse().unwrap()).collect();
    let broken = root_example("broken/fourmi.yaml");
    for file in [broken.to_str().unwrap(), "/nowhere/fourmi.yaml"] {
        let ended = run_fourmi(&["run", "-c", file]);
        assert!(never.contains(&ended.code), "{file}: {}", ended.code);
    }
}

fn root_example(path: &str) -> std::path::PathBuf {
    crate::root().join("examples").join(path)
}

/// The commands of the unit, with this machine's program and file.
fn commands(key: &str, file: &str) -> Vec<Vec<String>> {
    let replaced = |line: &String| -> Vec<String> {
        let line = line.replace("/usr/bin/fourmi", binary().to_str().unwrap()).replace("/etc/fourmi/%i.yaml", file);
        assert!(!line.contains('%'), "{line}");
        line.split(' ').map(str::to_owned).collect()
    };
    values(key).iter().map(replaced).collect()
}

/// The members of a set of system calls, sets within it included.
fn calls(set: &str, found: &mut BTreeSet<String>) {
    let (good, said) = ran(tool("systemd-analyze").args(["syscall-filter", "--no-pager", set]));
    assert!(good, "{set}: {said}");
    for name in said.lines().skip(1).map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        match name.starts_with('@') {
            true => calls(name, found),
            false => _ = found.insert(name.to_owned()),
        }
    }
}

/// What the unit's filter lets through: an allow list, and a name that comes later wins.
fn allowed() -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    // systemd adds this itself.
    calls("@default", &mut allowed);
    for line in values("SystemCallFilter") {
        let (deny, names) = line.strip_prefix('~').map_or((false, &line[..]), |rest| (true, rest));
        for name in names.split(' ') {
            let mut named = BTreeSet::new();
            if name.starts_with('@') {
                calls(name, &mut named);
            } else {
                named.insert(name.to_owned());
            }
            allowed = if deny { &allowed - &named } else { &allowed | &named };
        }
    }
    allowed
}

/// The start, commands, both steps of the reload and the end, without capabilities or privileges to gain and as another
/// user, as the unit's commands have it.
#[test]
fn the_filter_lets_through_what_fourmi_calls() {
    let (port, inbound, admin) = (free_port(), free_port(), free_port());
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let file = folder.path().join("payment.yaml");
    let more = format!(
        "inbound: [{{listen: \"http://127.0.0.1:{inbound}\"}}]\nadmin: {{listen: \"127.0.0.1:{admin}\"}}\n\
         outbound: [{{listen: \"http://127.0.0.1:{}\"}}]\n",
        free_port()
    );
    let source = text("systemd/payment.yaml").replace("127.0.0.1:8080", &format!("127.0.0.1:{port}")) + &more;
    std::fs::write(&file, &source).unwrap();
    let file = file.to_str().unwrap();

    let start = &commands("ExecStart", file)[0];
    let mut command = tool("strace");
    let trace = folder.path().join("trace");
    command.args(["-f", "-qq", "-o"]).arg(&trace).arg("--");
    if nix::unistd::geteuid().is_root() {
        command.args(["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]);
    }
    let mut fourmi = Running::start(command.args(start));
    let _worker = crate::worker(port);
    until("it is ready", || status(admin, "/readyz") == 200);
    assert_eq!(status(inbound, "/pay"), 200);
    for step in commands("ExecReload", file) {
        let (good, said) = ran(clean(std::process::Command::new(&step[0]).args(&step[1..])));
        assert!(good, "{step:?}: {said}");
    }
    // A file with a mistake is told by the first step, and Fourmi goes on.
    std::fs::write(file, source.replace("service:", "servise:")).unwrap();
    let step = &commands("ExecReload", file)[0];
    let (good, said) = ran(clean(std::process::Command::new(&step[0]).args(&step[1..])));
    assert!(!good && said.contains("servise"), "{said}");
    assert_eq!(status(inbound, "/pay"), 200);

    // `PID NAME(…`, one call a line; the first process is the one that everything else began in.
    let trace = || std::fs::read_to_string(&trace).unwrap();
    let pid: i32 = trace().split(' ').next().unwrap().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(fourmi.ends(), Some(0));
    let call = |line: &str| -> Option<String> {
        let name = line.split_once(' ')?.1.trim_start().split_once('(')?.0;
        let legal = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        legal.then(|| name.to_owned())
    };
    let called: BTreeSet<String> = trace().lines().filter_map(call).collect();
    for name in ["epoll_wait", "accept4", "prlimit64"] {
        assert!(called.contains(name), "{name}: {called:?}");
    }
    let allowed = allowed();
    // What setpriv does before Fourmi begins is not Fourmi's.
    let setpriv = ["capset", "capget"].map(str::to_owned);
    let refused: Vec<_> = called.difference(&allowed).filter(|name| !setpriv.contains(name)).collect();
    assert!(refused.is_empty(), "{refused:?}");
}
