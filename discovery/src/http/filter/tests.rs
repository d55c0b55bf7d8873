use super::Filter;
use serde_json::json;

fn row() -> serde_json::Value {
    json!({
        "Node": {"Node": "n1", "Meta": {"rack": "r1", "a-b": "c", "a.b": "d"}},
        "Service": {"Service": "web", "Tags": ["v1", "eu"], "Port": 80, "Meta": {}, "EnableTagOverride": false},
        "Name": "node check 2",
    })
}

#[test]
fn expressions_hold_or_do_not() {
    let rows = [
        ("Name == \"node check 2\"", true),
        ("Name == `node check 2`", true),
        ("Name != web", true),
        ("Service.Service == web and Node.Node == n1", true),
        ("Service.Service == web and Node.Node == n2 or Name contains check", true),
        ("Service.Service == web and (Node.Node == n2 or Name contains check)", true),
        ("not (Service.Service == web) or not Name is empty", true),
        ("not Service.Service == web and Name is not empty", false),
        ("v1 in Service.Tags", true),
        ("v2 in Service.Tags", false),
        ("v2 not in Service.Tags", true),
        ("Service.Tags contains eu", true),
        ("Service.Tags not contains eu", false),
        ("rack in Node.Meta", true),
        ("Node.Meta.rack == r1", true),
        ("Node.Meta[\"a-b\"] == c", true),
        ("Node.Meta.a-b == c", true),
        ("Node.Meta[`a.b`] == d", true),
        ("\"/Node/Meta/a.b\" == d", true),
        ("Node.Meta.other == r1", false),
        ("Node.Meta.other != r1", true),
        ("Node.Meta.other is empty", true),
        ("Service.Meta is empty", true),
        ("Service.Port == 80", true),
        ("Service.EnableTagOverride == false", true),
        ("Name matches `^node .* [0-9]$`", true),
        ("Name not matches \"^x\"", true),
        ("Service.Service==web", true),
    ];
    for (text, expected) in rows {
        let filter = Filter::parse(text).unwrap();
        assert_eq!(filter.holds(&row()), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_expression_is_said_so() {
    let deep = "(".repeat(2000);
    let long = format!("Name == \"{}\"", "x".repeat(10_000));
    let rows = [
        "",
        "Name",
        "Name ==",
        "Name = x",
        "== x",
        "Name == x y",
        "(Name == x",
        "Name == \"x",
        "Name not x",
        "Name is x",
        "Name matches \"[\"",
        "Name[x] == y",
        "Name[\"x\" == y",
        "and",
        "a..b == c",
        &deep,
        &long,
        "Name matches `(a{1000}){1000}`",
        "ä ö ü",
        "\u{0} == x",
    ];
    for text in rows {
        assert!(Filter::parse(text).is_err(), "{text}");
    }
}

#[test]
fn names_that_no_row_has_are_an_error() {
    for text in ["Nam == x", "Service.Nam == x", "Name.x == y", "Node.Meta.rack.x == y"] {
        assert!(Filter::parse(text).unwrap().holds(&row()).is_err(), "{text}");
    }
}
