//! What expressions mean, and that hostile ones come to an end.

use super::*;
use crate::command::testing;
use proptest::prelude::*;

fn request() -> Exchange {
    let lines = [("x-one", "1"), ("x-two", "a"), ("x-two", "b"), ("my-header", "h"), ("x-empty", "")];
    let mut exchange = testing::exchange("GET", "/", &lines);
    exchange.request.set_target("/requests", Some("q=20&flag&two=1&two=x%20y&plus=a+b&empty=&%71%32=deep"));
    exchange.request.authority = "shop.test:8000".into();
    exchange.captures = vec![
        (None, "/user/foo/7".into()),
        (Some("user".into()), "foo".into()),
        (Some("n".into()), "7".into()),
        (None, String::new()),
    ];
    exchange
}

fn value(text: &str) -> String {
    match Template::parse(text) {
        Err(why) => format!("error: {why}"),
        Ok(None) => "no template".into(),
        Ok(Some(template)) => match template.render(&request()) {
            Err(Failed(why)) => format!("failed: {why}"),
            Ok(None) => "nothing".into(),
            Ok(Some(value)) => String::from_utf8(value).unwrap(),
        },
    }
}

#[test]
fn expressions_have_luas_values() {
    for (text, expected) in [
        ("plain", "no template"),
        ("$(headers['x-one'])", "1"),
        ("$(headers['X-One'])", "1"),
        ("$(headers.my_header)", "h"),
        ("$(headers['x-two'])", "a, b"),
        ("$(headers['x-two'][2]) $(#headers['x-two']) $(type(headers['x-two']))", "b 2 table"),
        ("$(headers['x-empty'])", ""),
        ("$(headers.host)", "shop.test:8000"),
        ("$(headers.none)", "nothing"),
        ("Bearer $(headers.none)!", "Bearer !"),
        ("$(query_params.q)", "20"),
        ("$(query_params[\"q\"] + 1)", "21"),
        ("$(query_params.flag)", "true"),
        ("$(query_params.two[2])", "x y"),
        ("$(query_params.plus)|$(query_params.empty)|$(query_params.q2)", "a b||deep"),
        ("$(uri_captures.user)/$(uri_captures['user'])/$(uri_captures[1])/$(uri_captures[2])", "foo/foo/foo/7"),
        ("$(uri_captures[0])$(uri_captures[3])$(uri_captures[4])$(uri_captures[-1])", "/user/foo/7"),
        ("$(uri_captures[3] or 'default')", "default"),
        ("$(uri_captures.other or 'default1')", "default1"),
        ("$(shared.some_value)", "nothing"),
        ("$(shared.some_value or headers['x-' .. 'one'])", "1"),
        ("$(false)", "nothing"),
        ("$(nil == nil and 'a' .. 'b' .. 1 or nil)", "ab1"),
        ("$(10 * uri_captures.user)", "failed: arithmetic with something that is no number"),
        ("$(10 * uri_captures.n)", "70"),
        ("$(2 + 3 * 4 ^ 2 / 8 - -1)", "9"),
        ("$(2 ^ 3 ^ 2) $(-2 ^ 2) $(7 % 3) $(-7 % 3) $(1 / 3)", "512 -4 1 2 0.33333333333333"),
        (
            "$(1e3) $(0x10) $(.5) $(1e100) $(12345678901234567) $(1/0) $(0.1 + 0.2)",
            "1000 16 0.5 1e+100 1.2345678901235e+16 inf 0.3",
        ),
        ("$('a' < 'b' and 1 <= 2 and 'x' ~= 'y' and not nil)", "true"),
        ("$(1 < 'a')", "failed: a comparison of values of different types"),
        ("$('1' == 1)", "nothing"),
        ("$('a' .. nil)", "failed: a text was expected"),
        ("$(headers.none.deeper)", "failed: a field of something that has none"),
        ("$((query_params.q or 1) * 2)", "40"),
        ("$(')' .. \"(\" .. 'it\\'s \\65\\n')", ")(it's A\n"),
        ("$(uri_captures.user:upper())-$(string.sub(headers.host, 1, 4))-$(('abc'):sub(-2))", "FOO-shop-bc"),
        ("$(type(shared.x)) $(tostring(true)) $(tonumber(' 0x1F ')) $(string.len('abc'))", "nil true 31 3"),
        ("a$b$ (c)", "no template"),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn what_is_not_known_is_told_when_it_is_read() {
    for (text, expected) in [
        ("$(os.execute('x'))", "error: os is not known; known are headers, query_params, uri_captures and shared"),
        ("$((function() return 1 end)())", "error: unexpected function"),
        ("$(headers", "error: $( is not closed"),
        ("$(headers['x)", "error: a string is not closed"),
        ("$()", "error: unexpected )"),
        ("$(1 2)", "error: unexpected number"),
        ("$(headers.x = 1)", "error: unexpected '='"),
        ("$('a\\q')", "error: \\q in a string is not known"),
        (
            "$(string.gsub('a', 'b', 'c'))",
            "error: gsub is not known; of Lua's string functions there are lower, upper, len and sub",
        ),
        ("$(string.sub('a'))", "error: 1 values for a function that takes 2 to 3"),
        ("$(1..2)", "error: 1..2 is no number"),
        ("$(headers('x'))", "error: only headers, query_params, uri_captures and shared have fields"),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
    let nested = |n: usize| format!("$({}1{})", "(".repeat(n), ")".repeat(n));
    assert_eq!(value(&nested(20)), "1");
    assert_eq!(value(&nested(200)), "error: an expression may be nested 24 deep");
    assert_eq!(value(&format!("$({}1)", "not ".repeat(200))), "error: an expression may be nested 24 deep");
    assert_eq!(value(&format!("$(1{})", "+1".repeat(300))), "error: an expression may have 256 parts");
    assert_eq!(value(&format!("$(1{})", " ".repeat(5000))), "error: a text with $(…) may have 4096 bytes");
}

#[test]
fn only_what_asks_for_captures_wants_them() {
    for (text, wanted) in [
        ("$(headers.x or (not uri_captures.y))", true),
        ("$(type(uri_captures))", true),
        ("uri_captures $(headers.uri_captures)", false),
    ] {
        assert_eq!(Template::parse(text).unwrap().unwrap().wants_captures(), wanted, "{text}");
    }
}

#[test]
fn results_are_bounded() {
    let mut exchange = request();
    exchange.request.headers.append("x-long", vec![b'x'; 40 << 10]);
    for text in ["$(headers['x-long'] .. headers['x-long'])", "$(headers['x-long'])$(headers['x-long'])"] {
        let template = Template::parse(text).unwrap().unwrap();
        assert_eq!(template.render(&exchange), Err(Failed("the result is too long")), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_and_evaluated(text in "[$()a-z0-9'\"\\[\\].,:+*/%^#<>=~ -]{0,80}|.{0,60}") {
        for text in [format!("$({text})"), text] {
            if let Ok(Some(template)) = Template::parse(&text) {
                let _ = template.render(&request());
            }
        }
    }

    #[test]
    fn pieces_of_expressions_are_put_together_in_any_way(
        words in proptest::collection::vec(
            prop::sample::select(vec![
                "headers", "query_params", "uri_captures", ".q", "['x-two']", "[2]", "(", ")", "or", "and", "not", "..",
                "+", "-", "*", "/", "%", "^", "#", "==", "<", "'a'", "1", "1e308", "nil", "false", "type", "tostring(",
                ":sub(", ",", "string.len(", "-5", "0",
            ]),
            0..24,
        )
    ) {
        if let Ok(Some(template)) = Template::parse(&format!("$({})", words.join(" "))) {
            let _ = template.render(&request());
        }
    }
}
