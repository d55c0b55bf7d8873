//! Name servers that stand between programs and a registry, run with the files that users copy.

use super::{Peer, program};
use crate::net::free_port;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A name server that sends some domains elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameServer {
    /// dnsmasq.
    Dnsmasq,
    /// Unbound.
    Unbound,
    /// BIND's named.
    Named,
}

/// A file of `examples/deploy/dns`, with another port of Fourmi in it.
#[track_caller]
pub fn dns_example(name: &str, port: u16) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/deploy/dns").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.replace("8600", &port.to_string())
}

impl NameServer {
    /// All of them.
    pub const ALL: [NameServer; 3] = [NameServer::Dnsmasq, NameServer::Unbound, NameServer::Named];

    /// Runs it with the file of `examples/deploy/dns`, asking Fourmi on this port. Where it is asked itself comes back.
    #[track_caller]
    pub fn before(self, fourmi: u16) -> (Peer, SocketAddr) {
        let (port, folder) = (free_port(), TempDir::with_prefix("dns-").unwrap());
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let at = folder.path().display().to_string();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (name, mut command) = match self {
            NameServer::Dnsmasq => {
                let file = write("dnsmasq.conf", &dns_example("dnsmasq.conf", fourmi));
                let mut command = Command::new(program("dnsmasq"));
                command.args(["--keep-in-foreground", "--log-facility=-", "--no-resolv", "--no-hosts", "--user="]);
                command.args(["--bind-interfaces", "--listen-address=127.0.0.1", "--pid-file="]);
                command.arg(format!("--port={port}")).arg(format!("--conf-file={}", file.display()));
                ("dnsmasq", command)
            }
            NameServer::Unbound => {
                // The file is one of several that the main one includes.
                let ours = write("fourmi.conf", &dns_example("unbound.conf", fourmi));
                let main = UNBOUND.replace("{at}", &at).replace("{port}", &port.to_string());
                let file = write("unbound.conf", &format!("include: \"{}\"\n{main}", ours.display()));
                let mut command = Command::new(program("unbound"));
                command.arg("-d").arg("-c").arg(file);
                ("unbound", command)
            }
            NameServer::Named => {
                let text = dns_example("named.conf", fourmi);
                assert!(text.contains("/var/cache/bind"), "{text}");
                let text = text
                    .replace("/var/cache/bind", &at)
                    .replace("recursion yes;", &format!("recursion yes; pid-file none; session-keyfile \"{at}/key\";"));
                let file = write("named.conf", &format!("{text}\ncontrols {{ }};\n"));
                let mut command = Command::new(program("named"));
                command.args(["-g", "-n", "1", "-p", &port.to_string(), "-c"]).arg(file);
                ("named", command)
            }
        };
        (Peer::start(name, port, folder, &mut command).listens(port), ([127, 0, 0, 1], port).into())
    }
}

const UNBOUND: &str = "
server:
    interface: 127.0.0.1@{port}
    port: {port}
    do-daemonize: no
    use-syslog: no
    logfile: \"\"
    username: \"\"
    chroot: \"\"
    directory: \"{at}\"
    pidfile: \"{at}/pid\"
    num-threads: 1
    private-address: 127.0.0.0/8
    private-address: 10.0.0.0/8
remote-control:
    control-enable: no
";
