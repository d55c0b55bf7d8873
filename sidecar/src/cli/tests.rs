use super::args::Output;
use super::*;
use crate::config;
use std::time::Duration;

fn cli(line: &str) -> Result<Cli, clap::Error> {
    Cli::command().try_get_matches_from(line.split(' ')).and_then(|m| Cli::from_arg_matches(&m))
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn flags_stand_before_and_after_the_subcommand() {
    for line in [
        "fourmi -c a.yaml -o json validate",
        "fourmi validate -c a.yaml -o json",
        "fourmi -o json validate --config=a.yaml",
    ] {
        let cli = cli(line).expect(line);
        assert_eq!(cli.global.config.as_deref(), Some(std::path::Path::new("a.yaml")), "{line}");
        assert_eq!(cli.global.output, Some(Output::Json), "{line}");
    }
    let cli = cli("fourmi run -vv -- php -c worker.ini").expect("it parses");
    assert_eq!((cli.global.verbose, cli.global.config), (2, None));
    assert!(matches!(cli.command, Some(Command::Run { command }) if command == ["php", "-c", "worker.ini"]));
}

#[test]
fn explain_says_how_a_command_is_delivered() {
    let text = "
worker: http://127.0.0.1:8080
spool: {path: /tmp}
outbound:
  - listen: http://127.0.0.1:15001
    services:
      mail: {address: http://10.0.0.7:9000, delivery: {mode: auto, wait: 2s, at_most_once: true, allow: []}}
      bank: {address: http://10.0.0.8:9000}
commands:
  identify: {key: /order/id}
  mode: async
  idempotency: true
  retry: {delays: [1s, 5m], max_attempts: 7, max_age: 2h, statuses: [503]}
  horizon: 48h
";
    let plan = config::parse("fourmi.yaml", text, &[]).expect("it is valid").plan;
    let ask = |method: &str, url: &str| {
        let explained = explain::explain(&plan, &[method.to_owned(), url.to_owned()], &[]).expect("a URL");
        (explained.text(&plan), explained.json(&plan)["delivery"].clone())
    };
    let (said, json) = ask("POST", "/orders");
    for part in [
        "delivery   async: stored, and answered 202\n",
        "once       at least once when it is stored; idempotency: once by its caller's id\n",
        "retry      when it is stored: after 1s, 5m ± 10 %, 7 attempts, 2h at most; for 503\n",
        "allow      callers may ask for async, schedule (48h ahead at most)\n",
        "key        Fourmi-Key of a trusted caller, else /order/id of its body\n",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(
        (&json["mode"], &json["retry"]["max_attempts"], &json["key"]),
        (&"async".into(), &7.into(), &"/order/id".into())
    );
    // What only reads is asked for at once, and its caller's wish counts all the same.
    let (said, json) = ask("GET", "/orders");
    assert!(said.contains("delivery   sync") && json["mode"] == "sync", "{said}");
    let (said, json) = ask("POST", "http://mail/");
    assert!(
        said.contains("auto: answered 202 when it takes more than 2s") && said.contains("may ask for nothing"),
        "{said}"
    );
    assert_eq!((&json["at_most_once"], &json["wait_ms"]), (&true.into(), &2000.into()));
    // A service that says nothing has the retries of `commands`, and nothing that its callers did not ask for.
    let (said, json) = ask("POST", "http://bank/");
    assert!(said.contains("sync: answered by whom it is sent to; what fails is not stored"), "{said}");
    assert_eq!((&json["idempotency"], &json["retry"]["max_attempts"]), (&false.into(), &7.into()));
}

#[test]
fn arguments_are_read() {
    let demo = cli("fourmi demo --for 20s").expect("it parses").command;
    assert!(
        matches!(demo, Some(Command::Demo { duration: Some(d), rate: 200, with: None }) if d == Duration::from_secs(20))
    );
    let health = cli("fourmi health --wait").expect("it parses").command;
    assert!(matches!(health, Some(Command::Health { wait: Some(d), .. }) if d == Duration::from_secs(30)));
    let part = cli("fourmi demo-part worker --port 0").expect("it parses").command;
    assert!(matches!(part, Some(Command::DemoPart { arguments }) if arguments == ["worker", "--port", "0"]));
    for line in [
        "fourmi demo --for 20",
        "fourmi health --live --ready",
        "fourmi vaildate",
        "fourmi explain",
        "fourmi run php",
        "fourmi register stock",
    ] {
        assert_eq!(cli(line).expect_err(line).exit_code(), 2, "{line}");
    }
    assert!(cli("fourmi vaildate").expect_err("no such").to_string().contains("validate"));
    // Port 0 is announced only where somebody says that there is none.
    assert!(cli("fourmi register stock").expect_err("no port").to_string().contains("--port <PORT>"));
    for line in ["fourmi register stock --port 0", "fourmi register stock --port 80", "fourmi register -f stock.json"] {
        assert!(cli(line).is_ok(), "{line}");
    }
}

#[test]
fn color_is_known_early() {
    let of = |line: &str| early_color(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
    assert_eq!(of("fourmi --color never x"), clap::ColorChoice::Never);
    assert_eq!(of("fourmi x --color=always"), clap::ColorChoice::Always);
    assert_eq!(of("fourmi run -- ls --color=always"), clap::ColorChoice::Auto);
}

#[test]
fn help_leads_with_examples_when_called_alone() {
    let help = short_help();
    assert!(help.contains("fourmi demo") && help.contains("-- php worker.php") && help.contains("--help"), "{help}");
}

#[test]
fn pages_are_made_for_every_subcommand() {
    let directory = tempfile::tempdir().expect("a directory");
    assert_eq!(show::man(Some(directory.path())), 0);
    let page = std::fs::read_to_string(directory.path().join("fourmi-config-show.1")).expect("it is there");
    assert!(page.contains("fourmi\\-config\\-show"), "{page}");
    assert!(!directory.path().join("fourmi-demo-part.1").exists());
}

#[test]
fn init_keeps_what_is_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("fourmi.yaml");
    let run = |more: &[&str]| {
        let words = ["fourmi", "-q", "init", "-c"].iter().map(OsString::from);
        super::run(words.chain([path.clone().into_os_string()]).chain(more.iter().map(OsString::from)).collect())
    };
    assert_eq!(run(&[]), 0);
    assert_eq!(run(&[]), 1);
    assert_eq!(run(&["--force"]), 0);
    assert_eq!(super::run(["fourmi", "validate", "/no/such"].map(OsString::from).into()), 66);
    assert_eq!(show_code("/no/such/dir/fourmi.yaml"), 73);
}

fn show_code(path: &str) -> u8 {
    super::run(["fourmi", "init", "-c", path].map(OsString::from).into())
}

#[test]
fn explain_says_where_a_command_goes() {
    let text = "
service: payment
worker: [http://127.0.0.1:8080, http://127.0.0.1:8081]
outbound:
  - listen: http://127.0.0.1:15001
    services: {stock: {address: http://10.0.0.7:9000}}
commands: {identify: {name: /command}}
";
    let plan = config::parse("fourmi.yaml", text, &[]).expect("it is valid").plan;
    let ask = |request: &[&str], headers: &[&str]| {
        let own = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        explain::explain(&plan, &own(request), &own(headers))
    };
    let stock = ask(&["http://stock.service.fourmi/items"], &[]).expect("a URL").json(&plan);
    assert_eq!((&stock["direction"], &stock["instances"][0]), (&"outbound".into(), &"http://10.0.0.7:9000".into()));
    assert_eq!(stock["listener"], "http://127.0.0.1:15001");
    let pay = ask(&["post", "/pay"], &["Fourmi-Command: pay"]).expect("a path").json(&plan);
    assert_eq!(
        (&pay["service"], &pay["command"]["name"], &pay["method"]),
        (&"payment".into(), &"pay".into(), &"POST".into())
    );
    assert_eq!(pay["instances"].as_array().map(Vec::len), Some(2));
    let direct = ask(&["http://127.0.0.1:25001/pay"], &[]).expect("a URL");
    assert!(
        direct.served() && direct.text(&plan).contains("what stands at /command in the body"),
        "{}",
        direct.text(&plan)
    );
    let nobody = ask(&["/x"], &["host: bank.service.fourmi"]).expect("a path");
    assert!(!nobody.served() && nobody.text(&plan).contains("known: stock"));
    assert!(stock["delivery"]["stored"] == false && direct.text(&plan).contains("nothing can be stored"));
    assert!(ask(&["http://["], &[]).is_err() && ask(&["/x"], &["nonsense"]).is_err());
}
