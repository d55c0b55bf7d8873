use super::super::auth::tests::{request, through};
use serde_json::{Value as Json, json};

const UNKNOWN: &str = "401 Unauthorized";
const NO: &str = "403 You cannot consume this service";

#[test]
fn groups_decide() {
    let key = json!({});
    let anonymous = |who: &str| json!({ "anonymous": who });
    let allow = |groups: &[&str]| json!({ "allow": groups });
    let deny = |groups: &[&str]| json!({ "deny": groups });
    let bob = "bob bobs-id #11111111-1111-4111-8111-111111111111";
    let (both, pro) = (format!("{bob} [admin, pro]"), "eve # [pro]");
    let rows: &[(Option<&Json>, Json, &str, &str)] = &[
        (None, allow(&["admin"]), "", UNKNOWN),
        (None, deny(&["admin"]), "", UNKNOWN),
        (Some(&key), allow(&["admin"]), "k1", &both),
        (Some(&key), allow(&["admin"]), "k2", NO),
        (Some(&key), allow(&["admin"]), "k3", NO),
        (Some(&key), deny(&["admin"]), "k1", NO),
        (Some(&key), deny(&["admin"]), "k2", pro),
        (Some(&key), deny(&["admin"]), "k3", "only-id # []"),
        (Some(&key), allow(&["admin", "pro"]), "k1", &both),
        (Some(&key), allow(&["admin", "pro"]), "k2", pro),
        (Some(&key), deny(&["admin", "pro"]), "k2", NO),
        (Some(&key), deny(&["pro", "nobody"]), "k1", NO),
        (Some(&key), json!({"allow": ["admin"], "hide_groups_header": true}), "k1", bob),
        (Some(&anonymous("everybody")), allow(&["everyone"]), "", "*everybody [everyone]"),
        (Some(&anonymous("anon")), allow(&["x"]), "", UNKNOWN),
        (Some(&anonymous("anon")), deny(&["x"]), "", "*anon []"),
        (Some(&anonymous("everybody")), allow(&["x"]), "", NO),
        (Some(&key), allow(&["gold"]), "k4", NO),
        (Some(&key), json!({"allow": ["gold"], "include_consumer_groups": true}), "k4", "grouped # [gold]"),
        (Some(&key), json!({"deny": ["gold"], "include_consumer_groups": true}), "k4", NO),
    ];
    for (auth, acl, given, expected) in rows {
        let lines = [("x-consumer-groups", "admin"), ("apikey", given)];
        let lines = if given.is_empty() { &lines[..1] } else { &lines[..] };
        let mut all: Vec<(&str, Json)> = auth.iter().map(|auth| ("key-auth", (*auth).clone())).collect();
        all.push(("acl", acl.clone()));
        let said = through(&all, &mut request("GET /", lines));
        // Ids of credentials that have none of their own are of no matter here.
        let shown = match said.split_once('#') {
            Some((name, rest)) if !name.starts_with("bob") => format!("{name}#{}", rest.get(36..).unwrap_or_default()),
            _ => said,
        };
        assert_eq!(shown, *expected, "{auth:?} {acl} {given}");
    }
}

#[test]
fn groups_of_the_proof_stand_for_who_is_no_consumer() {
    use super::super::auth::tests::{asked, people};
    use super::super::testing::built;
    let people = people();
    for (config, consumer, expected) in [
        (json!({"allow": ["admin"]}), true, "bob bobs-id #11111111-1111-4111-8111-111111111111 [admin, pro]"),
        (json!({"allow": ["admin"], "always_use_authenticated_groups": true}), true, NO),
        (
            json!({"allow": ["ours"], "always_use_authenticated_groups": true}),
            true,
            "bob bobs-id #11111111-1111-4111-8111-111111111111 auth[ours, more]",
        ),
        (json!({"allow": ["ours"]}), false, "*anon auth[ours, more]"),
    ] {
        let lines: &[(&'static str, &str)] = if consumer { &[("apikey", "k1")] } else { &[] };
        let mut exchange = request("GET /", lines);
        asked(&*built("key-auth", &json!({"anonymous": "anon"}), &people).unwrap(), &mut exchange, b"");
        exchange.caller.groups = ["ours".into(), "more".into()].into();
        assert_eq!(asked(&*built("acl", &config, &people).unwrap(), &mut exchange, b""), expected, "{config}");
    }
}
