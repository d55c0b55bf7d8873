use super::*;

/// Lines as real loggers write them: format, line, severity, text, some of the fields.
type Row = (Format, &'static str, Option<u8>, &'static str, &'static [(&'static str, &'static str)]);

const ROWS: &[Row] = &[
    // Monolog: JsonFormatter and LineFormatter.
    (
        Format::Auto,
        r#"{"message":"Order stored","context":{"order":17,"user":{"name":"Ann"}},"level":400,"level_name":"ERROR","channel":"app","datetime":"2024-11-12T10:00:00.123456+00:00","extra":{"command_id":"c-1"}}"#,
        Some(3),
        "Order stored",
        &[("context.order", "17"), ("context.user.name", "Ann"), ("channel", "app"), ("extra.command_id", "c-1")],
    ),
    (
        Format::Auto,
        r#"[2024-11-12T10:00:00.123456+00:00] app.WARNING: slow query {"ms":900} []"#,
        Some(4),
        r#"[2024-11-12T10:00:00.123456+00:00] app.WARNING: slow query {"ms":900} []"#,
        &[],
    ),
    // pino and bunyan.
    (
        Format::Auto,
        r#"{"level":50,"time":1731405600123,"pid":7,"hostname":"box","reqId":"r-1","msg":"it broke"}"#,
        Some(3),
        "it broke",
        &[("pid", "7"), ("hostname", "box"), ("reqId", "r-1")],
    ),
    (
        Format::Json,
        r#"{"name":"a","hostname":"h","pid":1,"level":20,"msg":"","time":"2024-11-12T10:00:00Z","v":0}"#,
        Some(7),
        "",
        &[("v", "0")],
    ),
    // python-json-logger, structlog.
    (
        Format::Auto,
        r#"{"asctime": "2024-11-12 10:00:00,123", "levelname": "CRITICAL", "name": "django", "message": "no database"}"#,
        Some(2),
        "no database",
        &[("name", "django")],
    ),
    (
        Format::Auto,
        r#"{"levelno": 30, "event": "retry", "list": [1, 2], "none": null}"#,
        Some(4),
        "retry",
        &[("list", "[1,2]")],
    ),
    // zap, zerolog, slog, Serilog, logback, ECS, Google.
    (
        Format::Auto,
        r#"{"level":"warn","ts":1731405600.123,"caller":"a/b.go:3","msg":"late","trace_id":"0af7651916cd43dd8448eb211c80319c"}"#,
        Some(4),
        "late",
        &[("caller", "a/b.go:3"), ("trace_id", "0af7651916cd43dd8448eb211c80319c")],
    ),
    (
        Format::Auto,
        r#"{"time":"2024-11-12T10:00:00Z","level":"WARN+2","msg":"m","k":true}"#,
        Some(4),
        "m",
        &[("k", "true")],
    ),
    (Format::Auto, r#"{"@t":"2024-11-12T10:00:00Z","@l":"Fatal","@m":"over"}"#, Some(2), "over", &[]),
    (
        Format::Auto,
        r#"{"@timestamp":"2024-11-12T10:00:00Z","log":{"level":"error","logger":"x"},"message":"e"}"#,
        Some(3),
        "e",
        &[("log.logger", "x")],
    ),
    (Format::Auto, r#"{"severity":"NOTICE","message":"n"}"#, Some(5), "n", &[]),
    (Format::Auto, r#"{"severity_number":17,"body":"otel"}"#, Some(3), "otel", &[]),
    // A word that is no severity stays a field; an object without a message has none.
    (Format::Auto, r#"{"level":"beginner","points":3}"#, None, "", &[("level", "beginner"), ("points", "3")]),
    // GELF.
    (
        Format::Auto,
        r#"{"version":"1.1","host":"php","short_message":"short","full_message":"short\nand long","timestamp":1731405600.5,"level":4,"_command_id":"abc","_n":5}"#,
        Some(4),
        "short\nand long",
        &[("host", "php"), ("command_id", "abc"), ("n", "5")],
    ),
    // What is broken is text, whatever was promised.
    (Format::Gelf, r#"{"version":"1.1","short_mess"#, None, r#"{"version":"1.1","short_mess"#, &[]),
    (Format::Text, r#"{"level":"error","msg":"x"}"#, None, r#"{"level":"error","msg":"x"}"#, &[]),
    // Syslog.
    (
        Format::Auto,
        "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog 33 ID47 [exampleSDID@32473 iut=\"3\" eventSource=\"App\\\"l\\]\"][x@1 command_id=\"c-9\"] \u{feff}An application event",
        Some(5),
        "An application event",
        &[
            ("host", "mymachine.example.com"),
            ("app", "evntslog"),
            ("pid", "33"),
            ("msgid", "ID47"),
            ("exampleSDID.eventSource", "App\"l]"),
            ("x.command_id", "c-9"),
        ],
    ),
    (Format::Auto, "<34>1 - - su - - - failed for lonvick", Some(2), "failed for lonvick", &[("app", "su")]),
    (
        Format::Auto,
        "<34>Oct 11 22:14:15 mymachine su[12]: 'su root' failed",
        Some(2),
        "'su root' failed",
        &[("host", "mymachine"), ("app", "su"), ("pid", "12")],
    ),
    (Format::Auto, "<13>Oct  1 22:14:15 php-fpm: ready", Some(5), "ready", &[("app", "php-fpm")]),
    (
        Format::Auto,
        r#"<14>Oct  1 22:14:15 web app: @cee: {"msg":"structured","level":"error","id":"c-3"}"#,
        Some(3),
        "structured",
        &[("id", "c-3")],
    ),
    (Format::Syslog, "<999>no priority", None, "<999>no priority", &[]),
    // PHP: error_log of the command line, of its server, through php-fpm.
    (
        Format::Auto,
        "[12-Nov-2024 10:00:00 UTC] PHP Warning:  Undefined variable $x in /srv/i.php on line 3",
        Some(4),
        "[12-Nov-2024 10:00:00 UTC] PHP Warning:  Undefined variable $x in /srv/i.php on line 3",
        &[],
    ),
    (
        Format::Auto,
        "[Tue Nov 12 10:00:00 2024] PHP Fatal error:  Uncaught Exception: no in /srv/i.php:3",
        Some(3),
        "[Tue Nov 12 10:00:00 2024] PHP Fatal error:  Uncaught Exception: no in /srv/i.php:3",
        &[],
    ),
    (
        Format::Auto,
        "PHP Deprecated:  old in /srv/i.php on line 1",
        Some(5),
        "PHP Deprecated:  old in /srv/i.php on line 1",
        &[],
    ),
    (
        Format::Auto,
        "NOTICE: PHP message: PHP Warning:  w in /a.php on line 1",
        Some(4),
        "NOTICE: PHP message: PHP Warning:  w in /a.php on line 1",
        &[],
    ),
    (
        Format::Auto,
        "[12-Nov-2024 10:00:00] WARNING: [pool www] child 12 said into stderr: \"NOTICE: PHP message: it works\"",
        Some(5),
        "[12-Nov-2024 10:00:00] WARNING: [pool www] child 12 said into stderr: \"NOTICE: PHP message: it works\"",
        &[],
    ),
    (
        Format::Auto,
        "[Tue Nov 12 10:00:00 2024] 127.0.0.1:51234 [200]: POST /orders",
        None,
        "[Tue Nov 12 10:00:00 2024] 127.0.0.1:51234 [200]: POST /orders",
        &[],
    ),
    // Others' text.
    (
        Format::Auto,
        "2024-11-12 10:00:00,123 - root - ERROR - no",
        Some(3),
        "2024-11-12 10:00:00,123 - root - ERROR - no",
        &[],
    ),
    (Format::Auto, "WARNING:root:careful", Some(4), "WARNING:root:careful", &[]),
    (
        Format::Auto,
        "2024/11/12 10:00:00 [error] 12#12: *1 open() failed",
        Some(3),
        "2024/11/12 10:00:00 [error] 12#12: *1 open() failed",
        &[],
    ),
    (
        Format::Auto,
        "time=2024-11-12T10:00:00Z level=warn msg=\"late\"",
        Some(4),
        "time=2024-11-12T10:00:00Z level=warn msg=\"late\"",
        &[],
    ),
    (
        Format::Auto,
        "E, [2024-11-12T10:00:00 #7] ERROR -- : ruby",
        Some(3),
        "E, [2024-11-12T10:00:00 #7] ERROR -- : ruby",
        &[],
    ),
    (Format::Auto, "Traceback (most recent call last):", Some(3), "Traceback (most recent call last):", &[]),
    (Format::Auto, "TypeError: x is not a function", Some(3), "TypeError: x is not a function", &[]),
    (
        Format::Auto,
        "panic: runtime error: index out of range",
        Some(2),
        "panic: runtime error: index out of range",
        &[],
    ),
    // Words of people are no severities.
    (
        Format::Auto,
        "the error page was shown, no warning: fine",
        None,
        "the error page was shown, no warning: fine",
        &[],
    ),
    (Format::Auto, "\u{1b}[31mERROR\u{1b}[0m red\r", Some(3), "ERROR red", &[]),
    (Format::Auto, "", None, "", &[]),
];

#[test]
fn real_lines_are_understood() {
    for (format, line, level, message, fields) in ROWS {
        let parsed = parse(*format, line.as_bytes());
        assert_eq!(parsed.level, *level, "{line}");
        assert_eq!(parsed.message, *message, "{line}");
        for (name, value) in *fields {
            let found = parsed.fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
            assert_eq!(found, Some(*value), "{name} of {line}: {:?}", parsed.fields);
        }
    }
}

#[test]
fn times_are_read_whatever_their_unit() {
    for line in [
        r#"{"msg":"m","time":1731405600123}"#,
        r#"{"msg":"m","ts":1731405600.123}"#,
        r#"{"msg":"m","time":"2024-11-12T10:00:00.123Z"}"#,
        r#"{"msg":"m","datetime":"2024-11-12T11:00:00.123+01:00"}"#,
        r#"{"msg":"m","timeUnixNano":"1731405600123000000"}"#,
        r#"{"version":"1.1","host":"h","short_message":"m","timestamp":1731405600.123}"#,
        "<14>1 2024-11-12T10:00:00.123Z - - - - - m",
    ] {
        let time = parse(Format::Auto, line.as_bytes()).time.unwrap();
        assert!(time.abs_diff(1_731_405_600_123_000) <= 1, "{line}: {time}");
    }
    // Without a zone, or not a time at all.
    for line in [r#"{"msg":"m","time":"2024-11-12 10:00:00"}"#, r#"{"msg":"m","time":5}"#, r#"{"msg":"m","time":{}}"#] {
        assert_eq!(parse(Format::Auto, line.as_bytes()).time, None, "{line}");
    }
}

#[test]
fn what_is_too_much_is_cut() {
    let many: Vec<String> = (0..100).map(|n| format!("\"f{n}\":\"{}\"", "v".repeat(5000))).collect();
    let line = format!("{{\"msg\":\"{}\",{},\"command_id\":\"c-1\"}}", "é".repeat(LINE_MAX), many.join(","));
    let parsed = parse(Format::Auto, line.as_bytes());
    assert!(parsed.message.len() <= LINE_MAX && parsed.message.ends_with('é'));
    assert_eq!(parsed.fields.len(), FIELDS_MAX + 1);
    assert!(parsed.fields.iter().all(|(_, v)| v.len() <= VALUE_MAX));
    let has = |name: &str| parsed.fields.iter().any(|(n, _)| n == name);
    assert!(has("truncated") && has("command_id") && has("f0") && !has("f99"));
    let deep = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
    let parsed = parse(Format::Auto, deep.as_bytes());
    assert_eq!(parsed.fields[0].0, "a.a.a.a.a.a.a");
    // Not JSON any more for its parser: text.
    let deeper = format!("{}1{}", "{\"a\":".repeat(1000), "}".repeat(1000));
    assert!(parse(Format::Auto, deeper.as_bytes()).is_text);
}

#[test]
fn no_bytes_are_too_strange() {
    let mut state = 7u64;
    for length in 0..400 {
        let mut bytes: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        for start in ["", "{", "<14>1 ", "<14>Oct 11 22:14:15 ", "[x \"", "{\"a\":\"", "PHP "] {
            bytes.splice(0..0, start.bytes());
            for format in [Format::Auto, Format::Gelf, Format::Syslog, Format::Json, Format::Text] {
                let parsed = parse(format, &bytes);
                assert!(!parsed.message.contains(['\u{0}', '\u{1b}']));
            }
            goes_on(&bytes);
        }
    }
}

#[test]
fn traces_go_on() {
    for line in [
        "  File \"/srv/a.py\", line 3, in f",
        "\tat com.example.Main.main(Main.java:5)",
        "    at Object.<anonymous> (/srv/a.js:1:7)",
        "#0 /srv/index.php(3): f()",
        "Stack trace:",
        "PHP Stack trace:",
        "PHP   1. {main}() /srv/index.php:0",
        "Caused by: java.io.IOException: no",
        "... 12 more",
        "at f (a.js:1:1)",
    ] {
        assert!(goes_on(line.as_bytes()), "{line}");
    }
    for line in ["", "   ", "#1 fan", "another", "attention", "{\"a\":1}", "PHP Warning:  x", "<14>x", "#x"] {
        let expected = line == "#1 fan";
        assert_eq!(goes_on(line.as_bytes()), expected, "{line}");
    }
}
