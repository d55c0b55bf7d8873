//! rsyslog as a receiver of RFC 5424 over UDP, TCP and TLS.

use super::{Peer, certificates::Certificates, listens_udp, program};
use crate::net::free_port;
use crate::patience::eventually;
use serde_json::Value;
use std::process::Command;
use tempfile::TempDir;

/// A running rsyslogd that writes what it understood as JSON.
pub struct Rsyslog {
    peer: Peer,
    tcp: u16,
    tls: u16,
    certificates: Certificates,
}

/// `{at}`, `{udp}`, `{tcp}`, `{tls}` are filled in.
const CONFIG: &str = r#"
global(workDirectory="{at}" maxMessageSize="1m" parser.escapeControlCharactersOnReceive="off"
       defaultNetstreamDriverCAFile="{at}/ca.pem" defaultNetstreamDriverCertFile="{at}/cert.pem"
       defaultNetstreamDriverKeyFile="{at}/key.pem")
module(load="imudp")
module(load="imtcp")
module(load="mmpstrucdata")
input(type="imudp" address="127.0.0.1" port="{udp}" ruleset="all" name="udp")
input(type="imtcp" address="127.0.0.1" port="{tcp}" ruleset="all" name="tcp")
input(type="imtcp" address="127.0.0.1" port="{tls}" ruleset="all" name="tls"
      streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
template(name="json" type="list" option.jsonf="on") {
  property(outname="pri" name="pri" format="jsonf")
  property(outname="version" name="protocol-version" format="jsonf")
  property(outname="timestamp" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="procid" name="procid" format="jsonf")
  property(outname="msgid" name="msgid" format="jsonf")
  property(outname="sd" name="structured-data" format="jsonf")
  property(outname="data" name="$!rfc5424-sd" format="jsonf")
  property(outname="msg" name="msg" format="jsonf")
  property(outname="input" name="inputname" format="jsonf")
}
ruleset(name="all") {
  action(type="mmpstrucdata" sd_name.lowercase="off")
  action(type="omfile" file="{at}/received" template="json")
}
"#;

impl Rsyslog {
    /// On three free ports.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_on(free_port(), free_port(), free_port())
    }
    /// On these ports, for UDP, TCP and TLS.
    #[track_caller]
    pub fn start_on(udp: u16, tcp: u16, tls: u16) -> Self {
        let (folder, certificates) = (TempDir::with_prefix("rsyslog-").unwrap(), Certificates::new());
        for (name, text) in [
            ("ca.pem", certificates.ca()),
            ("cert.pem", &certificates.good().certificate),
            ("key.pem", &certificates.good().key),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let mut config = CONFIG.replace("{at}", folder.path().to_str().unwrap());
        for (hole, port) in [("{udp}", udp), ("{tcp}", tcp), ("{tls}", tls)] {
            config = config.replace(hole, &port.to_string());
        }
        let file = folder.path().join("rsyslog.conf");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(program("rsyslogd"));
        command.arg("-n").arg("-f").arg(&file).arg("-i").arg(folder.path().join("pid"));
        let mut peer = Peer::start("rsyslog", udp, folder, &mut command);
        peer.starts("listens on UDP", |_| listens_udp(udp));
        Rsyslog { peer: peer.listens(tcp).listens(tls), tcp, tls, certificates }
    }
    /// The port for UDP.
    pub fn udp(&self) -> u16 {
        self.peer.port
    }
    /// The port for TCP; it takes octet counting and lines.
    pub fn tcp(&self) -> u16 {
        self.tcp
    }
    /// The port for TLS; the certificate is [`Rsyslog::certificates`]' good one.
    pub fn tls(&self) -> u16 {
        self.tls
    }
    /// Whom a client must trust.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }
    /// Every message: `pri`, `version`, `timestamp`, `host`, `app`, `procid`, `msgid`, `sd` (as it came), `data` (the
    /// structured data as an object of objects, unescaped), `msg`, `input` (`udp`, `tcp`, `tls`).
    pub fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.peer.folder.path().join("received")).unwrap_or_default();
        let read = |line: &str| {
            let mut record: Value = serde_json::from_str(line).ok()?;
            let data = serde_json::from_str(record["data"].as_str().unwrap_or_default()).unwrap_or(Value::Null);
            record["data"] = data;
            Some(record)
        };
        text.lines().filter_map(read).collect()
    }
    /// Waits for the message whose field has this value.
    #[track_caller]
    pub fn record(&self, field: &str, value: &str) -> Value {
        eventually(&format!("rsyslog has {field} = {value}"), || self.records().into_iter().find(|r| r[field] == value))
    }
    /// What it said itself, of broken connections for example.
    pub fn output(&self) -> String {
        self.peer.output()
    }
}
