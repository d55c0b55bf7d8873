use super::*;
use crate::config::kong;
use crate::gateway::entity::{self, KeyAuth};

fn keys(count: usize) -> Entities {
    let mut all = Entities::default();
    for n in 0..count {
        let username = format!("consumer-{n:06}");
        all.consumers.push(entity::Consumer {
            id: Id::of("consumers", &username),
            username: Some(username),
            custom_id: None,
            groups: Vec::new(),
            tags: Vec::new(),
        });
        all.credentials.keys.push(KeyAuth {
            id: Id::of("keyauth_credentials", &n.to_string()),
            consumer: n,
            key: format!("{n:032x}"),
            ttl: None,
            tags: Vec::new(),
        });
    }
    all
}

/// A hundred thousand consumers with a key each are real.
#[test]
fn many_are_few_bytes() {
    let entities = keys(100_000);
    let mut people = None;
    let cost = allocation_counter::measure(|| people = Some(People::new(&entities)));
    let people = people.unwrap();
    assert!(cost.bytes_current < 40 << 20, "{} bytes", cost.bytes_current);
    for n in [0, 1, 77_777, 99_999] {
        let found = people.key(format!("{n:032x}").as_bytes(), Instant::now()).unwrap();
        assert_eq!(found.consumer.username.as_deref(), Some(format!("consumer-{n:06}").as_str()));
        assert_eq!(people.named(&found.consumer.id).unwrap().place, n);
    }
    assert!(people.key(format!("{:032x}", 100_000).as_bytes(), Instant::now()).is_none());
}

#[test]
fn everybody_is_found_by_what_they_have() {
    let text = "_format_version: '3.0'\nconsumers:\n- {username: a, custom_id: b, id: 11111111-1111-4111-8111-111111111111}\n- {username: b}\n- {username: 11111111-1111-4111-8111-111111111111}\n- {custom_id: a}\n";
    let people = People::new(&kong("kong.yaml", text, &[]).unwrap().entities);
    let place = |found: Option<&Arc<Consumer>>| found.map(|c| c.place);
    // A name goes before an id; a custom_id is none of both.
    assert_eq!(place(people.named("11111111-1111-4111-8111-111111111111")), Some(2));
    assert_eq!(place(people.named(&people.consumers[1].id)), Some(1));
    assert_eq!((place(people.named("b")), place(people.named("c"))), (Some(1), None));
    assert_eq!((place(people.of_custom_id("b")), place(people.of_custom_id("a"))), (Some(0), Some(3)));
    assert_eq!(place(people.of_username("")), None);
}

#[test]
fn public_keys_fit_their_algorithm() {
    let all = include_str!("../../middleware/auth/tests/people.yaml");
    let pem = |key: &str| {
        let after = all.split(&format!("key: {key}\n")).nth(1).unwrap();
        let end = "-----END PUBLIC KEY-----";
        let pem = &after[after.find("-----BEGIN").unwrap()..after.find(end).unwrap() + end.len()];
        pem.lines().map(str::trim).collect::<Vec<_>>().join("\n")
    };
    let kinds = [("rs256", "RP"), ("es256", "1"), ("es384", "2"), ("es512", "3"), ("eddsa", "E")];
    for (algorithm, kind) in [
        ("RS256", "RP"),
        ("RS512", "RP"),
        ("PS384", "RP"),
        ("ES256", "1"),
        ("ES384", "2"),
        ("ES512", "3"),
        ("EdDSA", "E"),
        ("HS256", "-"),
    ] {
        for (key, of) in kinds {
            let fits = public_key(Algorithm::parse(algorithm).unwrap(), &pem(key)).is_some();
            assert_eq!(fits, kind == of, "{algorithm} with {key}");
        }
    }
    // openssl genrsa 1024
    let short = "-----BEGIN PUBLIC KEY-----\nMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCd7stHSWU1BbvzWVWMX/LtjluJ\nus1lt+/9All9AIlrT4UsNmzYQJMFm/eBIsH3N8+IkHknwOTsYPevotubUEQZub9g\nprxn+ajB9Rm9cX0wyqWdZ1uypOrBzQzr79jNiIS3TmcQkKiqT421uKlcZMG0Q3NR\nEvGYuRKPGfoB1oSdOwIDAQAB\n-----END PUBLIC KEY-----\n";
    for bad in [short, "", "x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
        assert!(public_key(Algorithm::RS256, bad).is_none());
    }
}

#[test]
fn passwords_are_those_of_kong() {
    // sha1("password123" + id), by Python's hashlib.
    let id = "11111111-1111-4111-8111-111111111111";
    assert!(Password::parse("11f6").is_none() && Password::parse(&"g".repeat(40)).is_none());
    let text = format!(
        "_format_version: '3.0'\n_transform: false\nconsumers: [{{username: a, id: {id}, basicauth_credentials: [{{username: u, password: {}}}]}}]",
        "'9cd294039c498cc19d0d92ed3d56ce685698c602'"
    );
    let people = People::new(&kong("kong.yaml", &text, &[]).unwrap().entities);
    let found = people.basic(b"u").unwrap();
    assert!(found.secret.fits(b"password123", id));
    assert!(!found.secret.fits(b"password12", id) && !found.secret.fits(b"password123", &id.replace('1', "2")));
    assert!(!Password::NOBODY.fits(b"", ""));
}
