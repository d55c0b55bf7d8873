//! The order system: who is in it, where everyone listens, and the configuration of each Fourmi and of the registry.

use std::fmt::Write;

/// The environment's name in records and StatsD names.
pub(super) const ENV: &str = "demo";

/// One service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Service {
    /// Its name.
    pub(super) name: &'static str,
    /// What callers ask of it.
    pub(super) command: &'static str,
    /// How many worker processes stand behind its Fourmi.
    pub(super) workers: usize,
}

/// The one that customers talk to, first; it asks the others, in this order.
pub(super) const SERVICES: [Service; 5] = [
    Service { name: "order", command: "PlaceOrder", workers: 1 },
    Service { name: "stock", command: "ReserveStock", workers: 2 },
    Service { name: "payment", command: "ChargePayment", workers: 1 },
    Service { name: "invoice", command: "WriteInvoice", workers: 1 },
    Service { name: "mail", command: "SendMail", workers: 1 },
];

/// Mails that the provider takes in any second.
pub(super) const QUOTA: u32 = 200;
/// Mails a second that leave: what is shaped to exactly the quota may come a little closer together on its way.
const MAILS: u32 = QUOTA * 19 / 20;
/// How long a mail may wait for its turn.
const MAIL_WAIT: &str = "2s";

/// Somebody who places orders, as the front door knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Customer {
    /// The key that comes with each order; none: without one.
    pub(super) key: Option<&'static str>,
    /// Orders of each hundred.
    pub(super) share: u64,
}

/// The web shop; a robot, which has a limit of its own; a partner, who may not order; and somebody without a key.
pub(super) const CUSTOMERS: [Customer; 4] = [
    Customer { key: Some("key-of-the-web-shop"), share: 86 },
    Customer { key: Some("key-of-the-robot"), share: 6 },
    Customer { key: Some("key-of-the-partner"), share: 4 },
    Customer { key: None, share: 4 },
];

/// The front door of the first service: a Kong file, as it is.
const DOOR: &str = r#"
gateway:
  _format_version: "3.0"
  services:
    - name: order
      url: http://worker
      routes:
        - {name: orders, paths: [/]}
      plugins:
        - {name: key-auth, config: {hide_credentials: true}}
        - {name: acl, config: {allow: [shops]}}
        - {name: rate-limiting, config: {second: 10000, limit_by: consumer}}
  consumers:
    - username: web-shop
      keyauth_credentials: [{key: key-of-the-web-shop}]
      acls: [{group: shops}]
    - username: robot
      keyauth_credentials: [{key: key-of-the-robot}]
      acls: [{group: shops}]
      plugins:
        - {name: rate-limiting, service: order, config: {second: 5, limit_by: consumer}}
    - username: partner
      keyauth_credentials: [{key: key-of-the-partner}]
"#;

/// Whose a command is, seen from one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What this service is asked.
    Own,
    /// What another service of the system is asked.
    Other,
    /// Not of the system.
    Strange,
}

/// Whose the command `name` is, for the service that is asked `own`.
pub(super) fn kind(name: &str, own: &str) -> Kind {
    match name {
        _ if name == own => Kind::Own,
        _ if SERVICES.iter().any(|service| service.command == name) => Kind::Other,
        _ => Kind::Strange,
    }
}

/// Where one service and its Fourmi listen, and where that Fourmi tells what it saw. All on 127.0.0.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ports {
    /// The workers.
    pub(super) workers: Vec<u16>,
    /// The Fourmi, for those who call the service.
    pub(super) inbound: u16,
    /// The Fourmi, for the service's own calls; only the first service makes any.
    pub(super) outbound: u16,
    /// The Fourmi's admin listener.
    pub(super) admin: u16,
    /// GELF receiver.
    pub(super) graylog: u16,
    /// StatsD receiver.
    pub(super) statsd: u16,
    /// Whether the worker speaks ZeroMQ: it is PHP's then.
    pub(super) php: bool,
}

/// The service whose worker may be PHP's.
pub(super) const PHP: &str = "invoice";

/// Where the registry listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Registry {
    /// For DNS.
    pub(super) dns: u16,
    /// Its admin listener.
    pub(super) admin: u16,
}

/// What it is called.
pub(super) const REGISTRY: &str = "registry";

/// The name under which a service's instances are looked up.
pub(super) fn name_of(service: Service) -> String {
    format!("_{}._tcp.service.fourmi", service.name)
}

/// The registry of `examples/orders`.
#[cfg(test)]
pub(super) fn example_registry() -> Registry {
    use crate::names::port;
    Registry { dns: port::DNS, admin: port::ADMIN + 9 }
}

/// The ports of `examples/orders`: fixed, so that its README can name them.
#[cfg(test)]
pub(super) fn example_ports() -> Vec<Ports> {
    use crate::names::port;
    let at = |base: u16, index: usize| base + u16::try_from(index).unwrap_or(0);
    SERVICES
        .iter()
        .enumerate()
        .map(|(i, service)| Ports {
            workers: (0..service.workers).map(|n| at(8081, i + 10 * n)).collect(),
            inbound: at(port::INBOUND + 10, i),
            outbound: at(port::OUTBOUND + 10, i),
            admin: at(port::ADMIN + 10, i),
            graylog: port::GRAYLOG,
            statsd: port::STATSD,
            php: false,
        })
        .collect()
}

/// The configuration of the Fourmi beside service number `index`.
pub(super) fn config(index: usize, ports: &[Ports], registry: Registry) -> String {
    let (service, own) = (SERVICES[index], &ports[index]);
    let mut out = String::with_capacity(1024);
    // Writing to a String cannot fail.
    let _ = write_config(&mut out, index, service, own, registry);
    let _ = write_admin(&mut out, own.admin, ports, registry);
    out
}

/// The configuration of the registry: who is where, and is well as long as its Fourmi says that it is ready.
pub(super) fn registry_config(ports: &[Ports], registry: Registry) -> String {
    let mut out = String::with_capacity(1024);
    let _ = write_registry(&mut out, ports, registry);
    out
}

fn write_registry(out: &mut String, ports: &[Ports], registry: Registry) -> std::fmt::Result {
    writeln!(out, "# The registry of the order system: names are asked of it by DNS.")?;
    writeln!(out, "service: {REGISTRY}\nenv: {ENV}\nhostname: {REGISTRY}-1\n\ndiscovery:\n  address: 127.0.0.1")?;
    writeln!(out, "  dns: {{listen: 127.0.0.1:{}}}\n  services:", registry.dns)?;
    for (service, at) in SERVICES.iter().zip(ports) {
        let check = format!("{{http: \"http://127.0.0.1:{}/readyz\", interval: 1s}}", at.admin);
        writeln!(out, "    - {{name: {}, port: {}, check: {check}}}", service.name, at.inbound)?;
    }
    writeln!(out, "\nlogs: []")?;
    write_admin(out, registry.admin, ports, registry)
}

/// The admin listener; its page shows all the others too.
fn write_admin(out: &mut String, own: u16, ports: &[Ports], registry: Registry) -> std::fmt::Result {
    writeln!(out, "admin:\n  listen: 127.0.0.1:{own}\n  peers:")?;
    let others = ports.iter().map(|p| p.admin).chain([registry.admin]).filter(|port| *port != own);
    others.into_iter().try_for_each(|port| writeln!(out, "    - http://127.0.0.1:{port}"))
}

fn write_config(out: &mut String, index: usize, service: Service, own: &Ports, registry: Registry) -> std::fmt::Result {
    let name = service.name;
    writeln!(out, "# The Fourmi beside the service {name} of the order system.")?;
    writeln!(out, "service: {name}\nenv: {ENV}\nhostname: {name}-1\ntags: {{team: orders}}\n\nworker:")?;
    match own.workers.as_slice() {
        [one] if own.php => {
            writeln!(out, "  address: zmq+tcp://127.0.0.1:{one}\n  zmq: {{frames: [name, body]}}")?;
        }
        [one] => writeln!(out, "  address: http://127.0.0.1:{one}")?,
        several => {
            writeln!(out, "  address:")?;
            for port in several {
                writeln!(out, "    - http://127.0.0.1:{port}")?;
            }
        }
    }
    if !own.php {
        writeln!(out, "  ready: {{http: /healthz, interval: 500ms}}")?;
    }
    writeln!(out, "inbound:\n  - listen: http://127.0.0.1:{}", own.inbound)?;
    if index == 0 {
        writeln!(out, "outbound:\n  - listen: http://127.0.0.1:{}\n    services:", own.outbound)?;
        for other in &SERVICES[1..] {
            let rate = match other.name {
                "mail" => format!(", rate: {{limit: {MAILS}, per: 1s, wait: {MAIL_WAIT}}}"),
                _ => String::new(),
            };
            writeln!(out, "      {}: {{address: http://{}{rate}}}", other.name, name_of(*other))?;
        }
        writeln!(out, "dns: {{nameservers: [\"127.0.0.1:{}\"]}}", registry.dns)?;
        write!(out, "{DOOR}")?;
    }
    writeln!(out, "\nlogs:\n  - graylog: {{to: udp://127.0.0.1:{}, compress: none}}", own.graylog)?;
    writeln!(out, "metrics:\n  labels: [shop, consumer]\n  sinks:")?;
    writeln!(out, "    - statsd: {{to: udp://127.0.0.1:{}, dialect: plain, interval: 1s}}", own.statsd)?;
    writeln!(out, "    - prometheus: {{}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_what_the_demo_runs() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/orders");
        let ports = example_ports();
        let registry = example_registry();
        let services = SERVICES.iter().enumerate().map(|(i, service)| (service.name, config(i, &ports, registry)));
        for (name, wanted) in services.chain([(REGISTRY, registry_config(&ports, registry))]) {
            let path = folder.join(name).with_extension("yaml");
            if std::env::var_os("FOURMI_TEST_WRITE").is_some() {
                std::fs::write(&path, &wanted).unwrap();
            }
            let found = std::fs::read_to_string(&path).unwrap();
            assert_eq!(found, wanted, "{}: write it again with FOURMI_TEST_WRITE=1", path.display());
        }
    }

    #[test]
    fn the_worker_of_php_is_the_examples() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/zeromq/worker.php");
        assert_eq!(super::super::children::WORKER, std::fs::read_to_string(example).unwrap());
    }

    #[test]
    fn ports_of_the_examples_are_all_different() {
        let mut all: Vec<u16> = example_ports()
            .iter()
            .flat_map(|p| p.workers.iter().copied().chain([p.inbound, p.outbound, p.admin]))
            .chain([example_registry().dns, example_registry().admin])
            .collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
