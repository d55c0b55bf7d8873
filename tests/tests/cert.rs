//! `fourmi cert` from outside: what openssl says of its certificates, and what a script sees.

use fourmi_tests::Ended;
use fourmi_tests::sidecar::{binary, run_fourmi_in};
use fourmi_tests::until;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

#[track_caller]
fn fourmi(folder: &Path, line: &str) -> Ended {
    run_fourmi_in(folder, &line.split(' ').collect::<Vec<_>>())
}

/// What a good command printed.
#[track_caller]
fn good(folder: &Path, line: &str) -> String {
    let ended = fourmi(folder, line);
    assert_eq!(ended.code, 0, "{line}: {ended:?}");
    ended.stdout
}

/// A refused command: its code and what it said.
#[track_caller]
fn refused(folder: &Path, line: &str, code: i32, said: &str) {
    let ended = fourmi(folder, line);
    assert!(ended.code == code && ended.stderr.contains(said) && ended.stdout.is_empty(), "{line}: {ended:?}");
}

/// openssl in the folder: what it printed, and whether it was content.
fn openssl(folder: &Path, line: &str) -> (bool, String) {
    let output = Command::new("openssl").args(line.split(' ')).current_dir(folder).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[track_caller]
fn openssl_says(folder: &Path, line: &str, expected: &[&str]) -> String {
    let (content, said) = openssl(folder, line);
    assert!(content, "{line}: {said}");
    for part in expected {
        assert!(said.contains(part), "{line}: no {part:?} in {said}");
    }
    said
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn openssl_believes_what_was_issued() {
    let folder = TempDir::with_prefix("cert-").unwrap();
    let at = folder.path();
    assert_eq!(good(at, "cert init"), "./fourmi-ca/ca.pem\n./fourmi-ca/ca.key\n");
    openssl_says(
        at,
        "x509 -in fourmi-ca/ca.pem -noout -text",
        &["CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "URI:spiffe://fourmi.local", "ASN1 OID: prime256v1"],
    );
    let line = "cert issue payment --out tls --dns localhost --dns *.pay.example --ip 127.0.0.1 --ip ::1";
    assert_eq!(good(at, line), "tls/payment.pem\ntls/payment.key\n");
    openssl_says(at, "verify -x509_strict -CAfile fourmi-ca/ca.pem tls/payment.pem", &["tls/payment.pem: OK"]);
    let text = openssl_says(
        at,
        "x509 -in tls/payment.pem -noout -text",
        &[
            "Subject: CN = payment",
            "TLS Web Server Authentication, TLS Web Client Authentication",
            "X509v3 Key Usage: critical\n                Digital Signature\n",
            "CA:FALSE",
            "X509v3 Authority Key Identifier",
            "URI:spiffe://fourmi.local/payment, DNS:payment, DNS:payment.service.fourmi, DNS:localhost, DNS:*.pay.example, \
         IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1",
        ],
    );
    assert_eq!(text.matches("URI:").count(), 1, "{text}");
    for purpose in ["sslserver", "sslclient"] {
        openssl_says(at, &format!("verify -purpose {purpose} -CAfile fourmi-ca/ca.pem tls/payment.pem"), &["OK"]);
    }
    openssl_says(at, "x509 -in tls/payment.pem -noout -checkhost shop.pay.example", &["does match"]);
    let one_side = |option: &str, usage: &str, other: &str| {
        good(at, &format!("cert issue {usage} --out tls {option}"));
        openssl_says(at, &format!("verify -purpose {usage} -CAfile fourmi-ca/ca.pem tls/{usage}.pem"), &["OK"]);
        assert!(!openssl(at, &format!("verify -purpose {other} -CAfile fourmi-ca/ca.pem tls/{usage}.pem")).0);
    };
    one_side("--client-only", "sslclient", "sslserver");
    one_side("--server-only", "sslserver", "sslclient");

    // Whoever trusts another authority of the same domain does not believe it; whoever trusts both does.
    good(at, "cert init --dir other");
    assert!(!openssl(at, "verify -CAfile other/ca.pem tls/payment.pem").0);
    let both = ["other/ca.pem", "fourmi-ca/ca.pem"].map(|f| std::fs::read_to_string(at.join(f)).unwrap()).concat();
    std::fs::write(at.join("both.pem"), both).unwrap();
    openssl_says(at, "verify -CAfile both.pem tls/payment.pem", &["OK"]);
    // It ends with its authority, whatever was asked for.
    good(at, "cert init --dir short --days 2");
    let ended = fourmi(at, "cert issue brief --dir short --days 30");
    assert!(ended.code == 0 && ended.stderr.contains("warning: it ends with its authority"), "{ended:?}");
    let end = |file: &str| openssl_says(at, &format!("x509 -in {file} -noout -enddate"), &["notAfter="]);
    assert_eq!(end("brief.pem"), end("short/ca.pem"));
}

#[test]
fn keys_are_for_their_owner_and_certificates_for_everybody() {
    // Nothing changes a new key's mode after it was created, so what an open umask leaves is what it was from the
    // first moment.
    for umask in ["000", "022", "077"] {
        let folder = TempDir::with_prefix("cert-").unwrap();
        let script = "umask $1; \"$2\" -q cert init && \"$2\" -q cert issue stock && \"$2\" -q cert issue stock";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", umask]).arg(binary()).current_dir(folder.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        for (file, expected) in
            [("fourmi-ca/ca.key", 0o600), ("fourmi-ca/ca.pem", 0o644), ("stock.key", 0o600), ("stock.pem", 0o644)]
        {
            assert_eq!(mode(&folder.path().join(file)), expected, "{file} under {umask}");
        }
    }
}

#[test]
fn what_is_there_is_kept_or_renewed_as_a_whole() {
    let folder = TempDir::with_prefix("cert-").unwrap();
    let at = folder.path();
    good(at, "cert init");
    let ca = || ["fourmi-ca/ca.pem", "fourmi-ca/ca.key"].map(|f| std::fs::read(at.join(f)).unwrap());
    let before = ca();
    refused(at, "cert init", 73, "ca.pem is there already\nhint: ");
    assert_eq!(before, ca());

    // Somebody looks all the time, and never sees half a file.
    good(at, "cert issue stock");
    let serial = || openssl_says(at, "x509 -in stock.pem -noout -serial", &["serial="]);
    let (first, stop) = (serial(), AtomicBool::new(false));
    let looked = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut looks = 0u32;
            while !stop.load(Ordering::Relaxed) || looks == 0 {
                until("key and certificate belong together", || pair_matches(at));
                looks += 1;
            }
            looks
        });
        for _ in 0..30 {
            let ended = fourmi(at, "cert issue stock");
            assert!(
                ended.code == 0 && ended.stderr.contains("renewed: spiffe://fourmi.local/stock, until "),
                "{ended:?}"
            );
        }
        stop.store(true, Ordering::Relaxed);
        looking.join().unwrap()
    });
    assert!(looked > 0 && serial() != first);
    assert!(pair_matches(at));
    openssl_says(at, "verify -CAfile fourmi-ca/ca.pem stock.pem", &["OK"]);
    let left: Vec<_> = std::fs::read_dir(at).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "nothing lies around: {left:?}");
}

/// Whether both files are whole, and belong together as rustls sees it.
fn pair_matches(at: &Path) -> bool {
    let certificate = CertificateDer::from_pem_file(at.join("stock.pem")).expect("a whole certificate");
    let key = PrivateKeyDer::from_pem_file(at.join("stock.key")).expect("a whole key");
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
    rustls::sign::CertifiedKey::new(vec![certificate], key).keys_match().is_ok()
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    let folder = TempDir::with_prefix("cert-").unwrap();
    let at = folder.path();
    refused(at, "cert issue stock", 66, "`fourmi cert init --dir ./fourmi-ca` makes an authority");
    refused(at, "cert init --trust-domain Fourmi.Local", 2, "write `fourmi.local`, in small letters");
    refused(at, "cert init --days 0", 2, "--days");
    refused(at, "cert init --trust-domain Foo/Bar", 2, "such as `foo-bar`");
    assert!(!at.join("fourmi-ca").exists());
    good(at, "cert init");
    for (line, said) in [
        ("cert issue ns/stock", "`/` cannot stand in it"),
        ("cert issue ..", "it must also be a host name"),
        ("cert issue ca --out fourmi-ca", "the authority's own files"),
        ("cert issue 10.0.0.7", "give the service's name, and this with --ip"),
        ("cert issue stock --dns 10.0.0.7", "give it with --ip"),
        ("cert issue stock --dns *.com", "such as `stock.example.com`"),
        ("cert issue stock --ip nowhere", "--ip"),
        ("cert issue stock --client-only --server-only", "cannot be used with"),
    ] {
        refused(at, line, 2, said);
    }
    // An authority whose time is over, a broken one, and one whose key is another's.
    std::fs::create_dir(at.join("foreign")).unwrap();
    let line = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=other -addext \
                subjectAltName=URI:spiffe://other.example -keyout ca.key -out ca.pem -days 9";
    openssl_says(&at.join("foreign"), line, &[]);
    assert_eq!(good(at, "cert issue guest --dir foreign --out guests"), "guests/guest.pem\nguests/guest.key\n");
    old_authority(&at.join("old"));
    refused(at, "cert issue stock --dir old", 1, "has expired, on 2001-01-01T00:00:00Z\nhint: ");
    std::fs::copy(at.join("foreign/ca.key"), at.join("old/ca.key")).unwrap();
    refused(at, "cert issue stock --dir old", 1, "is not the key of the certificate in old/ca.pem");
    let pem = std::fs::read_to_string(at.join("fourmi-ca/ca.pem")).unwrap();
    std::fs::write(at.join("fourmi-ca/ca.pem"), &pem[..pem.len() / 2]).unwrap();
    refused(at, "cert issue stock", 1, "fourmi-ca/ca.pem is not PEM");
    assert!(!at.join("stock.pem").exists() && !at.join("stock.key").exists());
    std::fs::remove_file(at.join("foreign/ca.key")).unwrap();
    refused(at, "cert issue guest --dir foreign", 66, "hint: the key signs and may be kept elsewhere");
}

#[test]
fn a_line_of_cron_renews_the_same_certificate() {
    let folder = TempDir::with_prefix("cert-").unwrap();
    let at = folder.path();
    good(at, "cert init");
    let first = "cert issue payment --out tls --dns localhost --ip 127.0.0.1 --server-only --days 20";
    let ended = fourmi(at, first);
    assert!(ended.code == 0 && ended.stderr.contains("made the folder tls\n"), "{ended:?}");
    let shown = || {
        let shown: Value = serde_json::from_str(&good(at, "cert show tls/payment.pem --json")).unwrap();
        ["identity", "dns", "ip", "server", "client"].map(|key| shown[0][key].clone())
    };
    let before = shown();
    let quiet = fourmi(at, "-q cert issue payment --out tls");
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""));
    assert_eq!(shown(), before);
    let ended = fourmi(at, "cert issue payment --out tls");
    assert!(ended.stderr.contains("kept: localhost, 127.0.0.1, server only, 20 days\n"), "{ended:?}");
    assert!(!ended.stderr.contains("folder"), "{ended:?}");
    assert_eq!(shown(), before);
    std::fs::write(at.join("tls/payment.pem"), "mine").unwrap();
    refused(at, "cert issue payment --out tls", 1, "tls/payment.pem is there and cannot be renewed");
}

fn old_authority(folder: &Path) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.subject_alt_names = vec![SanType::URI("spiffe://old.example".try_into().unwrap())];
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let key = KeyPair::generate().unwrap();
    std::fs::create_dir(folder).unwrap();
    std::fs::write(folder.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(folder.join("ca.key"), key.serialize_pem()).unwrap();
}

#[test]
fn show_has_one_line_a_certificate_and_json() {
    let folder = TempDir::with_prefix("cert-").unwrap();
    let at = folder.path();
    good(at, "cert init --trust-domain example.org");
    good(at, "cert issue stock --dns localhost --ip 127.0.0.1 --days 20");
    good(at, "cert issue mail --client-only");
    std::fs::copy(at.join("stock.key"), at.join("mail.key")).unwrap();
    assert_eq!(fourmi(at, "cert show stock.pem fourmi-ca/ca.pem").code, 0);
    // A key of somebody else's is one that a script must hear of.
    let shown = fourmi(at, "cert show stock.pem mail.pem fourmi-ca/ca.pem");
    assert_eq!(shown.code, 1, "{shown:?}");
    let shown = shown.stdout;
    let line = |file: &str| -> Vec<String> {
        let lines: Vec<&str> = shown.lines().filter(|l| l.starts_with(file)).collect();
        assert_eq!(lines.len(), 1, "{file} in {shown}");
        lines[0].split_whitespace().map(str::to_owned).collect()
    };
    let stock = line("stock.pem");
    assert!(stock[1] == "ok" && ["19d", "20d"].contains(&stock[2].as_str()), "{shown}");
    assert_eq!(
        stock[4..],
        [
            "matches",
            "server+client",
            "spiffe://example.org/stock",
            "stock,stock.service.fourmi,localhost,127.0.0.1",
            "CN=stock"
        ]
    );
    assert_eq!(line("mail.pem")[4..6], ["mismatch", "client"]);
    assert_eq!(line("fourmi-ca/ca.pem")[4..7], ["matches", "authority", "spiffe://example.org"]);
    assert!(!shown.contains('\u{1b}'));

    let json: Value = serde_json::from_str(&fourmi(at, "cert show stock.pem mail.pem --json").stdout).unwrap();
    let serial = openssl_says(at, "x509 -in stock.pem -noout -serial", &[]);
    assert_eq!(serial.trim(), format!("serial={}", json[0]["serial"].as_str().unwrap().to_ascii_uppercase()));
    assert_eq!(json[0]["identity"], "spiffe://example.org/stock");
    assert_eq!(json[0]["dns"], serde_json::json!(["stock", "stock.service.fourmi", "localhost"]));
    assert_eq!((&json[0]["state"], &json[0]["key"]["matches"]), (&"ok".into(), &true.into()));
    assert_eq!((&json[1]["server"], &json[1]["key"]["matches"]), (&false.into(), &false.into()));
    let issued: Value = serde_json::from_str(&good(at, "cert issue stock -o json")).unwrap();
    assert_eq!((&issued["renewed"], &issued["identity"]), (&true.into(), &"spiffe://example.org/stock".into()));

    assert_eq!((&issued["kept"]["dns"][0], &issued["kept"]["days"]), (&"localhost".into(), &20.into()));
    // Over is over, and authorities that are trusted together have one key at most.
    old_authority(&at.join("old"));
    let over = fourmi(at, "cert show old/ca.pem");
    assert!(over.code == 1 && over.stdout.contains("expired"), "{over:?}");
    good(at, "cert init --dir new");
    let both = ["fourmi-ca/ca.pem", "new/ca.pem"].map(|f| std::fs::read_to_string(at.join(f)).unwrap()).concat();
    std::fs::write(at.join("new/ca.pem"), both).unwrap();
    good(at, "cert show new/ca.pem");

    // What can be shown is shown, whatever is wrong with another.
    let ended = fourmi(at, "cert show gone.pem stock.key stock.pem");
    assert!(ended.code == 66 && ended.stdout.contains("\nstock.pem "), "{ended:?}");
    assert!(ended.stderr.contains("can't read gone.pem") && ended.stderr.contains("stock.key has no certificate"));
}
