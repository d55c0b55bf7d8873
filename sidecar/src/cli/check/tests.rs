use super::line::{ADMIN, ALL, CONFIG, LISTEN, Mark, SINK, json, text, worst};

#[test]
fn lines_as_people_see_them() {
    let lines = [
        CONFIG.ok("", "fourmi.yaml is valid"),
        SINK.failed("graylog tcp://g:1", "refused\n\tby \u{1b}[31mthe peer"),
        SINK.warning("stdout", "x".repeat(1000)),
    ];
    let plain = text(&lines, false, false);
    let expected = "configuration
  ok       config: fourmi.yaml is valid
sinks
  failed   sink graylog tcp://g:1: refused by \u{fffd}[31mthe peer
           https://github.com/fourmi-proxy/fourmi/blob/main/docs/check.md#sink
";
    assert!(plain.starts_with(expected), "{plain}");
    assert!(plain.ends_with("failed: 1 failed, 1 with a warning, 1 ok\n"), "{plain}");
    assert!(plain.lines().all(|line| line.chars().count() < 700), "{plain}");
    let quiet = text(&lines, true, false);
    assert!(!quiet.contains("valid") && quiet.contains("tcp://g:1"), "{quiet}");
    assert_eq!(text(&lines[..1], true, false), "");
    assert!(text(&lines, false, true).contains("\u{1b}[1;31mfailed"));
}

#[test]
fn lines_as_programs_see_them() {
    let lines = [ADMIN.ok("", "it answers"), LISTEN.warning("inbound 0.0.0.0:1", "why")];
    assert_eq!(worst(&lines), Mark::Warning);
    let shown = json(&lines);
    assert_eq!(shown["result"], "warning");
    let expected = serde_json::json!({
        "category": "machine", "check": "listen", "subject": "inbound 0.0.0.0:1", "result": "warning", "detail": "why",
        "help": "https://github.com/fourmi-proxy/fourmi/blob/main/docs/check.md#listen",
    });
    assert_eq!(shown["checks"][1], expected);
    assert_eq!(json(&[])["result"], "ok");
}

#[test]
fn every_check_is_explained() {
    let page = include_str!("../../../../docs/check.md");
    for check in ALL {
        assert!(page.lines().any(|line| line == format!("### {}", check.name)), "{} has no help", check.name);
    }
}
