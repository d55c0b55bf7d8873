//! Listening sockets: one a worker thread for each address, never closed by a reload that keeps the address.

use crate::config::Bind;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// Connections that the kernel holds for us before we take them.
const BACKLOG: i32 = 4096;

/// A bound socket, not yet in any runtime.
#[derive(Debug)]
pub(super) enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// Binds an address once for each thread.
pub(super) fn bind(bind: &Bind, threads: usize) -> io::Result<Vec<Bound>> {
    match bind {
        Bind::Tcp(address) => {
            if threads == 1 {
                return Ok(vec![Bound::Tcp(tcp(*address, false)?)]);
            }
            // The kernel lets anybody of the same user share a port that has SO_REUSEPORT: a first bind without it
            // finds out whether the port is somebody else's.
            drop(tcp(*address, false)?);
            (0..threads).map(|_| Ok(Bound::Tcp(tcp(*address, true)?))).collect()
        }
        Bind::Unix(path) => {
            let listener = unix(path)?;
            let mut all = Vec::new();
            for _ in 1..threads {
                all.push(Bound::Unix(listener.try_clone()?));
            }
            all.push(Bound::Unix(listener));
            Ok(all)
        }
    }
}

fn tcp(address: SocketAddr, share: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A socket file that nobody listens on is left over from a crash and is replaced; one that answers is somebody's.
fn unix(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Whether an address could be bound now, without taking a connection from anybody; if not, what to tell.
pub(crate) fn is_free(bind: &Bind) -> Result<(), String> {
    let tried = match bind {
        Bind::Tcp(address) => {
            Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP)).and_then(|socket| {
                socket.set_reuse_address(true)?;
                socket.bind(&SockAddr::from(*address))
            })
        }
        Bind::Unix(path) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"))
        }
        Bind::Unix(path) => {
            let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            nix::unistd::access(directory, nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK)
                .map_err(io::Error::from)
        }
    };
    tried.map_err(|e| explain(bind, &e))
}

/// What to tell about an address that cannot be bound: who has it, where that can be seen.
pub(super) fn explain(bind: &Bind, error: &io::Error) -> String {
    let place = match bind {
        Bind::Tcp(a) => a.to_string(),
        Bind::Unix(p) => p.display().to_string(),
    };
    match (error.kind(), bind) {
        (io::ErrorKind::AddrInUse, Bind::Tcp(a)) => match owner(a.port()) {
            Some(owner) => format!("cannot listen on {place}: {owner} listens there; stop it or choose another port"),
            None => format!("cannot listen on {place}: the port is taken; stop its owner or choose another port"),
        },
        (io::ErrorKind::PermissionDenied, Bind::Tcp(a)) if a.port() < 1024 => format!(
            "cannot listen on {place}: ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher port or grant it"
        ),
        _ => format!("cannot listen on {place}: {error}"),
    }
}

/// The process that listens on a port, as /proc tells it.
fn owner(port: u16) -> Option<String> {
    let wanted = format!(":{port:04X}");
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let table = std::fs::read_to_string(table).ok()?;
        table.lines().skip(1).find_map(|line| {
            let mut fields = line.split_whitespace();
            let (local, state) = (fields.nth(1)?, fields.nth(1)?);
            // 0A is LISTEN.
            (local.ends_with(&wanted) && state == "0A").then(|| fields.nth(5).map(str::to_owned))?
        })
    })?;
    let link = format!("socket:[{inode}]");
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Ok(pid) = process.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(fds) = std::fs::read_dir(process.path().join("fd")) else { continue };
        if fds.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|l| l.to_string_lossy() == link)) {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {pid})", name.trim()));
        }
    }
    None
}

impl Bound {
    /// The address it really has.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        match self {
            Bound::Tcp(l) => l.local_addr().ok(),
            Bound::Unix(_) => None,
        }
    }
}
