//! Whether receivers can be reached from here: asked before Fourmi starts, or while a sink has nothing to send yet.
//! Nothing is sent; a connection that stands (TLS included) is the answer.

use super::LogSettings;
use super::transport::{Place, Resolver, reach};
use crate::names::port;
use crate::section::address::{Receiver, scheme};
use crate::tls::{ClientTls, section};
use nix::unistd::{AccessFlags, access};
use serde::Deserialize;
use serde_json::Value as Json;
use std::future::Future;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// OTLP over HTTP, as registered at IANA.
const OTLP: u16 = 4318;
const SCHEMES: &[&str] = &["udp", "tcp", "tls", "http", "https", "unix", "unixgram"];
/// Keys that name a receiver in a section.
const KEYS: [&str; 3] = ["to", "url", "endpoint"];

/// One receiver that can be tried.
#[derive(Debug)]
pub(crate) struct Probe {
    /// The configuration's key of the sink.
    pub(crate) sink: String,
    /// Where it sends, for people; what a running Fourmi calls its sink too.
    pub(crate) target: String,
    way: Way,
}

#[derive(Debug, PartialEq)]
enum Way {
    /// Nobody has to be there.
    Here,
    /// Appended to.
    File(PathBuf),
    /// Only the name can be wrong: nobody says whether a datagram came.
    Udp(String, u16),
    /// A datagram socket's file.
    Datagrams(PathBuf),
    /// A connection.
    Stream(Place),
    /// What stands in the way of even trying.
    Wrong(String),
}

/// Everybody that this configuration sends to: the log sinks, and the entries of `metrics.sinks` and `traces` among
/// all values that hold.
pub(crate) fn probes(logs: &[LogSettings], values: &Json) -> Vec<Probe> {
    let mut all: Vec<Probe> = logs.iter().map(of_log).collect();
    let metrics = values["metrics"]["sinks"].as_array().into_iter().flatten();
    let sections = metrics.chain([&values["traces"]]).filter_map(Json::as_object).flatten();
    all.extend(sections.filter_map(|(kind, section)| {
        let target = KEYS.iter().find_map(|key| section[*key].as_str())?;
        let way = way(target, if kind == "otlp" { OTLP } else { port::STATSD }, tls(&section["tls"]));
        Some(Probe { sink: kind.clone(), target: target.to_owned(), way })
    }));
    all
}

fn of_log(settings: &LogSettings) -> Probe {
    let sink = settings.name().to_owned();
    let target = match settings.build(&Arc::default()) {
        Ok(sink) => sink.target,
        Err(wrong) => return Probe { target: sink.clone(), sink, way: Way::Wrong(wrong.message) },
    };
    let file = settings.value("path").and_then(Json::as_str).filter(|_| sink == "file");
    let way = match file {
        Some(path) => Way::File(path.into()),
        None if scheme(&target).is_none() && !target.starts_with("unix") => Way::Here,
        // Those of a Kong file believe whoever answers.
        None if settings.is_plugin() => way(&target, 0, ClientTls { verify: false, ..ClientTls::default() }),
        None => way(&target, 0, tls(settings.value("tls").unwrap_or(&Json::Null))),
    };
    Probe { sink, target, way }
}

fn tls(section: &Json) -> ClientTls {
    section::Values::deserialize(section).unwrap_or_default().into()
}

fn way(target: &str, default_port: u16, tls: ClientTls) -> Way {
    // Behind the place there may be a path in which something is hidden.
    let port = match scheme(target) {
        Some((word, _)) if default_port == 0 && word == "https" => 443,
        Some((word, _)) if default_port == 0 && word == "http" => 80,
        _ => default_port,
    };
    let place = match scheme(target) {
        Some((word, rest)) if !word.starts_with("unix") => {
            let end = rest.find(|c: char| "/?#".contains(c) || c.is_whitespace()).unwrap_or(rest.len());
            format!("{word}://{}", &rest[..end])
        }
        _ => target.to_owned(),
    };
    let receiver = match Receiver::parse(&place, SCHEMES, port) {
        Ok(receiver) => receiver,
        Err(wrong) => return Way::Wrong(wrong.message),
    };
    let (host, port, encrypted) = match receiver {
        Receiver::Net { scheme, host, port } if scheme == "udp" => return Way::Udp(host, port),
        Receiver::Unix { datagrams: true, path } => return Way::Datagrams(path),
        Receiver::Unix { datagrams: false, path } => return Way::Stream(Place::Unix(path)),
        Receiver::Net { scheme, host, port } => (host, port, scheme == "tls"),
        Receiver::Http { tls, host, port, .. } => (host, port, tls),
    };
    match encrypted.then(|| tls.connector(&[])).transpose() {
        Ok(tls) => Way::Stream(Place::Tcp { host, port, tls }),
        Err(why) => Way::Wrong(why),
    }
}

impl Probe {
    /// Whether another way of writing a target means the same place, however it is encrypted there.
    pub(crate) fn is(&self, target: &str) -> bool {
        let other = way(target, 0, ClientTls::default());
        self.target == target
            || match (&self.way, &other) {
                (
                    Way::Stream(Place::Tcp { host, port, tls }),
                    Way::Stream(Place::Tcp { host: other_host, port: other_port, tls: other_tls }),
                ) => (host, port, tls.is_some()) == (other_host, other_port, other_tls.is_some()),
                (Way::Wrong(_), _) => false,
                (way, other) => way == other,
            }
    }

    /// Tries it, this long at most: what is well, or what is wrong.
    pub(crate) fn run(self, limit: Duration) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send>> {
        Box::pin(async move {
            let late = || format!("no connection within {} s", limit.as_secs());
            match self.way {
                Way::Here => Ok("nobody else has to be there".to_owned()),
                Way::Wrong(why) => Err(why),
                Way::File(path) => writable(&path).map(|()| "can be written".to_owned()),
                Way::Udp(host, port) => {
                    let mut resolver = Resolver::new(&host, port);
                    let asked = timeout(limit, resolver.refresh(true)).await;
                    match (resolver.addresses().first(), asked) {
                        (Some(address), _) if address.ip().to_string() == host => {
                            Ok("over UDP nobody says whether anything arrives".to_owned())
                        }
                        (Some(address), _) => {
                            Ok(format!("{host} is {}; over UDP nobody says whether anything arrives", address.ip()))
                        }
                        (None, Err(_)) => Err(format!("{host}: the resolver does not answer")),
                        (None, Ok(())) => {
                            Err(resolver.take_trouble().unwrap_or_else(|| format!("{host}: there is no address")))
                        }
                    }
                }
                Way::Datagrams(path) => match UnixDatagram::unbound().and_then(|s| s.connect(&path)) {
                    Ok(()) => Ok("a socket is there".to_owned()),
                    Err(e) => Err(format!("{}: {e}", path.display())),
                },
                Way::Stream(place) => {
                    let words = match &place {
                        Place::Tcp { tls: Some(_), .. } => "connects, and the certificate is good",
                        _ => "connects",
                    };
                    match timeout(limit, reach(place, limit)).await {
                        Ok(Ok(())) => Ok(words.to_owned()),
                        Ok(Err(e)) => Err(e.to_string()),
                        Err(_) => Err(late()),
                    }
                }
            }
        })
    }
}

/// Whether this user could append to a file, which need not exist yet.
fn writable(path: &Path) -> Result<(), String> {
    if path.exists() {
        return match access(path, AccessFlags::W_OK) {
            Ok(()) if path.is_dir() => Err(format!("{} is a directory: name the file in it", path.display())),
            Ok(()) => Ok(()),
            Err(e) => Err(format!("{} cannot be written: {e}", path.display())),
        };
    }
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    access(directory, AccessFlags::W_OK | AccessFlags::X_OK)
        .map_err(|e| format!("no file can be made in {}: {e}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::net::TcpListener;

    fn of(target: &str) -> Way {
        way(target, 0, ClientTls::default())
    }

    #[test]
    fn targets_as_sinks_name_them() {
        assert_eq!(of("udp://graylog:12201"), Way::Udp("graylog".into(), 12201));
        assert_eq!(of("unixgram:/dev/log"), Way::Datagrams("/dev/log".into()));
        let plain = |host: &str, port| Way::Stream(Place::Tcp { host: host.into(), port, tls: None });
        assert_eq!(of("http://logs.example/inputs/(hidden)/tag/x y"), plain("logs.example", 80));
        assert_eq!(of("tcp://[::1]:601 (framed)"), plain("::1", 601));
        assert!(matches!(of("https://logs.example/x"), Way::Stream(Place::Tcp { port: 443, tls: Some(_), .. })));
        assert!(matches!(of("tls://logs.example:6514"), Way::Stream(Place::Tcp { tls: Some(_), .. })));
        assert!(matches!(of("carrier-pigeon://x:1"), Way::Wrong(_)));
    }

    #[test]
    fn every_section_that_sends_is_found() {
        let values = json!({
            "metrics": {"sinks": [{"statsd": {"to": "udp://s"}}, {"prometheus": {}}, {"otlp": {"endpoint": "http://c"}}]},
            "traces": {"otlp": {"endpoint": "https://c:9/v1/traces", "tls": {"ca": "/no/such/file"}}},
        });
        let settings = crate::config::parse("f", "logs: [stdout, graylog: {to: 'udp://g:5'}]", &[]).unwrap();
        let all = probes(&settings.plan.logs, &values);
        let named: Vec<_> = all.iter().map(|p| (p.sink.as_str(), p.target.as_str())).collect();
        assert_eq!(named[1..3], [("graylog", "udp://g:5"), ("statsd", "udp://s")]);
        assert_eq!((named.len(), &all[0].way), (5, &Way::Here));
        assert!(all[2].is("udp://s:8125") && !all[2].is("udp://s:1"));
        assert!(all[3].is("http://c:4318/v1/metrics") && !all[3].is("https://c:4318/v1/metrics"));
        assert!(matches!(&all[4].way, Way::Wrong(why) if why.contains("/no/such/file")), "{:?}", all[4]);
    }

    #[tokio::test]
    async fn what_is_there_and_what_is_not() {
        let limit = Duration::from_secs(10);
        let run = |target: String| Probe { sink: "x".into(), way: of(&target), target }.run(limit);
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = open.local_addr().unwrap();
        assert_eq!(run(format!("tcp://{at}")).await.unwrap(), "connects");
        drop(open);
        assert!(run(format!("tcp://{at}")).await.unwrap_err().contains("refused"));
        assert!(run("unix:/no/such/socket".into()).await.is_err());
        assert!(run("unixgram:/no/such/socket".into()).await.is_err());
        assert!(run("udp://127.0.0.1:9".into()).await.is_ok());
        assert!(run("udp://nobody.invalid:9".into()).await.unwrap_err().contains("nobody.invalid"));
        let folder = tempfile::tempdir().unwrap();
        assert!(writable(&folder.path().join("new.log")).is_ok());
        assert!(writable(folder.path()).is_err());
        assert!(writable(Path::new("/no/such/directory/x.log")).is_err());
    }
}
