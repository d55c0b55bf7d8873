use super::parsed::Parsed;
use super::*;
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, SanType};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn authority(folder: &Path) -> Authority {
    let asked = Init { folder: folder.join("ca"), trust_domain: "fourmi.local".into(), days: 10 };
    init(&asked).expect("an authority")
}

fn asked(folder: &Path, name: &str) -> Issue {
    Issue {
        name: name.into(),
        authority: folder.join("ca"),
        out: folder.to_owned(),
        dns: None,
        ips: None,
        days: Some(5),
        usage: None,
    }
}

fn folder() -> TempDir {
    TempDir::with_prefix("cert-").expect("a folder")
}

fn parsed(path: &Path) -> Parsed {
    Parsed::of(&CertificateDer::from_pem_file(path).expect("PEM")).expect("X.509")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

/// An authority that somebody made otherwise.
fn foreign(folder: &Path, change: impl FnOnce(&mut CertificateParams)) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.subject_alt_names = vec![SanType::URI("spiffe://other.example".try_into().expect("ASCII"))];
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let ca = folder.join("ca");
    let _ = fs::create_dir(&ca);
    fs::write(ca.join("ca.pem"), params.self_signed(&key).expect("signed").pem()).expect("written");
    fs::write(ca.join("ca.key"), key.serialize_pem()).expect("written");
}

#[test]
fn names_follow_spiffe_and_dns() {
    for good in ["payment", "a", "stock-2", "eu.stock", "Stock_v2", &"a".repeat(63)] {
        assert_eq!(name::name(good), Ok(good));
    }
    for (bad, why) in [
        ("", "1 to 64"),
        (&*"a".repeat(65), "1 to 64"),
        (&*"a".repeat(64), "at most 63"),
        (".", "host name"),
        ("..", "host name"),
        (".hidden", "host name"),
        ("end.", "host name"),
        ("-x", "host name"),
        ("a..b", "host name"),
        ("ns/stock", "`/` cannot stand in it"),
        ("spiffe://fourmi.local/stock", "`:` cannot stand in it"),
        ("a b", "` ` cannot"),
        ("stück", "\\u{fc}"),
        ("a\u{1b}[31m", "\\u{1b}"),
        ("a\0", "\\u{0}"),
        ("CA", "authority's own files"),
        ("10.0.0.7", "--ip"),
        ("::1", "cannot stand"),
    ] {
        let failure = name::name(bad).expect_err(bad);
        assert!(failure.code == 2 && failure.message.contains(why), "{bad:?}: {failure:?}");
        assert!(!failure.message.contains('\u{1b}'), "{failure:?}");
    }
    for good in ["fourmi.local", "prod", "a_b-c.d9", &"a".repeat(255)] {
        assert_eq!(name::trust_domain(good), Ok(good));
    }
    for (bad, why) in [
        ("", "1 to 255"),
        (&*"a".repeat(256), "1 to 255"),
        ("Fourmi.Local", "write `fourmi.local`"),
        ("spiffe://fourmi.local", "without spiffe://"),
        ("fourmi.local/x", "`/` cannot"),
        ("fourmi.local:1", "`:` cannot"),
        ("Foo Bar", "such as `foo-bar`"),
        ("Ü", "such as `fourmi.local`"),
    ] {
        let failure = name::trust_domain(bad).expect_err(bad);
        assert!(failure.code == 2 && failure.message.contains(why), "{bad:?}: {failure:?}");
    }
    for good in ["localhost", "*.example.com", "a.b"] {
        assert_eq!(name::dns(good), Ok(good));
    }
    for (bad, why) in
        [("127.0.0.1", "--ip"), ("*", "no host"), ("*.com", "no host"), ("a.*.b", "no host"), ("a.", "no host")]
    {
        let failure = name::dns(bad).expect_err(bad);
        assert!(failure.code == 2 && failure.message.contains(why), "{bad:?}: {failure:?}");
    }
}

#[test]
fn a_certificate_says_who_it_is_for() {
    let folder = folder();
    let ca = authority(folder.path());
    let (public, private) = (parsed(&ca.certificate), mode(&ca.key));
    assert_eq!((private, mode(&ca.certificate)), (0o600, 0o644));
    assert!(public.may_sign && public.uris == ["spiffe://fourmi.local"], "{public:?}");

    let more = Issue {
        dns: Some(vec!["localhost".into(), "payment".into()]),
        ips: Some(vec!["::1".parse().expect("an address")]),
        ..asked(folder.path(), "payment")
    };
    let issued = issue(&more).expect("issued");
    let leaf = parsed(&issued.certificate);
    assert_eq!(leaf.identity(), Some("spiffe://fourmi.local/payment"));
    assert_eq!(leaf.dns, ["payment", "payment.service.fourmi", "localhost"]);
    assert_eq!(leaf.ips, ["::1"]);
    assert!(leaf.server && leaf.client && !leaf.authority);
    assert_eq!(leaf.serial.len(), 32);
    assert_eq!(leaf.not_after - leaf.not_before, 5 * DAY + BACKDATED);
    assert_eq!(mode(&issued.key), 0o600);
    assert!(!issued.shortened && !issued.renewed);

    let server = issue(&Issue { usage: Some(Usage::Server), ..asked(folder.path(), "a") }).expect("issued").certificate;
    let client = issue(&Issue { usage: Some(Usage::Client), ..asked(folder.path(), "b") }).expect("issued").certificate;
    let (server, client) = (parsed(&server), parsed(&client));
    assert_eq!((server.server, server.client, client.server, client.client), (true, false, false, true));

    let long = issue(&Issue { days: Some(400), ..asked(folder.path(), "long") }).expect("issued");
    assert!(long.shortened);
    assert_eq!(parsed(&long.certificate).not_after, public.not_after);
    let many = Issue { dns: Some(vec!["localhost".into(); 101]), ..asked(folder.path(), "many") };
    assert_eq!(issue(&many).expect_err("too many").code, 2);
}

#[test]
fn renewal_replaces_both_and_keeps_the_right_to_read() {
    let folder = folder();
    authority(folder.path());
    let first = issue(&asked(folder.path(), "stock")).expect("issued");
    let old = (parsed(&first.certificate), fs::read(&first.key).expect("a key"));
    fs::set_permissions(&first.key, Permissions::from_mode(0o644)).expect("set");
    let second = issue(&asked(folder.path(), "stock")).expect("renewed");
    let new = parsed(&second.certificate);
    assert!(second.renewed && new.serial != old.0.serial && new.public_key != old.0.public_key);
    assert_ne!(fs::read(&second.key).expect("a key"), old.1);
    // The group keeps what it had; the rest of the world has nothing to do with it.
    assert_eq!(mode(&second.key), 0o640);
    let [shown] = show(&second.certificate).expect("shown").try_into().expect("one");
    assert_eq!(shown.key, KeyFile::Matches(second.key.clone()));

    // What cannot be replaced leaves the pair as it was, and nothing lies around.
    fs::remove_file(&second.certificate).expect("removed");
    fs::create_dir(&second.certificate).expect("a folder");
    let before = fs::read(&second.key).expect("a key");
    assert_eq!(issue(&asked(folder.path(), "stock")).expect_err("a folder").code, 73);
    assert_eq!(fs::read(&second.key).expect("a key"), before);
    let mut names: Vec<_> = fs::read_dir(folder.path()).expect("listed").map(|e| e.expect("one").file_name()).collect();
    names.sort();
    assert_eq!(names, ["ca", "stock.key", "stock.pem"]);
}

#[test]
fn a_renewal_keeps_what_nobody_says_otherwise() {
    let folder = folder();
    let ca = authority(folder.path());
    let first = Issue {
        dns: Some(vec!["localhost".into(), "*.pay.example".into()]),
        ips: Some(vec!["127.0.0.1".parse().expect("an address")]),
        usage: Some(Usage::Client),
        ..asked(folder.path(), "stock")
    };
    let renew = Issue { days: None, ..asked(folder.path(), "stock") };
    assert_eq!(issue(&first).expect("issued").kept, Kept::default());
    let old = parsed(&folder.path().join("stock.pem"));
    let same = |p: &Parsed| (p.dns.clone(), p.ips.clone(), p.server, p.client, p.not_after - p.not_before);
    // However often.
    for _ in 0..3 {
        let renewed = issue(&renew).expect("renewed");
        assert_eq!(same(&parsed(&renewed.certificate)), same(&old));
        assert_eq!((renewed.kept.dns.len(), renewed.kept.days), (2, Some(5)), "{renewed:?}");
    }
    // What is said replaces its kind, and nothing else.
    let other =
        Issue { dns: Some(vec!["b.example".into()]), usage: Some(Usage::Server), days: Some(3), ..renew.clone() };
    let renewed = issue(&other).expect("renewed");
    let new = parsed(&renewed.certificate);
    assert_eq!(new.dns, ["stock", "stock.service.fourmi", "b.example"]);
    assert_eq!((&new.ips, new.server, new.client), (&old.ips, true, false));
    assert_eq!(renewed.kept, Kept { ips: renewed.kept.ips.clone(), ..Kept::default() });
    // An end that was the authority's is no lifetime that somebody wanted.
    let pem = folder.path().join("stock.pem");
    foreign(folder.path(), |p| {
        let left = std::time::Duration::from_secs(u64::try_from(now() + DAY / 2).expect("later"));
        p.not_after = rcgen::date_time_ymd(1970, 1, 1) + left;
    });
    assert!(issue(&Issue { days: Some(9), ..renew.clone() }).expect("cut").shortened);
    fs::remove_dir_all(ca.certificate.parent().expect("a folder")).expect("gone");
    let ca = Init { days: 100, folder: folder.path().join("ca"), trust_domain: "fourmi.local".into() };
    init(&ca).expect("an authority");
    let renewed = parsed(&issue(&renew).expect("renewed").certificate);
    assert_eq!(renewed.not_after - renewed.not_before, i64::from(DAYS) * DAY + BACKDATED);

    // Only what is ours is replaced.
    let other = fs::read(issue(&asked(folder.path(), "other")).expect("issued").certificate).expect("there");
    let own = fs::read(&pem).expect("there");
    for (bytes, why) in [
        (other, "its identity is not spiffe://…/stock"),
        (fs::read(folder.path().join("ca/ca.pem")).expect("there"), "its identity is not"),
        (own[..own.len() / 2].to_vec(), "is not PEM"),
        (Vec::new(), "has no certificate"),
    ] {
        fs::write(&pem, &bytes).expect("written");
        let failure = issue(&renew).expect_err(why);
        assert!(failure.code == 1 && failure.message.contains(why), "{failure:?}");
        assert!(failure.message.contains("cannot be renewed") && failure.message.contains("\nhint: "), "{failure:?}");
        assert_eq!(fs::read(&pem).expect("there"), bytes);
    }
}

#[test]
fn an_authority_is_never_written_over() {
    let folder = folder();
    let ca = authority(folder.path());
    let before = (fs::read(&ca.certificate).expect("there"), fs::read(&ca.key).expect("there"));
    let again = Init { folder: folder.path().join("ca"), trust_domain: "fourmi.local".into(), days: 10 };
    for gone in [None, Some(&ca.certificate), Some(&ca.key)] {
        let kept = gone.map(|g| (g, fs::read(g).expect("there")));
        if let Some(path) = gone {
            fs::remove_file(path).expect("removed");
        }
        let failure = init(&again).expect_err("it is there");
        assert!(failure.code == 73 && failure.message.contains("there already\nhint: "), "{failure:?}");
        if let Some((path, bytes)) = kept {
            assert!(!path.exists());
            fs::write(path, bytes).expect("written");
        }
    }
    assert_eq!(before, (fs::read(&ca.certificate).expect("there"), fs::read(&ca.key).expect("there")));
    let bad = Init { trust_domain: "A".into(), folder: folder.path().join("b"), days: 1 };
    assert_eq!(init(&bad).expect_err("capital letter").code, 2);
    assert!(!folder.path().join("b").exists());
}

/// What is wrong with an authority: how it comes about, the exit code and what is said.
type Sick = (&'static str, fn(&Path), u8, &'static str);

#[test]
fn a_sick_authority_says_what_it_has() {
    let sick: [Sick; 11] = [
        ("away", |at| fs::remove_dir_all(at.join("ca")).expect("gone"), 66, "fourmi cert init --dir"),
        (
            "no key",
            |at| fs::remove_file(at.join("ca/ca.key")).expect("gone"),
            66,
            "hint: the key signs and may be kept",
        ),
        ("no pem", |at| fs::remove_file(at.join("ca/ca.pem")).expect("gone"), 66, "put it beside ca.key"),
        ("cut", |at| cut(&at.join("ca/ca.pem"), 0.6), 1, "ca.pem is not PEM"),
        ("empty", |at| fs::write(at.join("ca/ca.pem"), "").expect("written"), 1, "has no certificate"),
        ("bent", |at| bend(&at.join("ca/ca.pem")), 1, "is not X.509"),
        ("key cut", |at| cut(&at.join("ca/ca.key"), 0.6), 1, "has no private key in PEM that is not encrypted"),
        (
            "other key",
            |at| {
                let key = KeyPair::generate().expect("a key").serialize_pem();
                fs::write(at.join("ca/ca.key"), key).expect("written");
            },
            1,
            "is not the key of",
        ),
        (
            "expired",
            |at| foreign(at, |p| p.not_after = rcgen::date_time_ymd(2001, 1, 1)),
            1,
            "has expired, on 2001-01-01T",
        ),
        (
            "early",
            |at| foreign(at, |p| p.not_before = rcgen::date_time_ymd(2200, 1, 1)),
            1,
            "holds only from 2200-01-01T",
        ),
        ("no domain", |at| foreign(at, |p| p.subject_alt_names.clear()), 1, "names no trust domain"),
    ];
    for (what, change, code, said) in sick {
        let folder = folder();
        authority(folder.path());
        change(folder.path());
        let failure = issue(&asked(folder.path(), "stock")).expect_err(what);
        assert!(failure.code == code && failure.message.contains(said), "{what}: {failure:?}");
        assert!(!folder.path().join("stock.pem").exists() && !folder.path().join("stock.key").exists(), "{what}");
    }
    // A certificate of a service is none that signs.
    let folder = folder();
    foreign(folder.path(), |p| p.is_ca = IsCa::ExplicitNoCa);
    assert!(issue(&asked(folder.path(), "stock")).expect_err("no authority").message.contains("none of an authority"));
}

fn cut(path: &Path, share: f64) {
    let bytes = fs::read(path).expect("there");
    fs::write(path, &bytes[..(bytes.len() as f64 * share) as usize]).expect("written");
}

/// Still PEM, but not what it was.
fn bend(path: &Path) {
    let text = fs::read_to_string(path).expect("there");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.swap(1, 2);
    fs::write(path, lines.join("\n")).expect("written");
}

#[test]
fn among_several_authorities_the_one_of_the_key_signs() {
    let folder = folder();
    foreign(folder.path(), |_| ());
    let other = fs::read_to_string(folder.path().join("ca/ca.pem")).expect("there");
    fs::remove_dir_all(folder.path().join("ca")).expect("gone");
    let ca = authority(folder.path());
    let own = fs::read_to_string(&ca.certificate).expect("there");
    fs::write(&ca.certificate, format!("{other}{own}")).expect("written");
    let issued = issue(&asked(folder.path(), "stock")).expect("issued");
    assert_eq!(issued.identity, "spiffe://fourmi.local/stock");
    let shown = show(&ca.certificate).expect("shown");
    assert_eq!(
        shown.iter().map(|s| &s.key).collect::<Vec<_>>(),
        [&KeyFile::Mismatch(ca.key.clone()), &KeyFile::Matches(ca.key.clone())]
    );
}

#[test]
fn files_are_shown_as_they_are() {
    let folder = folder();
    authority(folder.path());
    let issued = issue(&asked(folder.path(), "stock")).expect("issued");
    let other = issue(&asked(folder.path(), "other")).expect("issued");
    let key = |file: &Path| show(file).expect("shown").remove(0).key;

    fs::copy(&other.key, &issued.key).expect("copied");
    assert_eq!(key(&issued.certificate), KeyFile::Mismatch(issued.key.clone()));
    fs::write(&issued.key, "nonsense").expect("written");
    assert!(matches!(key(&issued.certificate), KeyFile::Unknown(_, why) if why.contains("no private key")));
    fs::remove_file(&issued.key).expect("removed");
    assert_eq!(key(&issued.certificate), KeyFile::None);
    // Key and certificate in one file.
    let both = folder.path().join("both.pem");
    let text = [&other.key, &other.certificate].map(|f| fs::read_to_string(f).expect("there")).concat();
    fs::write(&both, text).expect("written");
    assert_eq!(key(&both), KeyFile::Matches(both.clone()));

    let gone: PathBuf = folder.path().join("gone.pem");
    assert_eq!(show(&gone).expect_err("gone").code, 66);
    fs::write(&gone, "x").expect("written");
    assert_eq!(show(&gone).expect_err("no certificate").code, 1);
    fs::write(&gone, vec![b'-'; 2 << 20]).expect("written");
    assert!(show(&gone).expect_err("too large").message.contains("larger than 1024 KiB"));

    // Names of somebody else's certificate cannot act on the terminal, and two identities are none.
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "a\u{1b}[2J\nb");
    let uris = ["spiffe://a/b", "spiffe://a/c"].map(|u| SanType::URI(u.try_into().expect("ASCII")));
    params.subject_alt_names = uris.to_vec();
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let pair = KeyPair::generate().expect("a key");
    fs::write(&gone, params.self_signed(&pair).expect("signed").pem()).expect("written");
    let [odd] = show(&gone).expect("shown").try_into().expect("one");
    assert!(odd.subject.contains("\\u{1b}[2J\\nb"), "{odd:?}");
    assert_eq!((odd.identity, odd.others.len()), (None, 2));
    assert_eq!(show(&gone).expect("shown").remove(0).state(), "expired");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_are_too_much(flips in prop::collection::vec((0usize..2000, any::<u8>()), 0..12), end in 0usize..2000) {
        let mut params = CertificateParams::new(vec!["a.example".to_owned(), "::1".to_owned()]).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let pair = KeyPair::generate().expect("a key");
        let mut der = params.self_signed(&pair).expect("signed").der().to_vec();
        der.truncate(end);
        for (at, byte) in flips {
            if let Some(place) = der.get_mut(at) {
                *place = byte;
            }
        }
        let _ = Parsed::of(&der).map(|p| p.identity().map(str::to_owned));
    }

    #[test]
    fn a_good_name_is_one_segment_and_one_file(text in "[a-b.\\-_A]{0,70}|\\PC{0,70}") {
        if name::name(&text).is_ok() {
            prop_assert_eq!(Path::new(&text).components().count(), 1);
            prop_assert!(!text.starts_with(['.', '-']) && text.is_ascii());
        }
    }
}
