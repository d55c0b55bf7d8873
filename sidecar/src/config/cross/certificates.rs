//! Certificates that can be read and yet are not what somebody wants: their time, and what they are for.

use crate::config::problem::Problems;
use crate::config::tree::{Node, Value};
use crate::tls::{Age, Pem, Role, about};
use std::path::{Path, PathBuf};

/// The keys of sections `tls:` that name certificates.
const FILES: [(&str, Role); 3] = [("certificate", Role::Shown), ("ca", Role::Trusted), ("client_ca", Role::Trusted)];

pub(super) fn check(root: &Node, problems: &mut Problems) {
    let mut seen = Seen::default();
    for section in ["inbound", "outbound"] {
        for (i, node) in items(root, section) {
            let at = format!("{section}[{i}]");
            seen.section(node, &at, true, problems);
            for service in node.get("services").map(Node::entries).unwrap_or_default() {
                seen.section(&service.value, &format!("{at}.services.{}", service.key), false, problems);
            }
        }
    }
    if let Some(worker) = root.get("worker") {
        seen.section(worker, "worker", false, problems);
    }
    for (i, node) in items(root, "logs") {
        for sink in node.entries() {
            seen.section(&sink.value, &format!("logs[{i}].{}", sink.key), false, problems);
        }
    }
    for (i, node) in root.get("metrics").map(|m| items(m, "sinks")).into_iter().flatten() {
        for sink in node.entries() {
            seen.section(&sink.value, &format!("metrics.sinks[{i}].{}", sink.key), false, problems);
        }
    }
    for sink in root.get("traces").map(Node::entries).unwrap_or_default() {
        seen.section(&sink.value, &format!("traces.{}", sink.key), false, problems);
    }
}

fn items<'a>(node: &'a Node, key: &str) -> impl Iterator<Item = (usize, &'a Node)> {
    node.get(key).map(Node::items).unwrap_or_default().iter().enumerate()
}

/// One file is often named in several places, and told once.
#[derive(Default)]
struct Seen {
    time: Vec<PathBuf>,
    shown: Vec<PathBuf>,
}

impl Seen {
    /// The section `tls` of a node, unless it has worse faults.
    fn section(&mut self, node: &Node, at: &str, listener: bool, problems: &mut Problems) {
        let Some(tls) = node.get("tls").filter(|t| !matches!(t.value, Value::Bad | Value::Null)) else { return };
        let at = format!("{at}.tls");
        if problems.mentions(&at) {
            return;
        }
        self.files(tls, &at, listener, problems);
        for (i, pair) in items(tls, "certificates") {
            self.files(pair, &format!("{at}.certificates[{i}]"), listener, problems);
        }
    }

    fn files(&mut self, node: &Node, at: &str, listener: bool, problems: &mut Problems) {
        for (key, role) in FILES {
            let Some(value) = node.get(key) else { continue };
            let Some(file) = value.text().map(Path::new) else { continue };
            // What cannot be read is somebody else's to tell.
            let Ok(found) = about(&Pem::File(file.to_owned()), key, role) else { continue };
            let (path, shown) = (format!("{at}.{key}"), file.display());
            let age = found.age();
            if !matches!(age, Age::Good(_)) && !self.time.iter().any(|known| known == file) {
                self.time.push(file.to_owned());
                let fix = match age {
                    Age::Early(_) => "look at this machine's clock, or use another certificate",
                    _ => "renew it; a running Fourmi takes the new file over by itself",
                };
                let message = format!("the certificate in {shown} {age}");
                problems.warning(value.span, "certificate-time", &path, message, fix);
            }
            if let Some(why) = found.no_server.filter(|_| listener && role == Role::Shown)
                && !self.shown.iter().any(|known| known == file)
            {
                self.shown.push(file.to_owned());
                let message = format!("callers will refuse the certificate in {shown}: {why}");
                let fix = "give one that was issued for servers, such as by `fourmi cert issue NAME`";
                problems.warning(value.span, "certificate-use", &path, message, fix);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;
    use crate::tls::testing::Papers;
    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    /// A pair that was changed before it was signed.
    fn pair(papers: &Papers, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        change(&mut params);
        papers.write(&format!("{name}.pem"), &params.signed_by(&key, &papers.issuer).unwrap().pem());
        papers.write(&format!("{name}.key"), &key.serialize_pem());
    }

    #[test]
    fn what_somebody_should_look_at_is_told_once_with_its_place() {
        let papers = Papers::new();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let end = |p: &mut CertificateParams, days: u64| {
            p.not_after = rcgen::date_time_ymd(1970, 1, 1) + now + Duration::from_secs(days * 86_400 + 3600);
        };
        pair(&papers, "good", |p| end(p, 15));
        pair(&papers, "soon", |p| end(p, 3));
        pair(&papers, "over", |p| p.not_after = rcgen::date_time_ymd(2001, 1, 1));
        pair(&papers, "early", |p| p.not_before = rcgen::date_time_ymd(2200, 1, 1));
        pair(&papers, "client", |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
        pair(&papers, "any", |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]);
        pair(&papers, "authority", |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
        let text = "worker: {address: https://w, tls: {certificate: DIR/client.pem, key: DIR/client.key}}\n\
             inbound:\n\
             - listen: https://127.0.0.1:1\n  tls:\n    certificates:\n    \
             - {certificate: DIR/good.pem, key: DIR/good.key}\n    \
             - {certificate: DIR/soon.pem, key: DIR/soon.key}\n    \
             - {certificate: DIR/any.pem, key: DIR/any.key}\n    \
             - {certificate: DIR/client.pem, key: DIR/client.key}\n    \
             - {certificate: DIR/authority.pem, key: DIR/authority.key}\n\
             outbound: [{listen: 'http://127.0.0.1:5', services: {s: {address: 'https://s', tls: {ca: DIR/over.pem}}}}]\n\
             logs:\n- graylog:\n    to: tls://g:1\n    tls: {ca: DIR/early.pem}\n- graylog:\n    \
             to: tls://h:1\n    tls: {ca: DIR/over.pem}\n";
        let folder = papers.folder.path().display().to_string();
        let loaded = parse("fourmi.yaml", &text.replace("DIR", &folder), &[]);
        let warnings = loaded.unwrap_or_else(|report| panic!("{report}")).warnings;
        let mut said: Vec<_> = warnings.iter().map(|w| (w.line, w.code, w.key.as_str(), w.message.as_str())).collect();
        said.sort_unstable();
        let expected = [
            (7, "certificate-time", "inbound[0].tls.certificates[1].certificate", "soon.pem expires in 3 days"),
            (9, "certificate-use", "inbound[0].tls.certificates[3].certificate", "it is not for servers"),
            (10, "certificate-use", "inbound[0].tls.certificates[4].certificate", "it is an authority's own"),
            (11, "certificate-time", "outbound[0].services.s.tls.ca", "over.pem has expired, on 2001-01-01T00:00:00Z"),
            (15, "certificate-time", "logs[0].graylog.tls.ca", "early.pem holds only from 2200-01-01T00:00:00Z"),
        ];
        assert_eq!(said.len(), expected.len(), "{said:#?}");
        for (found, wanted) in said.iter().zip(expected) {
            assert_eq!((found.0, found.1, found.2), (wanted.0, wanted.1, wanted.2));
            assert!(found.3.contains(wanted.3), "{found:?}");
        }
    }
}
