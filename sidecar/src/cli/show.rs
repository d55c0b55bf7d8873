//! Subcommands that only print or write: validate, init, config show, schema, env, explain, version, man.

use super::args::{Cli, Global, Output};
use super::client::Target;
use super::{explain, explain_kong, out, upstreams};
use crate::config::{self, Checked, GatewayPlan, LoadOptions, Loaded, Plan, Report, Severity};
use crate::exchange::Identity;
use clap::CommandFactory as _;
use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A report to the right place in the right form; its exit code.
pub(crate) fn report(report: &Report, global: &Global) -> u8 {
    if global.json() {
        out::json(&report.json());
    } else {
        out::note(&report.render(out::colored(global.color)));
        let errors = report.problems.iter().filter(|p| p.severity == config::Severity::Error).count();
        if errors > 1 {
            out::note(&format!("{errors} errors"));
        }
    }
    report.exit()
}

fn load(global: &Global) -> Result<Loaded, u8> {
    config::load(&LoadOptions { path: global.config.clone() }).map_err(|r| report(&r, global))
}

pub(crate) fn validate(global: &Global, file: Option<PathBuf>, deny_warnings: bool) -> u8 {
    let (warnings, words) = match config::check(&LoadOptions { path: file.or_else(|| global.config.clone()) }) {
        Ok(Checked::Fourmi(loaded)) => {
            let name = loaded.plan.origin.as_ref().map_or("the configuration".into(), |p| p.display().to_string());
            (loaded.warnings, format!("{name} is valid\n"))
        }
        Ok(Checked::Kong(name, file)) => {
            let words = match file.summary().as_str() {
                "" => format!("{name} is valid and holds nothing\n"),
                summary => format!("{name}: {summary} is valid\n"),
            };
            let all = [file.warnings, file.alone].concat();
            if all.iter().any(|p| p.severity == Severity::Error) {
                return report(&Report { problems: all }, global);
            }
            (all, words)
        }
        Err(problems) => return report(&problems, global),
    };
    let warnings = Report { problems: warnings };
    let denied = deny_warnings && !warnings.problems.is_empty();
    if global.json() {
        out::json(&warnings.json());
    } else {
        if !warnings.problems.is_empty() {
            out::note(&warnings.render(out::colored(global.color)));
        }
        if !denied && !global.quiet {
            out::result(&words);
        }
    }
    if denied { 78 } else { 0 }
}

pub(crate) fn init(global: &Global, stdout: bool, force: bool) -> u8 {
    let text = config::starter();
    let path = global.config.clone().unwrap_or_else(|| "fourmi.yaml".into());
    if stdout || path.as_os_str() == "-" {
        return out::result(&text);
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true);
    match force {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    let shown = path.display();
    match options.open(&path).and_then(|mut f| f.write_all(text.as_bytes())) {
        Ok(()) => {
            out::result(&format!("{shown}\n"));
            if !global.quiet {
                out::note(&format!("next: edit it, then `fourmi validate {shown}` and `fourmi run -c {shown}`"));
            }
            0
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            out::note(&format!("error: {shown} is there already\nhint: --force replaces it, --stdout prints instead"));
            1
        }
        Err(error) => cannot_write(&path, &error),
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> u8 {
    out::note(&format!("error: can't write {}: {error}", path.display()));
    if error.kind() == std::io::ErrorKind::PermissionDenied { 77 } else { 73 }
}

pub(crate) fn config_show(global: &Global) -> u8 {
    match load(global) {
        Err(code) => code,
        Ok(loaded) if global.json() => out::json(&loaded.shown.json()),
        Ok(loaded) => out::result(&loaded.shown.yaml()),
    }
}

pub(crate) fn env(global: &Global) -> u8 {
    match global.json() {
        true => out::json(&config::environment_json()),
        false => out::result(&config::environment()),
    }
}

pub(crate) fn explain(global: &Global, target: &Target, request: &[String], headers: &[String]) -> u8 {
    let loaded = match config::check(&LoadOptions { path: global.config.clone() }) {
        Ok(Checked::Fourmi(loaded)) => loaded,
        Ok(Checked::Kong(_, file)) => {
            return explain_with_kong(global, (&file.plan, None), &unnamed(), request, headers);
        }
        Err(problems) => return report(&problems, global),
    };
    if let Some(gateway) = &loaded.plan.gateway
        && !explain::is_outbound(&loaded.plan, request, headers)
    {
        return explain_with_kong(global, (gateway, Some(&loaded.plan)), &loaded.plan.identity, request, headers);
    }
    match explain::explain(&loaded.plan, request, headers) {
        Err(message) => {
            out::note(&format!("error: {message}"));
            2
        }
        Ok(explained) => {
            // What only a running one knows: which instance it would be, and whom its registry knows.
            let now = explained
                .served()
                .then(|| upstreams::explained(target, explained.service(), explained.target(), headers))
                .flatten();
            let unknown = now.as_ref().is_some_and(serde_json::Value::is_null);
            let code = match global.json() {
                true => {
                    let mut all = explained.json(&loaded.plan);
                    all["now"] = now.unwrap_or(serde_json::Value::Null);
                    out::json(&all)
                }
                false => {
                    let live = match &now {
                        Some(now) if now.is_null() => {
                            format!("{:<10} the running Fourmi knows no service of that name\n", "now")
                        }
                        Some(now) => upstreams::explained_text(now),
                        None => format!("{:<10} no running Fourmi was asked: none answers\n", "now"),
                    };
                    out::result(&(explained.text(&loaded.plan) + &live))
                }
            };
            if code == 0 && (!explained.served() || unknown) { 1 } else { code }
        }
    }
}

/// The same of a plan that runs, for its page.
pub(crate) fn explained(plan: &Plan, request: &[String], headers: &[String]) -> Result<serde_json::Value, String> {
    match &plan.gateway {
        Some(gateway) if !explain::is_outbound(plan, request, headers) => {
            Ok(explain_kong::explain(gateway, &plan.identity, request, headers)?.json(Some(plan)))
        }
        _ => Ok(explain::explain(plan, request, headers)?.json(plan)),
    }
}

/// For a Kong file that is run by nobody yet.
fn unnamed() -> Arc<Identity> {
    let word: Arc<str> = "fourmi".into();
    Arc::new(Identity { service: word.clone(), env: word.clone(), hostname: word, tags: Vec::new() })
}

fn explain_with_kong(
    global: &Global,
    (gateway, plan): (&GatewayPlan, Option<&Plan>),
    identity: &Arc<Identity>,
    request: &[String],
    headers: &[String],
) -> u8 {
    match explain_kong::explain(gateway, identity, request, headers) {
        Err(message) => {
            out::note(&format!("error: {message}"));
            2
        }
        Ok(explained) => {
            let code = match global.json() {
                true => out::json(&explained.json(plan)),
                false => out::result(&explained.text(plan)),
            };
            if code == 0 && !explained.served() { 1 } else { code }
        }
    }
}

pub(crate) fn version(global: &Global) -> u8 {
    let version = env!("CARGO_PKG_VERSION");
    match global.output {
        _ if global.json() => out::json(&json!({ "name": "fourmi", "version": version })),
        Some(Output::Yaml) => out::result(&format!("name: fourmi\nversion: {version}\n")),
        _ => out::result(&format!("fourmi {version}\n")),
    }
}

pub(crate) fn completion(shell: clap_complete::Shell) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "fourmi", &mut script);
    out::result(&String::from_utf8_lossy(&script))
}

pub(crate) fn man(directory: Option<&Path>) -> u8 {
    let mut command = Cli::command();
    command.build();
    let Some(directory) = directory else {
        let mut page = Vec::new();
        return match clap_mangen::Man::new(command).render(&mut page) {
            Ok(()) => out::result(&String::from_utf8_lossy(&page)),
            Err(error) => cannot_write(Path::new("-"), &error),
        };
    };
    match pages(&command, "fourmi", directory) {
        Ok(()) => 0,
        Err(error) => cannot_write(directory, &error),
    }
}

fn pages(command: &clap::Command, name: &str, directory: &Path) -> std::io::Result<()> {
    let mut page = Vec::new();
    // clap wants names that live as long as the program; the few of a manual do.
    let title: &'static str = Box::leak(name.to_owned().into_boxed_str());
    clap_mangen::Man::new(command.clone().name(title)).render(&mut page)?;
    std::fs::write(directory.join(format!("{name}.1")), page)?;
    for sub in command.get_subcommands().filter(|s| !s.is_hide_set() && s.get_name() != "help") {
        pages(sub, &format!("{name}-{}", sub.get_name()), directory)?;
    }
    Ok(())
}
