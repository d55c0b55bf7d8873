//! The resolvers that programs are built with find all forms of names through a `resolv.conf` that names Fourmi.

use fourmi_tests::peers::{NameSpace, dns_example, free_address_of_names, printed, program, python_program};
use fourmi_tests::{Fourmi, Section, Setup, dns, until};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const BOTH: &[&str] = &["127.0.0.2", "127.0.0.3"];
const SRV: &[&str] = &["1/1/8081/7f000002.addr.dc1.consul.", "1/1/8081/7f000003.addr.dc1.consul."];

/// Names that every resolver can be asked, and their addresses.
const NAMES: &[(&str, &[&str])] = &[
    ("stock.service.consul", BOTH),
    ("stock.service.consul.", BOTH),
    ("v1.stock.service.consul", &["127.0.0.2"]),
    ("stock.service.dc1.consul", BOTH),
    ("STOCK.service.fourmi", BOTH),
    ("n1.node.consul", &["127.0.0.1"]),
    ("stock.skydns.local", BOTH),
    ("s2.stock.skydns.local", &["127.0.0.3"]),
    ("one.shop.skydns.local", &["10.0.0.9"]),
    ("alias.shop.skydns.local", &["10.0.0.9"]),
    ("nobody.service.consul", &[]),
    ("nobody.skydns.local", &[]),
];

/// Names that are made whole by `search service.consul` and `ndots:2`.
const SHORT: &[(&str, &[&str])] = &[("stock", BOTH), ("v1.stock", &["127.0.0.2"])];

/// A name of IPv6.
const SIX: &[(&str, &[&str])] = &[("six.service.consul", &["fd00::7"])];

struct World {
    section: Section,
    fourmi: Fourmi,
    inside: NameSpace,
}

/// Fourmi on port 53 of an address of its own, and `examples/deploy/dns/resolv.conf` with that address.
#[track_caller]
fn world() -> World {
    let at: SocketAddr = free_address_of_names();
    let section = Section::at(at)
        .service("{name: stock, id: s1, address: 127.0.0.2, port: 8081, tags: [v1]}")
        .service("{name: stock, id: s2, address: 127.0.0.3, port: 8081, tags: [v2]}")
        .service("{name: six, address: \"fd00::7\", port: 8081}")
        .record("one.shop.skydns.local", "{host: 10.0.0.9, port: 80}")
        .record("alias.shop.skydns.local", "{host: one.shop.skydns.local}");
    let fourmi = Setup::alone().more(&section.yaml()).start();
    let resolv = dns_example("resolv.conf", 0);
    assert!(resolv.contains("nameserver 127.0.0.2\n"), "{resolv}");
    let resolv = resolv.replace("nameserver 127.0.0.2\n", &format!("nameserver {}\n", at.ip()));
    World { section, fourmi, inside: NameSpace::new(&resolv) }
}

impl World {
    /// A program is given names and prints each with what it found; that must be this.
    #[track_caller]
    fn finds(&self, program: &Path, arguments: &[&str], names: &[(&str, &[&str])]) {
        let all: Vec<&str> = arguments.iter().copied().chain(names.iter().map(|(name, _)| *name)).collect();
        let lines = self.inside.prints(program, &all);
        assert_eq!(lines.len(), names.len(), "{lines:?}");
        for (line, (name, wanted)) in lines.iter().zip(names) {
            let mut found: Vec<&str> = line.split(' ').collect();
            assert_eq!(found.remove(0), *name, "{line}");
            found.sort_unstable();
            assert_eq!(found, *wanted, "{} {arguments:?} of {name}", program.display());
        }
    }

    /// The first instance goes.
    #[track_caller]
    fn changes(&self) {
        let other =
            Section::at(self.section.at).service("{name: stock, id: s2, address: 127.0.0.3, port: 8081, tags: [v2]}");
        self.section.becomes(&self.fourmi, &other);
        until("one is left", || {
            dns::addresses(self.section.at, "stock.service.consul").is_some_and(|all| all.len() == 1)
        });
    }
}

const LEFT: &[(&str, &[&str])] =
    &[("stock.service.consul", &["127.0.0.3"]), ("v1.stock.service.consul", &[]), ("stock", &["127.0.0.3"])];

/// A file of `tests/peers`.
fn script(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name).display().to_string()
}

/// `resolve.c`, made by this compiler.
#[track_caller]
fn made(folder: &Path, compiler: &str, more: &[&str]) -> PathBuf {
    let (path, source) = (folder.join("resolve"), script("resolve.c"));
    let arguments = [more, &["-o", path.to_str().unwrap(), &source]].concat();
    printed(compiler, &arguments);
    path
}

#[track_caller]
fn c_finds(compiler: &str, more: &[&str]) {
    let (world, folder) = (world(), tempfile::tempdir().unwrap());
    let resolve = made(folder.path(), compiler, more);
    for names in [NAMES, SHORT, SIX] {
        world.finds(&resolve, &[], names);
    }
    world.changes();
    world.finds(&resolve, &[], LEFT);
}

#[test]
fn glibc_finds_names() {
    c_finds("cc", &[]);
}

#[test]
fn musl_finds_names() {
    c_finds("musl-gcc", &["-static"]);
}

#[test]
fn getent_finds_names() {
    let world = world();
    for (name, wanted) in NAMES.iter().chain(SHORT).filter(|(_, wanted)| !wanted.is_empty()) {
        let lines = world.inside.prints(&program("getent"), &["ahostsv4", name]);
        let mut found: Vec<&str> = lines.iter().filter_map(|l| l.split_whitespace().next()).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, *wanted, "{name}: {lines:?}");
    }
}

#[test]
fn node_finds_names() {
    let world = world();
    let (node, script) = (program("node"), script("resolve.js"));
    for names in [NAMES, SHORT, SIX] {
        world.finds(&node, &[&script, "lookup"], names);
    }
    world.finds(&node, &[&script, "resolve4"], NAMES);
    world.finds(
        &node,
        &[&script, "resolveSrv"],
        &[("_stock._tcp.service.consul", SRV), ("nobody.service.consul", &[])],
    );
    let skydns = ["10/50/8081/s1.stock.skydns.local.", "10/50/8081/s2.stock.skydns.local."];
    world.finds(&node, &[&script, "resolveSrv"], &[("stock.skydns.local", &skydns)]);
    world.changes();
    world.finds(&node, &[&script, "lookup"], LEFT);
}

#[test]
fn php_finds_names() {
    let world = world();
    let (php, script) = (program("php"), script("resolve.php"));
    for names in [NAMES, SHORT] {
        world.finds(&php, &[&script, "system"], names);
    }
    world.finds(&php, &[&script, "A"], SHORT);
    world.finds(&php, &[&script, "SRV"], &[("_stock._tcp.service.consul", SRV), ("stock", SRV)]);
    world.changes();
    world.finds(&php, &[&script, "system"], LEFT);
}

#[test]
fn python_finds_names() {
    let world = world();
    let (python, script) = (python_program("python"), script("resolve.py"));
    for names in [NAMES, SHORT, SIX] {
        world.finds(&python, &[&script, "system"], names);
    }
    for names in [NAMES, SHORT] {
        world.finds(&python, &[&script, "A"], names);
    }
    world.finds(&python, &[&script, "SRV"], &[("_stock._tcp.service.consul", SRV), ("_stock._tcp", SRV)]);
    world.changes();
    world.finds(&python, &[&script, "system"], LEFT);
}
