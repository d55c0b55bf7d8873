use super::*;
use crate::config::{Severity, kong as check, parse};
use crate::gateway::entity::{Algorithm, HashOn, PathHandling, Protocol};
use crate::tls::Pem;

mod mutated;
mod wrong;

const EXAMPLE: &str = include_str!("../../../../examples/kong/kong.yaml");

/// What a file says, whatever the middlewares that it names would say of their configurations.
struct Said {
    entities: Entities,
    warnings: Vec<Problem>,
}

impl Said {
    fn summary(&self) -> String {
        summary(&self.entities)
    }
}

fn read_alone(text: &str, env: &[(&str, &str)]) -> Result<Said, Report> {
    let env: Env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let mut problems = Problems::new();
    let text = if text.trim_start().starts_with('{') { text.replace('\t', " ") } else { text.to_owned() };
    let source = problems.sources.add("kong.yaml", text, Origin::File);
    let root = tree::parse_within(source, &LIMITS, &mut problems);
    let entities = root.map(|root| entities_of(root, &env, &mut problems).0);
    let failed = problems.failed();
    let (problems, _) = problems.into_list();
    match entities {
        Some(entities) if !failed => Ok(Said { entities, warnings: problems }),
        _ => Err(Report { problems }),
    }
}

fn good_with(text: &str, env: &[(&str, &str)]) -> Said {
    read_alone(text, env).unwrap_or_else(|report| panic!("{report}"))
}

/// The same with what runs of it.
fn whole(text: &str) -> KongFile {
    check("kong.yaml", text, &[]).unwrap_or_else(|report| panic!("{report}"))
}

fn good(text: &str) -> Said {
    good_with(&format!("_format_version: \"3.0\"\n{text}"), &[])
}

/// `line:column code message` of every problem of a file that begins with its version.
fn bad(text: &str) -> Vec<String> {
    said(&format!("_format_version: \"3.0\"\n{text}"))
}

fn said(text: &str) -> Vec<String> {
    let problems = match read_alone(text, &[]) {
        Ok(file) => file.warnings,
        Err(report) => report.problems,
    };
    problems.iter().map(|p| format!("{}:{} {} {}", p.line, p.column, p.code, p.message)).collect()
}

#[test]
fn the_table_names_every_kind_once() {
    let all = [
        Kind::Service,
        Kind::Route,
        Kind::Consumer,
        Kind::Plugin,
        Kind::Upstream,
        Kind::Target,
        Kind::Certificate,
        Kind::Sni,
        Kind::CaCertificate,
        Kind::Vault,
        Kind::KeyAuth,
        Kind::BasicAuth,
        Kind::HmacAuth,
        Kind::Jwt,
        Kind::Acl,
        Kind::ConsumerGroup,
    ];
    assert_eq!(SPECS.len(), all.len());
    for kind in all {
        let spec = kind.spec();
        assert_eq!((spec.kind, Kind::of_list(spec.list)), (kind, Some(kind)));
        for (child, field) in spec.children {
            assert!(child.spec().fields.iter().any(|f| f.name == *field), "{} has no {field}", child.spec().list);
        }
        for field in spec.unique.iter().chain(&spec.key) {
            assert!(spec.fields.iter().any(|f| f.name == *field), "{} has no {field}", spec.list);
        }
    }
}

#[test]
fn the_example_is_read_as_a_whole() {
    let file = good_with(EXAMPLE, &[]);
    let warnings: Vec<_> = file.warnings.iter().map(|w| (w.code, w.key.as_str())).collect();
    assert_eq!(warnings, [("ignored", "_info.select_tags")]);
    assert_eq!(
        file.summary(),
        "3 services, 6 routes, 3 consumers, 11 plugins, 1 upstream, 3 targets, 1 vault, 2 API keys, \
         1 basic-auth credential, 1 HMAC credential, 1 JWT secret, 2 group memberships"
    );
    let e = &file.entities;

    let orders = &e.services[0];
    assert_eq!(orders.id.to_string(), "580c8aca-d632-5804-b307-a24326e1e2d5");
    assert_eq!((orders.retries, orders.connect_timeout, orders.read_timeout), (2, 2000, 60_000));
    assert_eq!((orders.protocol, orders.port, orders.path.as_deref()), (Protocol::Http, 8080, Some("/api")));
    assert_eq!(orders.tags, ["shop", "orders"]);
    let payment = &e.services[1];
    assert_eq!((payment.protocol, payment.host.as_str(), payment.port), (Protocol::Https, "payment.internal", 8443));
    assert_eq!((payment.path.as_deref(), payment.tls_verify), (Some("/pay"), Some(true)));
    let stock = &e.services[2];
    assert_eq!((stock.protocol, stock.port, &stock.path), (Protocol::Grpc, 80, &None));

    let names: Vec<_> = e.routes.iter().map(|r| (r.name.as_deref().unwrap_or(""), r.service, r.order)).collect();
    let expected = [
        ("orders-all", Some(0), 0),
        ("orders-mobile", Some(0), 1),
        ("payment", Some(1), 2),
        ("stock", Some(2), 3),
        ("health", None, 4),
        ("old-orders", Some(0), 5),
    ];
    assert_eq!(names, expected);
    assert_eq!(e.routes[0].protocols, [Protocol::Http, Protocol::Https]);
    assert!(e.routes.iter().all(|r| r.preserve_host && r.path_handling == PathHandling::V0));
    assert_eq!(e.routes[1].headers[0], ("x-client".to_owned(), vec!["ios".to_owned(), "android".to_owned()]));
    assert_eq!((e.routes[2].https_redirect_status_code, e.routes[0].https_redirect_status_code), (308, 426));
    let strip: Vec<bool> = e.routes.iter().map(|r| r.strip_path).collect();
    assert_eq!(strip, [true, true, true, false, true, false]);

    assert_eq!(e.consumers[0].id.to_string(), "4f326f44-5a37-56cf-b93b-510d2089d894");
    let plugins: Vec<_> = e.plugins.iter().map(|p| (p.name.as_str(), p.service, p.route, p.consumer)).collect();
    assert_eq!(plugins[1], ("key-auth", Some(0), None, None));
    assert_eq!(plugins[0], ("request-transformer", None, Some(1), None));
    assert_eq!(plugins[5], ("rate-limiting", None, None, Some(0)));
    assert_eq!(e.plugins[3].config, serde_json::json!({"minute": 600, "policy": "local", "limit_by": "consumer"}));
    let stock = e.plugins.iter().find(|p| p.service == Some(2)).expect("it is there");
    let config = serde_json::json!({"bandwidth_metrics": true, "status_code_metrics": true, "latency_metrics": true});
    assert_eq!((stock.enabled, &stock.config), (false, &config));
    assert_eq!(stock.protocols.len(), 4);

    assert_eq!((e.credentials.groups[1].consumer, e.credentials.groups[1].group.as_str()), (1, "partners"));
    assert_eq!((e.credentials.keys[1].consumer, e.credentials.keys[1].ttl), (1, Some(86_400)));
    let pool = &e.upstreams[0];
    assert_eq!((pool.algorithm, pool.slots, &pool.hash_on), (Algorithm::LeastConnections, 10_000, &HashOn::None));
    let active = &pool.healthchecks.active;
    assert_eq!((active.healthy.interval, active.healthy.successes, active.timeout), (5.0, 2, 1.0));
    assert_eq!(active.unhealthy.http_statuses, [429, 404, 500, 501, 502, 503, 504, 505]);
    assert_eq!(pool.healthchecks.passive.healthy.http_statuses.len(), 19);
    let targets: Vec<_> = e.targets.iter().map(|t| (t.host.as_str(), t.port, t.weight)).collect();
    assert_eq!(targets, [("10.0.0.1", 8080, 200), ("orders-2.internal", 8000, 100), ("2001:db8::1", 8080, 0)]);
}

/// JSON is YAML; tabs are no difference.
#[test]
fn json_says_the_same() {
    let json = "{\n\t\"_format_version\": \"3.0\",\n\t\"services\": [\n\t\t{\"name\": \"foo\", \"url\": \"https://e.test/p\", \"tags\": null}\n\t],\n\t\"routes\": [{\"service\": {\"name\": \"foo\"}, \"paths\": [\"/\"]}]\n}";
    let e = good_with(json, &[]).entities;
    let s = &e.services[0];
    // T277.
    assert_eq!((s.protocol, s.host.as_str(), s.port, s.path.as_deref()), (Protocol::Https, "e.test", 443, Some("/p")));
    assert_eq!(s.id.to_string(), "2933fbcc-9d7c-54a7-a984-fe2bde836cea");
    assert_eq!(e.routes[0].service, Some(0));
}

/// A dump is often one line; only what is around the place is shown.
#[test]
fn one_long_line_is_shown_in_part() {
    let tags: Vec<String> = (0..500).map(|i| format!("é{i}")).collect();
    let mut json = serde_json::json!({"_format_version": "3.0", "services": [{"host": "h", "tags": tags, "port": 99_999, "_ignore": tags}]});
    json["services"][0]["retries"] = 5.into();
    let text = json.to_string();
    let report = check("kong.json", &text, &[]).expect_err("a port is wrong");
    let problem = &report.problems[0];
    let column = text.split("99999").next().map_or(0, |t| t.chars().count()) + 1;
    assert_eq!((problem.line, problem.column, problem.width), (1, column, 5));
    assert!(
        problem.text.len() < 500 && problem.text.starts_with('…') && problem.text.ends_with('…'),
        "{}",
        problem.text
    );
    let rendered = report.render(false);
    let lines: Vec<&str> = rendered.lines().collect();
    let under = |line: &str, what: &str| line.find(what).and_then(|at| line.get(..at)).map(|t| t.chars().count());
    assert_eq!(under(lines[1], "99999"), under(lines[2], "^^^^^"), "{rendered}");
}

#[test]
fn ids_come_from_names_and_stay() {
    let text = "
consumers:
- username: c
  keyauth_credentials: [{key: a}, {}]
  basicauth_credentials: [{username: u, password: p}]
  acls: [{group: g}]
services: [{name: s, host: h, routes: [{name: r, paths: [/], plugins: [{name: cors}]}, {paths: [/x]}]}]
plugins: [{name: cors}, {name: acl, id: 11111111-1111-1111-1111-111111111111}]
upstreams: [{name: up1, targets: [{target: 'a:1'}]}]
";
    let (e, again) = (good(text).entities, good(text).entities);
    let c = e.consumers[0].id;
    let of = |list: &str, key: String| Id::of(list, &key);
    assert_eq!(e.credentials.groups[0].id, of("acls", format!("acls:*:{c}:g")));
    assert_eq!(e.credentials.basic[0].id, of("basicauth_credentials", "basicauth_credentials:*:u".into()));
    assert_eq!(e.plugins[0].id, of("plugins", format!("plugins:*:cors:{}::", e.routes[0].id)));
    assert_eq!(e.plugins[1].id, of("plugins", "plugins:*:cors:::".into()));
    assert_eq!(e.plugins[2].id.to_string(), "11111111-1111-1111-1111-111111111111");
    assert_eq!(e.targets[0].id, of("targets", "targets:*:85b92587-e1f9-522f-9495-6e2d3b1f379e:a:1".into()));
    assert_ne!(e.credentials.keys[0].id, e.credentials.keys[1].id);
    assert_eq!(e.credentials.keys[1].key.len(), 32);
    assert_eq!(
        e.credentials.keys.iter().map(|k| (k.id, k.key.clone())).collect::<Vec<_>>(),
        again.credentials.keys.iter().map(|k| (k.id, k.key.clone())).collect::<Vec<_>>()
    );
    assert_eq!(e.routes[1].id, again.routes[1].id);
}

/// T276, and Kong's own hash.
#[test]
fn passwords_are_kept_as_kong_keeps_them() {
    let hash = "4f92afc9c76c36e30476c45a4345b4678df3fd5f";
    let text = |password: &str| {
        format!(
            "consumers:\n- {{id: 00000000-0000-0000-0000-000000000001, username: c, basicauth_credentials: [{{username: u, password: {password}}}]}}\n"
        )
    };
    assert_eq!(good(&text("kong")).entities.credentials.basic[0].hash, hash);
    let kept = good(&format!("_transform: false\n{}", text(hash))).entities;
    assert_eq!(kept.credentials.basic[0].hash, hash);
    assert!(!format!("{kept:?}").contains(hash));
    let wrong = bad(&format!("_transform: false\n{}", text("kong")));
    assert!(wrong[0].contains("this must be a hash"), "{wrong:?}");
}

/// T274 and T275.
#[test]
fn old_paths_are_regular_expressions() {
    let text = |version: &str| {
        format!(
            "_format_version: '{version}'\nservices: [{{host: h, routes: [{{paths: ['/x/\\d+', /plain, /a//b]}}]}}]\nroutes: [{{paths: ['/y/(a|b)']}}]\n"
        )
    };
    for version in ["1.1", "2.1"] {
        let e = good_with(&text(version), &[]).entities;
        assert_eq!(e.routes[0].paths, ["~/x/\\d+", "/plain", "/a/b"]);
        assert_eq!(e.routes[1].paths, ["~/y/(a|b)"]);
    }
    let new = good_with(&text("3.0").replace(", /a//b", ""), &[]);
    assert_eq!(new.entities.routes[0].paths, ["/x/\\d+", "/plain"]);
    let warnings: Vec<_> = new.warnings.iter().map(|w| (w.line, w.code, w.severity)).collect();
    assert_eq!(warnings, [(2, "doubtful", Severity::Warning), (3, "doubtful", Severity::Warning)]);
}

/// T278, but what is not set is an error.
#[test]
fn references_are_resolved_everywhere() {
    let env = [
        ("REDIS_PASSWORD", "secret"),
        ("SHOP_HOST", "shop.internal"),
        ("JSON", r#"{"password": "inner", "n": 5}"#),
        ("KEY_PREVIOUS", "old"),
        ("DECK_PORT", "8081"),
        ("DECK_NAME", "stock"),
        ("PORT", "99"),
    ];
    let text = r#"
_format_version: "3.0"
vaults: [{name: env, prefix: my-shop, config: {prefix: SHOP_}}]
services:
- {name: "${{ env "DECK_NAME" }}", host: "{vault://my-shop/host}", port: ${{ env "DECK_PORT" }}}
- {url: "http://{vault://env/x}/", name: literal}
- {name: third, host: h, port: "{vault://env/port}"}
plugins:
- name: rate-limiting
  config: {minute: 5, redis: {password: "{vault://env/redis-password}", username: "{vault://env/json/password}", n: "{vault://env/json/n}"}}
consumers:
- username: c
  keyauth_credentials: [{key: "{vault://env/key#2}"}, {key: "{vault://env/host?prefix=SHOP_}"}]
"#;
    let text = text
        .replace("- {url: \"http://{vault://env/x}/\", name: literal}\n", "")
        .replace("name: \"${{ env \"DECK_NAME\" }}\"", "name: '${{ env \"DECK_NAME\" }}'");
    let text = text.replace("port: ${{ env \"DECK_PORT\" }}", "port: '${{ env \"DECK_PORT\" | toInt }}'");
    let e = good_with(&text, &env).entities;
    assert_eq!(
        (e.services[0].name.as_deref(), e.services[0].host.as_str(), e.services[0].port),
        (Some("stock"), "shop.internal", 8081)
    );
    assert_eq!(e.services[1].port, 99);
    assert_eq!(e.plugins[0].config["redis"], serde_json::json!({"password": "secret", "username": "inner", "n": "5"}));
    assert_eq!((e.credentials.keys[0].key.as_str(), e.credentials.keys[1].key.as_str()), ("old", "shop.internal"));

    // What the environment says is in no message.
    let env: Vec<_> = [("H", "se cret"), ("N", "se cret")].map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
    let text = "_format_version: '3.0'\nservices: [{host: '{vault://env/h}', name: '{vault://env/n}'}]\nplugins: [{name: '{vault://env/n}'}]\n";
    let report = check("kong.yaml", text, &env).expect_err("it is no host");
    assert!(report.problems.len() == 3 && !report.render(false).contains("cret"), "{report}");
}

#[test]
fn groups_of_deck_are_joined_from_both_sides() {
    let text = "
consumer_groups:
- name: gold
  consumers: [{username: a}, b]
  plugins: [{name: rate-limiting, config: {minute: 1}}]
consumers:
- {username: a, groups: [{name: silver}]}
- {username: b, groups: [gold]}
- {custom_id: only}
plugins: [{name: http-log, consumer_group: silver, ordering: {before: {access: [acl]}}}]
";
    let file = good(&format!("{text}\n").replace("consumer_groups:\n", "consumer_groups:\n- name: silver\n"));
    let groups: Vec<_> = file.entities.consumers.iter().map(|c| c.groups.clone()).collect();
    assert_eq!(groups, [vec![0, 1], vec![1], vec![]]);
    let of: Vec<_> = file.entities.plugins.iter().map(|p| p.consumer_group).collect();
    assert_eq!(of, [Some(1), Some(0)]);
    assert_eq!(file.warnings.len(), 1);
}

#[test]
fn null_is_as_if_nothing_were_written() {
    let text = "
services: [{name: s, host: h, port: null, path: ~, tags: null, tls_verify: null, client_certificate: null}]
routes: [{paths: [/], service: null, methods: null, protocols: null, _comment: why, _ignore: [1]}]
consumers:
plugins: [{name: acl, config: null, consumer: null, route: null}]
upstreams: [{name: u, hash_on: consumer, hash_fallback: header, hash_fallback_header: x, healthchecks: null}]
";
    let e = good(text).entities;
    assert_eq!((e.services[0].port, e.routes[0].service), (80, None));
    assert_eq!(e.upstreams[0].algorithm, Algorithm::ConsistentHashing);
    assert_eq!(e.upstreams[0].hash_fallback, HashOn::Header("x".into()));
    assert_eq!(good("").summary(), "");
    // Words that look like numbers to some, and a name that looks like an id, are names.
    let text = "consumers: [{username: inf}, {username: nan}, {username: 00000000-0000-0000-0000-000000000000}]";
    assert_eq!(good(text).entities.consumers.len(), 3);
}

#[test]
fn certificates_belong_to_their_keys() {
    let pair = |algorithm: &'static rcgen::SignatureAlgorithm, ca: bool| {
        let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
        let mut params = rcgen::CertificateParams::new(vec!["shop.test".to_owned()]).expect("a name");
        if ca {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        let cert = params.self_signed(&key).expect("signed").pem();
        (cert, key.serialize_pem(), key.public_key_pem())
    };
    let (cert, key, public) = pair(&rcgen::PKCS_ECDSA_P256_SHA256, false);
    let (other, other_key, _) = pair(&rcgen::PKCS_ED25519, false);
    let (ca, ..) = pair(&rcgen::PKCS_ECDSA_P256_SHA256, true);
    let json = |cert: &str, key: &str, more: serde_json::Value| {
        let id = "22222222-2222-2222-2222-222222222222";
        let mut one =
            serde_json::json!({"id": id, "cert": cert, "key": key, "snis": [{"name": "shop.test"}, "*.shop.test"]});
        more.as_object().into_iter().flatten().for_each(|(k, v)| one[k] = v.clone());
        serde_json::json!({
            "_format_version": "3.0",
            "certificates": [one],
            "services": [{"name": "a", "url": "https://a", "client_certificate": id, "ca_certificates": ["33333333-3333-3333-3333-333333333333"]},
                         {"name": "b", "url": "https://b", "client_certificate": "shop.test"}],
            "ca_certificates": [{"id": "33333333-3333-3333-3333-333333333333", "cert": ca}],
            "consumers": [{"username": "c", "jwt_secrets": [{"algorithm": "ES256", "key": "k", "rsa_public_key": public}]}],
        })
        .to_string()
    };
    let file = whole(&json(&cert, &key, serde_json::json!({"cert_alt": other, "key_alt": other_key})));
    let (e, plan) = (file.entities, file.plan);
    assert_eq!((e.services[0].client_certificate, e.services[1].client_certificate), (Some(0), Some(0)));
    assert_eq!(e.services[0].ca_certificates, Some(vec![0]));
    assert_eq!((e.snis.len(), e.snis[1].name.as_str(), e.ca_certificates[0].cert_digest.len()), (2, "*.shop.test", 64));
    assert!(e.certificates[0].alt.is_some() && !format!("{e:?}{plan:?}").contains("PRIVATE"));
    // Both pairs are shown for its names, and both to instances.
    let shown: Vec<_> = plan.titled.iter().map(|t| (t.pair.key.to_string(), t.names.join(" "))).collect();
    let name = "gateway:certificates/shop.test";
    let names = "shop.test *.shop.test";
    assert_eq!(shown, [(name.to_owned(), names.to_owned()), (format!("{name}/alt"), names.to_owned())]);
    let tls = |place: usize| plan.services[place].as_ref().map(|s| s.tls.clone()).expect("a service");
    let called = |pem: &Option<Pem>| pem.as_ref().map(Pem::to_string);
    assert_eq!((tls(0).ca.len(), called(&tls(0).certificate), tls(0).verify), (1, Some(name.to_owned()), true));
    assert_eq!((tls(1).ca.len(), called(&tls(1).key), tls(1).other.is_some()), (0, Some(name.to_owned()), true));
    for (text, words) in [
        (json(&cert, &other_key, serde_json::json!({})), "certificates[0].key`: certificate does not match key"),
        (json("nonsense", &key, serde_json::json!({})), "certificates[0].cert`: invalid certificate"),
        (json(&cert, "nonsense", serde_json::json!({})), "certificates[0].key`: invalid key"),
        (
            json(&cert, &key, serde_json::json!({"cert_alt": other})),
            "all or none of these fields must be set: 'cert_alt', 'key_alt'",
        ),
        (json(&cert, &key, serde_json::json!({"cert_alt": cert, "key_alt": key})), "need to have different type"),
    ] {
        let said = said(&text);
        assert!(said.len() == 1 && said[0].contains(words), "{words}: {said:?}");
    }
    // The line that is shown with a mistake has a key in it, and does not show that.
    let report = check("kong.yaml", &json(&cert, &other_key, serde_json::json!({})), &[]).expect_err("another's key");
    let inside = other_key.lines().nth(1).expect("a key");
    assert!(!report.to_string().contains(inside) && !report.render(false).contains(inside), "{report}");
    let no_ca = json(&cert, &key, serde_json::json!({}))
        .replace(&serde_json::json!(ca).to_string(), &serde_json::json!(cert).to_string());
    let twice = json(&cert, &key, serde_json::json!({}))
        .replace(&serde_json::json!(ca).to_string(), &serde_json::json!(format!("{ca}{ca}")).to_string());
    // An upstream's certificate is shown when the service has none, and its host is whom the other side has to be.
    let text = serde_json::json!({
        "_format_version": "3.0",
        "certificates": [{"id": "22222222-2222-2222-2222-222222222222", "cert": cert, "key": key}],
        "services": [{"name": "a", "protocol": "https", "host": "pool", "tls_verify": false, "tls_verify_depth": 3, "ca_certificates": []}],
        "upstreams": [{"name": "pool", "host_header": "shop.test:8443", "client_certificate": "22222222-2222-2222-2222-222222222222"}],
    });
    let plan = whole(&text.to_string()).plan;
    let tls = plan.services[0].as_ref().map(|s| s.tls.clone()).expect("a service");
    let id = "gateway:certificates/22222222-2222-2222-2222-222222222222";
    assert_eq!((called(&tls.certificate).as_deref(), tls.server_name.as_deref()), (Some(id), Some("shop.test")));
    assert!(plan.titled.is_empty() && tls.ca.is_empty() && !tls.verify, "without a name nobody is shown it");
    assert!(said(&no_ca)[0].contains("missing the \"CA\" basic constraint"));
    assert!(said(&twice)[0].contains("please submit only one certificate at a time"));
}

/// `key: message` of all that is wrong with a file, its plugins' configurations too.
fn all_of(text: &str) -> Vec<String> {
    let report = check("kong.yaml", &format!("_format_version: '3.0'\n{text}\n"), &[]).expect_err(text);
    report.problems.iter().map(|p| p.message.clone()).collect()
}

#[test]
fn all_is_told_at_once() {
    // Of no edition, of the other, not yet, with Lua: every plugin is told, and once.
    let names =
        "oauth2, openid-connect, acme, ldap-auth, aws-lambda, session, jq, rate-limiting-advanced, pre-function";
    let list: Vec<String> = names.split(", ").map(|name| format!("{{name: {name}}}")).collect();
    let said = all_of(&format!("plugins: [{}]", list.join(", ")));
    assert_eq!(said.len(), 9, "{said:#?}");
    for name in names.split(", ") {
        assert!(said.iter().any(|s| s.contains(name)), "{name}: {said:#?}");
    }
    // What is wrong elsewhere hides no configuration, no unsupported plugin and no unsupported service.
    let said = all_of(
        "
services:
- {name: s, host: h, routes: [{name: r, paths: [x], plugins: [{name: session}]}]}
- {name: t, host: h, protocol: tcp}
plugins:
- {name: http-log, config: {http_endpoint: 'http://h', custom_fields_by_lua: {a: return 1}, tmeout: 1}}
- {name: tcp-log, config: {host: h}}
- {name: request-termination, protocols: [htp], config: {status_code: 1}}
- {name: statsd, config: 5}
- {name: acl, _config: nope}
- {name: loggly, config: {key: '{vault://env/nobody-set-this}'}}",
    );
    let begins = [
        "`services[0].routes[0].paths[0]`: should start",
        "`services[0].routes[0].plugins[0].name`: session is not supported yet",
        "`services[1].protocol`: services over tcp are not supported yet",
        "`plugins[0].config.custom_fields_by_lua`: Fourmi runs no Lua",
        "`plugins[0].config.tmeout`: unknown field",
        "`plugins[1].config.port`: required field missing",
        "`plugins[2].protocols[0]`: expected one of",
        "`plugins[2].config.status_code`: value should be between",
        "`plugins[3].config`: expected a record",
        "`plugins[4]._config`: invalid reference",
        "`plugins[5].config.key`: unable to resolve reference",
    ];
    assert_eq!(said.len(), begins.len(), "{said:#?}");
    for (said, begins) in said.iter().zip(begins) {
        assert!(said.starts_with(begins), "{said} is not {begins}");
    }
    // Inline: what else is wrong hides nothing either.
    let text = "worker: http://a:1\nnope: 1\ngateway: {plugins: [{name: session}]}\n";
    let report = parse("f", text, &[]).expect_err(text);
    assert_eq!(report.problems.len(), 2, "{report}");
}

#[test]
fn what_to_write_instead_helps() {
    let text = "_format_version: '3.0'
services: [{host: h, read_timeout: 30s, prot: http}]
upstreams: [{name: u, healthchecks: {active: {healthy: {interval: 5s}}}}]
plugins:
- {name: http-log, config: {http_endpoint: 'http://h', timeout: 10s, flush_timeout: 2s, nonsense: 1}}
- {name: request-termination, config: {message: no}}
- {name: session}
";
    let report = check("kong.yaml", text, &[]).expect_err(text);
    let fix = |key: &str| report.problems.iter().find(|p| p.key == key).map_or("", |p| &*p.fix);
    assert_eq!(fix("services[0].read_timeout"), "write 30000 (milliseconds)");
    assert_eq!(fix("services[0].prot"), "rename it to protocol");
    assert_eq!(fix("upstreams[0].healthchecks.active.healthy.interval"), "write 5 (seconds)");
    assert_eq!(fix("plugins[0].config.timeout"), "write 10000 (milliseconds)");
    assert_eq!(fix("plugins[0].config.flush_timeout"), "write 2 (seconds)");
    let known = fix("plugins[0].config.nonsense");
    assert!(known.matches("http_endpoint").count() == 1 && !known.contains("lua"), "{known}");
    assert_eq!(fix("plugins[1].config.message"), "put it in quotes");
    let there = fix("plugins[2].name");
    for name in crate::pipeline::gateway::TELLING.iter().chain(&["acl"]) {
        assert!(there.contains(name), "{name}: {there}");
    }
    // What is missed may be what is misspelt, which is told first.
    let text = "_format_version: '3.0'\nplugins: [{name: rate-limiting, config: {minuet: 5}}]\n";
    let report = check("kong.yaml", text, &[]).expect_err(text);
    assert!(report.problems[0].message.contains("unknown field"), "{report}");
    // Without its version it is none of Kong's.
    let text = "services: [{host: h}]\n";
    let report = check("kong.yaml", text, &[]).expect_err(text);
    assert!(report.problems[0].line == 1 && report.problems[0].fix.contains("_format_version: \"3.0\""), "{report}");
    let report = parse("fourmi.yaml", text, &[]).expect_err(text);
    assert!(report.problems[0].fix.contains("_format_version"), "{report}");
}

/// What a bare file leaves open.
#[test]
fn a_bare_file_names_what_it_lacks() {
    let text = "_format_version: '3.0'\nservices: [{url: 'http://worker', routes: [{name: r, paths: [/]}]}]\n";
    let report = parse("kong.yaml", text, &[]).expect_err(text);
    let first = &report.problems[0];
    assert!(first.file == "kong.yaml" && first.code == "missing-worker", "{report}");
    assert!(first.fix.contains("`gateway: kong.yaml`") && first.fix.contains("FOURMI_WORKER"), "{report}");
    assert_eq!(whole(text).alone.len(), 1);
    let env = [("FOURMI_WORKER".to_owned(), "http://127.0.0.1:1".to_owned())];
    parse("kong.yaml", text, &env).unwrap_or_else(|report| panic!("{report}"));
}

#[test]
fn such_a_file_runs_alone_and_inside() {
    let text =
        "_format_version: \"3.0\"\nservices: [{name: s, url: 'http://a.test/b', routes: [{name: r, paths: [/]}]}]\n";
    let alone = parse("kong.yaml", text, &[]).unwrap_or_else(|report| panic!("{report}"));
    let inside = format!("worker: http://127.0.0.1:1\ngateway: {{{}}}\n", text.replacen('\n', ", ", 1).trim_end());
    let inside = parse("fourmi.yaml", &inside, &[]).unwrap_or_else(|report| panic!("{report}"));
    for loaded in [&alone, &inside] {
        let gateway = loaded.plan.gateway.as_ref().unwrap();
        assert_eq!(
            gateway.services[0].as_ref().map(|s| s.addresses[0].target.to_string()).as_deref(),
            Some("http://a.test:80")
        );
        assert_eq!(gateway.gateway.gates()[0].path, "/b");
        assert_eq!(loaded.plan.listeners[0].url(), "http://0.0.0.0:25001");
    }
    for (text, at, words) in [
        ("gateway: no.yaml\n", (1, 10), "can't open no.yaml"),
        ("gateway: {services: [{url: 'http://a', routes: [{paths: [x]}]}]}\n", (1, 58), "should start with"),
        ("gateway: {services: [{url: 'http://worker', routes: [{name: r, paths: [/]}]}]}\n", (1, 1), "the route r"),
        (
            "gateway: {plugins: [{name: request-termination, config: {nope: 1}}]}\nworker: http://a:1\n",
            (1, 64),
            "unknown field",
        ),
        ("gateway: {}\n", (1, 1), "there is none"),
    ] {
        let report = parse("f", text, &[]).expect_err(text);
        let first = &report.problems[0];
        assert!((first.line, first.column) == at && first.message.contains(words), "{text}{report}");
    }
}
