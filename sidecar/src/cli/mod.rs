//! The command line: what was asked, who does it, and the exit code.
//!
//! Codes: 0 done, 1 the asked thing failed, 2 wrong usage, 66 no such file, 69 admin listener not reachable,
//! 70 a bug, 73 can't create a file, 75 try again, 77 no permission, 78 configuration invalid, 130 forced by a
//! second Ctrl-C; with `run -- CMD` the worker's.

mod args;
mod cert;
mod check;
pub mod client;
mod explain;
mod explain_delivery;
mod explain_kong;
mod gateway;
mod generate;
mod kv;
mod log;
mod out;
mod registry;
mod screen;
mod show;
mod spool;
mod tap;
mod top;
mod upstreams;

use crate::config::LoadOptions;
use args::{Cli, Color, Command, ConfigCommand, DemoWith, UpstreamsCommand};
use clap::{CommandFactory as _, FromArgMatches as _};
use std::ffi::OsString;
use std::process::ExitCode;

/// Parses the process's arguments and does what they say.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let code = std::panic::catch_unwind(|| run(arguments)).unwrap_or_else(|_| {
        out::note("this is a bug in Fourmi; please report it: https://github.com/fourmi-proxy/fourmi/issues");
        70
    });
    ExitCode::from(code)
}

/// Does what a command line says (the program's name first); the exit code.
pub fn run(arguments: Vec<OsString>) -> u8 {
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let global = cli.global;
    let load = LoadOptions { path: global.config.clone() };
    let target = || client::Target { admin: global.admin.clone(), load: load.clone(), json: global.json() };
    let Some(command) = cli.command else { return out::result(&short_help()) };
    match command {
        Command::Run { command } => {
            log::begin(&global);
            let said = crate::runtime::Said { check: Some(check::inside), explain: Some(show::explained) };
            crate::runtime::run(crate::runtime::Options { load, command, quiet: global.quiet, said })
        }
        Command::Demo { duration, rate, with } => {
            log::begin(&global);
            crate::demo::run(crate::demo::Options { duration, rate, php: with == Some(DemoWith::Php) })
        }
        Command::DemoPart { arguments } => crate::demo::part(arguments),
        Command::DemoWorker { arguments } => {
            crate::demo::part(std::iter::once("worker".to_owned()).chain(arguments).collect())
        }
        Command::Validate { file, deny_warnings } => show::validate(&global, file, deny_warnings),
        Command::Health { wait, live, ready: _ } => client::health(&target(), wait, live),
        Command::Check { pre, wait } => check::check(&target(), &global, pre, wait),
        Command::Reload => client::reload(&target()),
        Command::Drain { wait, timeout } => client::drain(&target(), wait, timeout),
        Command::Stop => client::stop(&target()),
        Command::Init { stdout, force } => show::init(&global, stdout, force),
        Command::Config { command: ConfigCommand::Show } => show::config_show(&global),
        Command::Schema => out::json(&crate::config::schema()),
        Command::Env => show::env(&global),
        Command::Cert { command } => cert::cert(&global, command),
        Command::Explain { request, headers } => show::explain(&global, &target(), &request, &headers),
        Command::Upstreams { command: None } => upstreams::list(&global, &target()),
        Command::Upstreams { command: Some(UpstreamsCommand::Set { state, service, instance }) } => {
            upstreams::set(&global, &target(), state, &service, instance.as_deref())
        }
        Command::Services { name, registry } => registry::services(&global, &load, &registry, name.as_deref()),
        Command::Members { registry } => registry::members(&global, &load, &registry),
        Command::Resolve { name, registry } => registry::resolve(&global, &load, &registry, &name),
        Command::Register(given) => registry::register(&global, &load, &given),
        Command::Deregister { id, registry } => registry::deregister(&load, &registry, &id),
        Command::Kv { command } => kv::kv(&global, &load, &command),
        Command::Consumers { name } => gateway::consumers(&global, &target(), name.as_deref()),
        Command::Limits => gateway::limits(&global, &target()),
        Command::Tap(args) => tap::tap(&global, &target(), &args),
        Command::Top => top::top(&global, &target()),
        Command::Spool { command } => spool::spool(&global, &target(), command.as_ref()),
        Command::Generate { what, folder, force } => generate::generate(&global, what, &folder, force),
        Command::Version => show::version(&global),
        Command::Completion { shell } => show::completion(shell),
        Command::Man { directory } => show::man(directory.as_deref()),
    }
}

/// The error is the exit code; clap has printed what there was to say (help to standard output with 0, usage
/// errors to standard error with 2).
fn parse(arguments: Vec<OsString>) -> Result<Cli, u8> {
    let matches = Cli::command().color(early_color(&arguments)).try_get_matches_from(arguments);
    matches.and_then(|m| Cli::from_arg_matches(&m)).map_err(|error| {
        // A reader that has gone away is no failure.
        let _ = error.print();
        u8::try_from(error.exit_code()).unwrap_or(2)
    })
}

/// `--color` must be known before clap says what is wrong with the rest.
fn early_color(arguments: &[OsString]) -> clap::ColorChoice {
    let ours = arguments.iter().take_while(|a| *a != "--");
    let words: Vec<&str> = ours.filter_map(|a| a.to_str()).collect();
    let value = words.iter().enumerate().find_map(|(i, word)| match word.strip_prefix("--color")? {
        "" => words.get(i + 1).copied(),
        rest => rest.strip_prefix('='),
    });
    match value.and_then(|v| <Color as clap::ValueEnum>::from_str(v, true).ok()) {
        Some(Color::Always) => clap::ColorChoice::Always,
        Some(Color::Never) => clap::ColorChoice::Never,
        _ => clap::ColorChoice::Auto,
    }
}

fn short_help() -> String {
    let mut command = Cli::command();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let usage = command.render_usage();
    format!(
        "{about}\n\n{usage}\n\nExamples:\n  fourmi demo                                  see it work, nothing to install\n  \
         fourmi run -c fourmi.yaml -- php worker.php  stand beside a worker\n\n\
         `fourmi --help` lists everything.\n"
    )
}

#[cfg(test)]
mod tests;
