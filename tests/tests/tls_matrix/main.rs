//! TLS against the TLS of others, cell by cell: versions, client certificates, names, protocols; as server and as
//! client. `--nocapture` shows the tables.

mod clients;
mod fronts;
mod pki;
mod renewal;
mod servers;
mod sidecars;
mod table;

use clients::{Hello, curl, openssl};
use fourmi_tests::{Fourmi, Setup, Worker, eventually};
use pki::{IDENTITY, Pki};
use serde_json::Value;
use table::Table;

pub(crate) const VERSIONS: [&str; 2] = ["1.2", "1.3"];
/// What a client may show, and whether our authority signed it for now.
pub(crate) const CLIENTS: [(&str, bool); 4] =
    [("none", false), ("good", true), ("stranger", false), ("expired", false)];
/// A name that is asked for, and the subject of the certificate that is due.
pub(crate) const NAMES: [(&str, Option<&str>, &str); 6] = [
    ("exact", Some("exact.test"), "exact.test"),
    ("upper-case", Some("EXACT.TEST"), "exact.test"),
    ("wildcard", Some("a.wild.test"), "*.wild.test"),
    // A wildcard stands for one label.
    ("two-labels", Some("a.b.wild.test"), "localhost"),
    ("unknown", Some("unknown.test"), "localhost"),
    ("no-name", None, "localhost"),
];
/// Whether the certificate that is due is for the name that was asked for.
pub(crate) fn fits(name: &str) -> bool {
    !matches!(name, "two-labels" | "unknown")
}

const PROTOCOLS: [(&str, Option<&str>); 3] = [("h2", Some("h2")), ("http/1.1", Some("http/1.1")), ("no-alpn", None)];

/// Fourmi with three certificates before a worker, telling its records as JSON.
#[track_caller]
pub(crate) fn listener(worker: &Worker, pki: &Pki, more: &str) -> Fourmi {
    let pairs = ["default", "exact", "wildcard"].map(|name| format!("{{{}}}", pki.yaml(name))).join(", ");
    secured(worker, &format!("certificates: [{pairs}]{more}"))
}

/// Fourmi with a listener of this `tls` section.
#[track_caller]
pub(crate) fn secured(worker: &Worker, tls: &str) -> Fourmi {
    let setup = Setup::alone().logs("[{stdout: {format: json}}]");
    let port = setup.inbound_port();
    setup
        .more(&format!("worker: {{address: {:?}}}", worker.address()))
        .more(&format!("inbound: [{{listen: \"https://127.0.0.1:{port}\", tls: {{{tls}}}}}]"))
        .start()
}

/// The record of the command with this id.
#[track_caller]
pub(crate) fn record(fourmi: &Fourmi, id: &str) -> Value {
    eventually(&format!("the record of {id}"), || {
        let lines = fourmi.stdout();
        let mut records = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.find(|r| r["command_id"] == id)
    })
}

pub(crate) fn client_files(pki: &Pki, client: &str) -> Option<(String, String)> {
    let files = pki.files(&format!("client-{client}"));
    (client != "none").then(|| (files.certificate.display().to_string(), files.key.display().to_string()))
}

/// Who the record says that the caller was.
fn identity(fourmi: &Fourmi, id: &str) -> String {
    record(fourmi, id)["client_identity"].as_str().unwrap_or("-").to_owned()
}

#[test]
fn callers_with_every_version_certificate_name_and_protocol() {
    let (worker, pki) = (Worker::echo(), Pki::new());
    let fourmi = listener(&worker, &pki, &format!(", client_ca: {:?}", pki.ca()));
    let ca = pki.ca();
    let mut table = Table::new("openssl and curl against client_auth: required");
    let mut n = 0;
    for version in VERSIONS {
        for (client, good) in CLIENTS {
            let files = client_files(&pki, client);
            for (name, sni, subject) in NAMES {
                for (protocol, alpn) in PROTOCOLS {
                    n += 1;
                    let shows = files.as_ref().map(|(c, k)| (c.as_str(), k.as_str()));
                    let hello = |id| Hello { port: fourmi.port(), version, sni, alpn, ca: &ca, shows, id };
                    let cell = format!("{version} {client} {name} {protocol}");

                    let id = format!("openssl-{n}");
                    let expected = match good {
                        true => format!("200 {subject} TLSv{version} {} by {IDENTITY}", alpn.unwrap_or("-")),
                        false => "refused".to_owned(),
                    };
                    let (mut came, said) = openssl(hello(&id), &[]);
                    if came != "refused" {
                        came += &format!(" by {}", identity(&fourmi, &id));
                    }
                    table.cell(&format!("openssl {cell}"), &expected, &came, &said);

                    let id = format!("curl-{n}");
                    let expected = match (good, name) {
                        // The client itself says so, when the handshake is over. In 1.3 that is before the server has
                        // judged the client's certificate.
                        (_, name) if !fits(name) && (good || version == "1.3") => "other name".to_owned(),
                        (true, _) => format!(
                            "200 {subject} {} by {IDENTITY}",
                            if alpn == Some("h2") { "h2" } else { "http/1.1" }
                        ),
                        (false, _) => "refused".to_owned(),
                    };
                    let (mut came, said) = curl(hello(&id));
                    if came.starts_with('2') {
                        came += &format!(" by {}", identity(&fourmi, &id));
                    }
                    table.cell(&format!("curl {cell}"), &expected, &came, &said);
                }
            }
        }
    }
    table.end();
}

#[test]
fn other_listeners_let_others_in() {
    let (worker, pki) = (Worker::echo(), Pki::new());
    let ca = pki.ca();
    let mut table = Table::new("openssl against client_auth: optional, no client_ca, min_version: 1.3, no common ALPN");
    let optional = listener(&worker, &pki, &format!(", client_ca: {ca:?}, client_auth: optional"));
    let nobody = listener(&worker, &pki, "");
    let newest = listener(&worker, &pki, ", min_version: \"1.3\"");
    for version in VERSIONS {
        for (client, good) in CLIENTS {
            let files = client_files(&pki, client);
            let shows = files.as_ref().map(|(c, k)| (c.as_str(), k.as_str()));
            for (what, fourmi) in [("optional", &optional), ("no client_ca", &nobody), ("newest", &newest)] {
                let who = match what {
                    "optional" => ["-", IDENTITY][usize::from(good)],
                    _ => "-",
                };
                let refused = match what {
                    "optional" => !good && client != "none",
                    "newest" => version == "1.2",
                    _ => false,
                };
                let expected = match refused {
                    true => "refused".to_owned(),
                    false => format!("200 exact.test TLSv{version} h2 by {who}"),
                };
                let id = format!("{}-{version}-{client}", what.replace(' ', "-"));
                let (sni, alpn) = (Some("exact.test"), Some("h2"));
                let (mut came, said) =
                    openssl(Hello { port: fourmi.port(), version, sni, alpn, ca: &ca, shows, id: &id }, &[]);
                if came != "refused" {
                    came += &format!(" by {}", identity(fourmi, &id));
                }
                table.cell(&format!("openssl {what} {version} {client}"), &expected, &came, &said);
            }
        }
        // RFC 7301, 3.2: nothing in common is a fatal alert.
        let hello =
            Hello { port: nobody.port(), version, sni: None, alpn: Some("spdy/3"), ca: &ca, shows: None, id: "x" };
        let (came, said) = openssl(hello, &[]);
        table.cell(&format!("openssl {version} spdy/3"), "refused", &came, &said);
        let told = said.contains("no application protocol");
        table.cell(&format!("openssl {version} spdy/3 alert"), "true", &told.to_string(), &said);
    }
    table.end();
}

#[test]
fn sessions_are_resumed_and_stay_who_they_are() {
    let (worker, pki) = (Worker::echo(), Pki::new());
    let ca = pki.ca();
    let fourmi = listener(&worker, &pki, &format!(", client_ca: {ca:?}"));
    let (certificate, key) = client_files(&pki, "good").unwrap();
    let mut table = Table::new("openssl -sess_out, -sess_in");
    for version in VERSIONS {
        let session = pki.path(&format!("session-{version}")).display().to_string();
        for (option, word) in [("-sess_out", "New"), ("-sess_in", "Reused")] {
            let id = format!("session-{version}-{word}");
            let (sni, alpn, shows) = (Some("exact.test"), Some("http/1.1"), Some((certificate.as_str(), key.as_str())));
            let (came, said) = openssl(
                Hello { port: fourmi.port(), version, sni, alpn, ca: &ca, shows, id: &id },
                &[option, &session],
            );
            let reused = said.lines().any(|l| l.starts_with(&format!("{word}, TLSv{version}")));
            let came = format!("{} {reused} {}", &came[..3], identity(&fourmi, &id));
            table.cell(&format!("openssl {version} {word}"), &format!("200 true {IDENTITY}"), &came, &said);
        }
    }
    table.end();
}
