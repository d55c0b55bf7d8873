//! Unbound, a DNS server whose answers change while it runs.

use super::{Peer, program};
use crate::net::free_port;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A running unbound. It asks no other server, so what it was not told fails with SERVFAIL.
pub struct Resolver {
    peer: Peer,
    config: PathBuf,
}

/// `{at}` and `{port}` are filled in.
const CONFIG: &str = "
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
    module-config: \"iterator\"
    local-zone: test. nodefault
    do-not-query-address: 0.0.0.0/0
    do-not-query-address: ::/0
remote-control:
    control-enable: yes
    control-interface: {at}/control
";

impl Resolver {
    /// On a free port.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_on(free_port())
    }

    /// On this port, knowing nothing.
    #[track_caller]
    pub fn start_on(port: u16) -> Self {
        let folder = TempDir::with_prefix("unbound-").unwrap();
        let text = CONFIG.replace("{at}", folder.path().to_str().unwrap()).replace("{port}", &port.to_string());
        let config = folder.path().join("unbound.conf");
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(program("unbound"));
        command.arg("-d").arg("-c").arg(&config);
        let peer = Peer::start("unbound", port, folder, &mut command).listens(port);
        let mut resolver = Resolver { peer, config };
        let (control, config) = (program("unbound-control"), resolver.config.clone());
        resolver.peer.starts("takes commands", |_| {
            let status = Command::new(&control).arg("-c").arg(&config).arg("status").output().unwrap();
            status.status.success()
        });
        resolver
    }

    /// Where it is asked, as `nameservers` has it.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.peer.port).into()
    }

    /// From now on the name has these records alone, each as `A 127.0.0.2`; other types are NODATA.
    #[track_caller]
    pub fn has(&self, name: &str, ttl: u32, records: &[&str]) {
        self.fails(name);
        let lines: Vec<String> = records.iter().map(|record| format!("{name}. {ttl} IN {record}\n")).collect();
        self.control(&["local_datas"], &lines.concat());
    }

    /// From now on there is no such name: NXDOMAIN.
    #[track_caller]
    pub fn forgets(&self, name: &str) {
        self.fails(name);
        self.control(&["local_zone", name, "always_nxdomain"], "");
    }

    /// From now on questions for the name fail: SERVFAIL.
    #[track_caller]
    pub fn fails(&self, name: &str) {
        self.control(&["local_zone_remove", name], "");
    }

    #[track_caller]
    fn control(&self, arguments: &[&str], input: &str) -> Output {
        let file = self.peer.folder.path().join("input");
        std::fs::write(&file, input).unwrap();
        let mut command = Command::new(program("unbound-control"));
        command.arg("-c").arg(&self.config).args(arguments).stdin(Stdio::from(std::fs::File::open(&file).unwrap()));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let fine = output.status.success() && !said.contains("error");
        assert!(fine, "unbound-control {arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        output
    }
}
