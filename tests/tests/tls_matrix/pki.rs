//! Two authorities and what they signed, as files.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Who the good client is.
pub(crate) const IDENTITY: &str = "spiffe://test.example/client";

/// An authority.
pub(crate) struct Authority(Issuer<'static, KeyPair>);

/// A certificate and its key.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// The files of a test.
pub(crate) struct Pki {
    folder: TempDir,
    ours: Authority,
    theirs: Authority,
}

impl Authority {
    fn new(name: &str, file: &Path) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        std::fs::write(file, params.self_signed(&key).unwrap().pem()).unwrap();
        Authority(Issuer::new(params, key))
    }
}

impl Pki {
    pub(crate) fn new() -> Pki {
        let folder = TempDir::with_prefix("pki-").unwrap();
        // Other users read from here: nginx's workers, for one.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let ours = Authority::new("Ours", &folder.path().join("ca.pem"));
        let theirs = Authority::new("Theirs", &folder.path().join("theirs.pem"));
        let pki = Pki { folder, ours, theirs };
        // What a server shows; the first name is the subject.
        pki.server("default", &["localhost", "127.0.0.1"]);
        pki.server("exact", &["exact.test"]);
        pki.server("wildcard", &["*.wild.test"]);
        pki.server("wrong-name", &["elsewhere.test"]);
        pki.sign("expired", &["localhost", "127.0.0.1"], &pki.ours, over);
        pki.sign("stranger", &["localhost", "127.0.0.1"], &pki.theirs, |_| ());
        // What a client shows.
        pki.sign("client-good", &["client"], &pki.ours, spiffe);
        pki.sign("client-stranger", &["client"], &pki.theirs, spiffe);
        pki.sign("client-expired", &["client"], &pki.ours, |p| {
            spiffe(p);
            over(p);
        });
        pki
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }
    pub(crate) fn ca(&self) -> String {
        self.path("ca.pem").display().to_string()
    }
    pub(crate) fn files(&self, name: &str) -> Files {
        Files { certificate: self.path(&format!("{name}.pem")), key: self.path(&format!("{name}.key")) }
    }
    /// `certificate: …, key: …` for the configuration.
    pub(crate) fn yaml(&self, name: &str) -> String {
        let files = self.files(name);
        format!("certificate: {:?}, key: {:?}", files.certificate, files.key)
    }
    /// Signed by our authority for these names.
    pub(crate) fn server(&self, file: &str, names: &[&str]) -> Files {
        self.sign(file, names, &self.ours, |_| ())
    }
    fn sign(&self, file: &str, names: &[&str], by: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Files {
        let mut params = CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, names[0]);
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let files = self.files(file);
        std::fs::write(&files.certificate, params.signed_by(&key, &by.0).unwrap().pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }
}

fn spiffe(params: &mut CertificateParams) {
    params.subject_alt_names.push(SanType::URI(IDENTITY.try_into().unwrap()));
}

fn over(params: &mut CertificateParams) {
    (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
}
