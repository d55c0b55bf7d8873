//! Sections `tls:`: whether they are where they belong, and whether their files can be used.

use super::misfit;
use crate::config::plan::GatewayPlan;
use crate::config::problem::Problems;
use crate::config::read;
use crate::config::tree::{Entry, Node, Value};
use crate::config::value;
use crate::section::Wrong;
use crate::tls::Titled;

pub(super) fn check(root: &Node, gateway: Option<&GatewayPlan>, problems: &mut Problems) {
    // What a gateway with mistakes would have shown nobody knows.
    let gateway = match (gateway, root.get("gateway")) {
        (Some(gateway), _) => Beside::Shows(&gateway.titled),
        (None, Some(_)) => Beside::Unknown,
        (None, None) => Beside::Shows(&[]),
    };
    for (section, beside) in [("inbound", gateway), ("outbound", Beside::Never)] {
        for (i, node) in root.get(section).map(Node::items).unwrap_or_default().iter().enumerate() {
            listener(node, &format!("{section}[{i}]"), beside, problems);
        }
    }
    if let Some(worker) = root.get("worker") {
        connections(worker, "worker", problems);
    }
    for (i, outbound) in root.get("outbound").map(Node::items).unwrap_or_default().iter().enumerate() {
        for service in outbound.get("services").map(Node::entries).unwrap_or_default() {
            connections(&service.value, &format!("outbound[{i}].services.{}", service.key), problems);
        }
    }
}

/// The section, if there is something in it that was not reported before.
fn written<'a>(node: &'a Node, at: &str, problems: &Problems) -> Option<&'a Entry> {
    let entry = node.entry("tls").filter(|e| !matches!(e.value.value, Value::Bad | Value::Null))?;
    (!problems.mentions(&format!("{at}.tls"))).then_some(entry)
}

/// What a listener shows beside its own certificates.
#[derive(Clone, Copy)]
enum Beside<'a> {
    /// A gateway's, if there are some.
    Shows(&'a [Titled]),
    Unknown,
    Never,
}

impl Beside<'_> {
    /// What to do without a certificate.
    fn fix(self) -> &'static str {
        match self {
            Beside::Never => "add `tls: {certificate: c.pem, key: k.pem}`",
            _ => {
                "add `tls: {certificate: c.pem, key: k.pem}`, or `certificates` with `snis` to the file that `gateway` \
                 names"
            }
        }
    }
}

fn listener(node: &Node, at: &str, beside: Beside<'_>, problems: &mut Problems) {
    let Some((text, span)) = node.get("listen").and_then(|n| Some((n.text()?, n.span))) else { return };
    let https = value::is_https(text);
    let has = node.entry("tls").is_some_and(|e| e.value.value != Value::Null);
    let needs = matches!(beside, Beside::Shows([]) | Beside::Never);
    if https && needs && !has {
        let path = format!("{at}.tls");
        let message = format!("`{at}.listen` is https and needs a certificate");
        problems.error(span, "missing-key", &path, message, beside.fix());
        return;
    }
    let Some(entry) = written(node, at, problems) else { return };
    if !https {
        let path = format!("{at}.tls");
        let message = format!("`{path}` has no use: `{at}.listen` is not https");
        return problems.error(entry.key_span, "conflict", &path, message, "write https:// there, or remove `tls`");
    }
    let tls = match read::server_tls(node) {
        Ok(tls) => tls,
        Err(wrong) => return misfit(entry, at, wrong, problems),
    };
    if tls.pairs.is_empty() && needs {
        return misfit(entry, at, Wrong::new("a listener needs a certificate", beside.fix()), problems);
    }
    for (pair, trouble) in tls.troubles() {
        match pair.filter(|_| tls.listed) {
            Some(i) => of_pair(entry, at, i, trouble.into(), problems),
            None => misfit(entry, at, trouble.into(), problems),
        }
    }
}

/// What is wrong with one of `certificates`, at its own place.
fn of_pair(entry: &Entry, at: &str, i: usize, wrong: Wrong, problems: &mut Problems) {
    let item = entry.value.get("certificates").and_then(|list| list.items().get(i));
    let place = item.and_then(|n| n.get(wrong.key?).or(Some(n))).map_or(entry.key_span, |n| n.span);
    let path = format!("{at}.tls.certificates[{i}].{}", wrong.key.unwrap_or_default());
    problems.error(place, wrong.code, &path, format!("`{path}`: {}", wrong.message), wrong.fix);
}

fn connections(node: &Node, at: &str, problems: &mut Problems) {
    let Some(entry) = written(node, at, problems) else { return };
    let addresses = node.get("address").map(Node::items).unwrap_or_default();
    let mut targets = addresses.iter().filter_map(|n| value::target(n.get("url")?.text()?).ok()).peekable();
    if targets.peek().is_some() && !targets.any(|t| t.scheme.is_secure()) {
        let path = format!("{at}.tls");
        let message = format!("`{path}` has no use: no address of `{at}` is https or h2");
        return problems.error(entry.key_span, "conflict", &path, message, "write https:// there, or remove `tls`");
    }
    match read::client_tls(node) {
        Ok(tls) => tls.troubles().into_iter().for_each(|t| misfit(entry, at, t.into(), problems)),
        Err(wrong) => misfit(entry, at, wrong, problems),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Report, parse};
    use crate::tls::testing::Papers;

    /// The text with `DIR` as the folder of the papers.
    fn read(papers: &Papers, text: &str) -> Result<crate::config::Loaded, Report> {
        let folder = papers.folder.path().display().to_string();
        parse("fourmi.yaml", &text.replace("DIR", &folder), &[])
    }

    #[test]
    fn listeners_and_services() {
        let papers = Papers::new();
        papers.pair("a", &["a.test"]);
        papers.pair("b", &["b.test"]);
        let plan = read(
            &papers,
            "worker: {address: ['https://w:1', 'h2://w'], tls: {ca: DIR/ca.pem, server_name: w.test}}\n\
             inbound:\n- {listen: 'https://127.0.0.1:2', tls: {certificate: DIR/a.pem, key: DIR/a.key, \
             client_ca: DIR/ca.pem}}\n\
             - {listen: 'https://127.0.0.1:3', tls: {min_version: \"1.3\", certificates: [{certificate: DIR/a.pem, \
             key: DIR/a.key}, {certificate: DIR/b.pem, key: DIR/b.key}]}}\n- {listen: 'http://127.0.0.1:4'}\n\
             outbound: [{listen: 'http://127.0.0.1:5', services: {s: {address: 'https://s'}}}]\n",
        );
        let plan = plan.unwrap_or_else(|report| panic!("{report}")).plan;
        let tls: Vec<_> =
            plan.listeners.iter().map(|l| l.tls.as_ref().map(|t| (t.pairs.len(), t.client_ca.is_some()))).collect();
        assert_eq!(tls, [Some((1, true)), Some((2, false)), None, None]);
        let urls: Vec<String> = plan.listeners.iter().map(|l| l.url()).collect();
        assert_eq!(urls[1..3], ["https://127.0.0.1:3", "http://127.0.0.1:4"]);
        let worker = plan.worker.as_ref().unwrap();
        assert_eq!(
            worker.addresses.iter().map(|a| a.target.to_string()).collect::<Vec<_>>(),
            ["https://w:1", "h2://w:443"]
        );
        assert_eq!(worker.tls.server_name.as_deref(), Some("w.test"));
        assert_eq!(plan.outbound[0].tls, crate::tls::ClientTls::default());
    }

    #[test]
    fn a_gateway_s_certificates_are_enough_for_inbound_listeners() {
        let papers = Papers::new();
        papers.pair("a", &["a.test"]);
        let text = |name: &str| serde_json::json!(std::fs::read_to_string(papers.path(name)).unwrap());
        let gateway = |snis: &str| {
            format!(
                "gateway: {{services: [{{name: s, url: 'http://s'}}], certificates: [{{cert: {}, key: {}, snis: \
                 [{snis}]}}]}}\n",
                text("a.pem"),
                text("a.key")
            )
        };
        let listeners = "inbound: [{listen: 'https://127.0.0.1:2'}, {listen: 'https://127.0.0.1:3', tls: {min_version: \
                         \"1.3\", client_ca: DIR/ca.pem}}, {listen: 'https://127.0.0.1:4', tls: {certificate: DIR/a.pem, \
                         key: DIR/a.key}}, {listen: 'http://127.0.0.1:5'}]\nworker: http://w\n";
        let plan = read(&papers, &(gateway("shop.test") + listeners)).unwrap_or_else(|report| panic!("{report}")).plan;
        let tls: Vec<_> =
            plan.listeners.iter().map(|l| l.tls.as_ref().map(|t| (t.pairs.len(), t.titled.len()))).collect();
        assert_eq!(tls, [Some((0, 1)), Some((0, 1)), Some((1, 1)), None]);
        plan.listeners[0].tls.as_ref().unwrap().acceptor().unwrap();
        assert!(!format!("{plan:?}").contains("PRIVATE"));

        // No names, no gateway, and where nothing comes in to it.
        let outbound = "outbound: [{listen: 'https://127.0.0.1:2'}]\n";
        let of_gateway = "`certificates` with `snis`";
        for (text, places, told) in [
            (gateway("") + listeners, &["inbound[0].tls", "inbound[1].tls"][..], true),
            (listeners.to_owned(), &["inbound[0].tls", "inbound[1].tls"], true),
            (gateway("shop.test") + outbound + "worker: http://w", &["outbound[0].tls"], false),
        ] {
            let report = read(&papers, &text).err().unwrap_or_else(|| panic!("accepted: {text}"));
            let found: Vec<_> = report.problems.iter().map(|p| p.key.as_str()).collect();
            assert_eq!(found, places, "{report}");
            for problem in &report.problems {
                assert_eq!(problem.fix.contains(of_gateway), told, "{report}");
                assert!(problem.fix.contains("certificate: c.pem"), "{report}");
            }
        }
        // Of a gateway with mistakes those are told alone.
        let report = read(&papers, &("gateway: {services: [{port: x}]}\n".to_owned() + listeners)).expect_err("a port");
        assert!(report.problems.iter().all(|p| p.key.starts_with("services")), "{report}");
    }

    #[test]
    fn what_does_not_fit_has_its_place() {
        let papers = Papers::new();
        papers.pair("a", &["a.test"]);
        papers.pair("b", &["b.test"]);
        papers.write("bad.pem", "-----BEGIN");
        for (tls, place, code, words) in [
            ("", "3:11", "missing-key", "is https and needs a certificate"),
            ("  tls: {}", "4:3", "bad-value", "a listener needs a certificate"),
            ("  tls: {certificate: DIR/a.pem}", "4:", "bad-value", "`certificate` needs `key`"),
            ("  tls:\n    certificate: DIR/a.pem\n    key: DIR/none", "6:10", "bad-value", "none cannot be read"),
            ("  tls:\n    key: DIR/a.key\n    certificate: DIR/bad.pem", "6:18", "bad-value", "bad.pem"),
            (
                "  tls:\n    certificate: DIR/a.pem\n    key: DIR/b.key",
                "6:10",
                "bad-value",
                "b.key is not the key of the",
            ),
            (
                "  tls:\n    certificates:\n    - {certificate: DIR/a.pem, key: DIR/b.key}\n    - {certificate: DIR/b.pem, \
                 key: DIR/b.key}",
                "6:",
                "bad-value",
                "b.key is not the key of the",
            ),
            (
                "  tls:\n    certificate: DIR/a.pem\n    key: DIR/a.key\n    client_ca: DIR/a.key",
                "7:16",
                "bad-value",
                "a.key",
            ),
            (
                "  tls:\n    certificate: DIR/a.pem\n    key: DIR/a.key\n    client_auth: optional",
                "7:",
                "bad-value",
                "client_ca",
            ),
            // Keys of the other side.
            (
                "  tls:\n    certificate: DIR/a.pem\n    key: DIR/a.key\n    verify: false",
                "7:5",
                "misplaced-key",
                "verify",
            ),
            (
                "  tls:\n    certificate: DIR/a.pem\n    key: DIR/a.key\n    ca: DIR/ca.pem",
                "7:5",
                "misplaced-key",
                "client_ca",
            ),
        ] {
            let text = format!("worker: http://w\ninbound:\n- listen: https://127.0.0.1:2\n{tls}\n");
            let report = read(&papers, &text).err().unwrap_or_else(|| panic!("accepted: {text}"));
            let problem = &report.problems[0];
            let at = format!("{}:{}", problem.line, problem.column);
            assert!(report.problems.len() == 1 && at.starts_with(place) && problem.code == code, "{text}{report}");
            assert!(format!("{} {}", problem.message, problem.fix).contains(words), "{text}{report}");
        }
        for (text, code, words) in [
            ("worker: {address: http://w, tls: {ca: DIR/ca.pem}}", "conflict", "no address of `worker` is https"),
            ("worker: {address: https://w, tls: {ca: DIR/none}}", "bad-value", "worker.tls.ca"),
            ("worker: {address: https://w, tls: {client_ca: DIR/ca.pem}}", "misplaced-key", "`ca`"),
            ("worker: {address: https://w, tls: {server_name: 'a b'}}", "bad-value", "neither a host name nor"),
            ("worker: http://w\ninbound: [{listen: http://127.0.0.1:2, tls: {}}]", "conflict", "is not https"),
            ("worker: http://w\ninbound: [{listen: h2://127.0.0.1:2}]", "bad-value", "https://"),
        ] {
            let report = read(&papers, text).err().unwrap_or_else(|| panic!("accepted: {text}"));
            let problem = &report.problems[0];
            assert_eq!((report.problems.len(), problem.code), (1, code), "{report}");
            assert!(format!("{} {}", problem.message, problem.fix).contains(words), "{report}");
        }
    }

    #[test]
    fn all_files_are_told_at_their_places() {
        let papers = Papers::new();
        papers.pair("a", &["a.test"]);
        let text = "worker:\n  address: https://w\n  tls:\n    ca: DIR/no-ca\n    certificate: DIR/no-pem\n    \
                    key: DIR/no-key\ninbound:\n- listen: https://127.0.0.1:2\n  tls:\n    certificates:\n    \
                    - {certificate: DIR/a.pem, key: DIR/a.key}\n    - certificate: DIR/b.pem\n      key: DIR/b.key\n    \
                    - certificate: DIR/a.pem\n      key: DIR/c.key\n    client_ca: DIR/d.pem\n\
                    dns:\n  nameservers:\n  - 10.0.0.1\n  - one.example\n  - two.example\n  search: a..b\n";
        let report = read(&papers, text).expect_err("nothing is there");
        let found: Vec<String> = report.problems.iter().map(|p| format!("{} {}", p.line, p.key)).collect();
        let expected = [
            "4 worker.tls.ca",
            "5 worker.tls.certificate",
            "6 worker.tls.key",
            "12 inbound[0].tls.certificates[1].certificate",
            "13 inbound[0].tls.certificates[1].key",
            "15 inbound[0].tls.certificates[2].key",
            "16 inbound[0].tls.client_ca",
            "20 dns.nameservers[1]",
            "21 dns.nameservers[2]",
            "22 dns.search[0]",
        ];
        assert_eq!(found, expected, "{report}");
    }
}
