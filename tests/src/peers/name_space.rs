//! Programs that find another `/etc/resolv.conf` than the rest of this machine.

use super::program;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use tempfile::TempDir;

/// What the program does not see: this machine's resolver, its order of sources, and the daemon that keeps answers.
const SCRIPT: &str = r#"
set -e
mount --make-rprivate /
mount --bind "$1" /etc/resolv.conf
[ ! -e /etc/nsswitch.conf ] || mount --bind "$2" /etc/nsswitch.conf
[ ! -d /run/nscd ] || mount -t tmpfs none /run/nscd
shift 2
exec "$@"
"#;

/// A private view of the machine, in which names are looked up as these files say.
pub struct NameSpace {
    folder: TempDir,
}

impl NameSpace {
    /// With this `resolv.conf`.
    pub fn new(resolv_conf: &str) -> Self {
        let folder = TempDir::with_prefix("resolv-").unwrap();
        std::fs::write(folder.path().join("resolv.conf"), resolv_conf).unwrap();
        std::fs::write(folder.path().join("nsswitch.conf"), "hosts: files dns\n").unwrap();
        NameSpace { folder }
    }

    /// What a program prints there, line by line; it must succeed.
    #[track_caller]
    pub fn prints(&self, program_path: &Path, arguments: &[&str]) -> Vec<String> {
        let file = |name: &str| self.folder.path().join(name);
        let mut command = Command::new(program("unshare"));
        command.args(["-m", "sh", "-c", SCRIPT, "sh"]).arg(file("resolv.conf")).arg(file("nsswitch.conf"));
        command.arg(program_path).args(arguments).stdin(Stdio::null());
        command.env_remove("LOCALDOMAIN").env_remove("RES_OPTIONS");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{} in a mount namespace of its own, which only root may have: {}, {said}",
            program_path.display(),
            output.status
        );
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

/// Port 53 of a loopback address that nobody listens on.
#[track_caller]
pub fn free_address_of_names() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [low, high, ..] = std::process::id().to_le_bytes();
    for _ in 0..200 {
        let ip = Ipv4Addr::new(127, 100 + high % 100, low, NEXT.fetch_add(1, Ordering::Relaxed).max(1));
        let at = SocketAddr::new(IpAddr::V4(ip), 53);
        if TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok() {
            return at;
        }
    }
    panic!("port 53 of no loopback address can be had: it takes root, and nobody who listens on 0.0.0.0:53")
}
