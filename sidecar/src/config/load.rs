//! Finds the text and runs it through every step.

use super::keys::ROOT;
use super::kong::{self, KongFile};
use super::overlay::{self, Env};
use super::plan::{Admin, Plan};
use super::problem::{Problem, Problems, Report};
use super::shown::Shown;
use super::source::{Origin, Span};
use super::tree::{self, Node};
use super::{cross, fill, gateway, read, salvage, walk};
use crate::section::Kind;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A configuration is written by hand; this is a hundred times what a large one has.
const FILE_MAX: u64 = 4 << 20;

/// Where to look when nobody says.
const PLACES: [&str; 2] = ["./fourmi.yaml", "/etc/fourmi/fourmi.yaml"];

/// Where the configuration comes from.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The file that was named (`-` for standard input); without it `FOURMI_CONFIG`, `./fourmi.yaml`,
    /// `/etc/fourmi/fourmi.yaml`, and then built-in defaults.
    pub path: Option<PathBuf>,
}

/// A configuration that can be run.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What to do.
    pub plan: Arc<Plan>,
    /// What somebody should look at.
    pub warnings: Vec<Problem>,
    /// Every value that holds, and who gave it.
    pub shown: Shown,
}

/// Finds, reads and checks the configuration, with the process's environment.
///
/// # Errors
/// Every problem at once.
pub fn load(options: &LoadOptions) -> Result<Loaded, Report> {
    let env = environment();
    let Found { name, text, path } = find_within(options, &env, kong::FILE_MAX)?;
    if is_kong(&text) {
        return bare(name, text, path, &env);
    }
    if text.len() as u64 > FILE_MAX {
        return Err(too_large(&name, FILE_MAX));
    }
    build(&name, &text, path, &env)
}

/// A Kong file alone: all else as it is by default.
fn bare(name: String, text: String, path: Option<PathBuf>, env: &Env) -> Result<Loaded, Report> {
    let file = kong::read(&name, text, env)?;
    built(Text { name: "built-in", text: "", path }, Some((name, file)), env)
}

/// A file that is what it should be.
#[derive(Debug)]
pub enum Checked {
    /// A configuration.
    Fourmi(Box<Loaded>),
    /// A Kong declarative file under the name that was given.
    Kong(String, Box<KongFile>),
}

/// The same for a file that may be a Kong declarative file, which is known by its `_format_version`.
///
/// # Errors
/// Every problem at once.
pub fn check(options: &LoadOptions) -> Result<Checked, Report> {
    let env = environment();
    let Found { name, text, path } = find_within(options, &env, kong::FILE_MAX)?;
    if is_kong(&text) {
        let mut file = kong::read(&name, text, &env)?;
        // The environment may say what the file does not.
        let mut said = Node::map(Span::BUILT_IN);
        overlay::overlay(&mut said, &env, &mut Problems::new());
        file.alone.retain(|lack| said.get(&lack.key).is_none());
        return Ok(Checked::Kong(name, Box::new(file)));
    }
    if text.len() as u64 > FILE_MAX {
        return Err(too_large(&name, FILE_MAX));
    }
    build(&name, &text, path, &env).map(|loaded| Checked::Fourmi(Box::new(loaded)))
}

/// Checks a text as if it were a Kong declarative file of that name, with these environment variables and no others.
///
/// # Errors
/// Every problem at once.
pub fn kong(name: &str, text: &str, env: &[(String, String)]) -> Result<KongFile, Report> {
    kong::read(name, text.to_owned(), &env.iter().cloned().collect())
}

/// A text that can't be parsed counts, too, when a line begins with the mark: its mistakes are those of a Kong file.
fn is_kong(text: &str) -> bool {
    let marked = |line: &str| {
        let line = line.trim_start_matches(['{', ' ', '\t', '"', '\'']);
        line.strip_prefix(kong::MARK).is_some_and(|rest| rest.trim_start_matches(['"', '\'', ' ']).starts_with(':'))
    };
    // Hints, which save parsing most files twice.
    if !text.contains(kong::MARK) {
        return false;
    }
    let begins = |line: &str| {
        let line = line.trim_start_matches(['"', '\'']);
        line.strip_prefix(kong::MARK).is_some_and(|rest| rest.trim_start_matches(['"', '\'', ' ']).starts_with(':'))
    };
    // No configuration of ours is as large.
    if text.len() as u64 > FILE_MAX || text.lines().any(begins) {
        return true;
    }
    let mut problems = Problems::new();
    let json = text.trim_start().starts_with('{');
    let text = if json { text.replace('\t', " ") } else { text.to_owned() };
    let source = problems.sources.add("", text.as_str(), Origin::File);
    match tree::parse_within(source, &kong::LIMITS, &mut problems) {
        Some(root) => kong::is(&root),
        None => text.lines().any(marked),
    }
}

/// What a configuration with mistakes still says for certain about the admin listener (none inside: it is switched
/// off). Nothing when there is a doubt, or when the text cannot be read a second time.
pub fn salvaged_admin(options: &LoadOptions) -> Option<Option<Admin>> {
    let env = environment();
    if named(options, &env).is_some_and(|p| p.as_os_str() == "-") {
        return None;
    }
    let found = find_within(options, &env, kong::FILE_MAX).ok()?;
    // A Kong file never says it, so that its mistakes leave no doubt.
    let text = if is_kong(&found.text) { "" } else { found.text.as_str() };
    if text.len() as u64 > FILE_MAX {
        return None;
    }
    salvage::admin(&found.name, text, &env)
}

fn environment() -> Env {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// A text that is to be a configuration.
struct Found {
    name: String,
    text: String,
    path: Option<PathBuf>,
}

/// What the flag or the environment names.
fn named(options: &LoadOptions, env: &Env) -> Option<PathBuf> {
    options.path.clone().or_else(|| env.get("FOURMI_CONFIG").filter(|p| !p.is_empty()).map(PathBuf::from))
}

fn find_within(options: &LoadOptions, env: &Env, max: u64) -> Result<Found, Report> {
    let path = named(options, env).or_else(|| PLACES.iter().map(PathBuf::from).find(|p| p.exists()));
    match path {
        None => Ok(Found { name: "built-in".into(), text: String::new(), path: None }),
        Some(path) if path.as_os_str() == "-" => {
            let text = text_of(std::io::stdin().lock(), "-", max)?;
            Ok(Found { name: "-".into(), text, path: None })
        }
        Some(path) => {
            // What the user typed is what the messages say.
            let name = path.strip_prefix("./").unwrap_or(&path).display().to_string();
            let file = std::fs::File::open(&path).map_err(|e| unopened(&path, &name, &e))?;
            let text = text_of(file, &name, max)?;
            Ok(Found { name, text, path: Some(path) })
        }
    }
}

/// Checks a text as if it were a file of that name, with these environment variables and no others.
///
/// # Errors
/// Every problem at once.
pub fn parse(name: &str, text: &str, env: &[(String, String)]) -> Result<Loaded, Report> {
    let env = env.iter().cloned().collect();
    match is_kong(text) {
        true => bare(name.to_owned(), text.to_owned(), None, &env),
        false => build(name, text, None, &env),
    }
}

fn unopened(path: &Path, name: &str, error: &std::io::Error) -> Report {
    let (code, fix) = match error.kind() {
        std::io::ErrorKind::NotFound => ("no-file", "name another with --config, or write one: `fourmi init`"),
        std::io::ErrorKind::PermissionDenied => ("unreadable", "let this user read it"),
        _ if path.is_dir() => ("unreadable", "name the file inside the directory"),
        _ => ("unreadable", "look at the file"),
    };
    Report { problems: vec![Problem::of_file(name, code, format!("can't open it: {error}"), fix)] }
}

fn too_large(name: &str, max: u64) -> Report {
    let message = format!("the file is larger than {max} bytes");
    Report { problems: vec![Problem::of_file(name, "too-large", message, "is it the right file?")] }
}

pub(super) fn text_of(from: impl std::io::Read, name: &str, max: u64) -> Result<String, Report> {
    let report =
        |code, message: String, fix| Err(Report { problems: vec![Problem::of_file(name, code, message, fix)] });
    let mut bytes = Vec::new();
    if let Err(error) = from.take(max + 1).read_to_end(&mut bytes) {
        let fix =
            if error.kind() == std::io::ErrorKind::IsADirectory { "name the file inside it" } else { "look at it" };
        return report("unreadable", format!("can't read it: {error}"), fix);
    }
    if bytes.len() as u64 > max {
        return Err(too_large(name, max));
    }
    match String::from_utf8(bytes) {
        // A byte order mark is what some editors leave; it would count as a column.
        Ok(text) => Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
        Err(error) => {
            let line =
                error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|b| **b == b'\n').count() + 1;
            report("unreadable", format!("line {line} is not UTF-8"), "save the file as UTF-8")
        }
    }
}

fn build(name: &str, text: &str, path: Option<PathBuf>, env: &Env) -> Result<Loaded, Report> {
    built(Text { name, text, path }, None, env)
}

/// A text that is a configuration of ours.
struct Text<'a> {
    name: &'a str,
    text: &'a str,
    path: Option<PathBuf>,
}

/// Puts a configuration together. `kong` is a Kong file that was read already, and its name.
fn built(of: Text<'_>, kong: Option<(String, KongFile)>, env: &Env) -> Result<Loaded, Report> {
    let mut problems = Problems::new();
    let source = problems.sources.add(of.name, of.text, Origin::File);
    let hostname = hostname();
    let mut plan = None;
    if let Some(mut root) = tree::parse(source, &mut problems) {
        if root.value == tree::Value::Null {
            root = Node::map(Span { source, start: 0, end: 0 });
        }
        // A Kong file has templates of its own.
        let inline = gateway::inline(&mut root);
        overlay::interpolate(&mut root, env, &mut problems);
        overlay::overlay(&mut root, env, &mut problems);
        if let Some((name, _)) = &kong {
            root.set("gateway", Span::BUILT_IN, Node::scalar(name.as_str(), Span::BUILT_IN));
        }
        walk::walk(&mut root, &Kind::Section(ROOT), "", &mut problems);
        let given = kong.map(|(_, file)| file);
        let gateway = gateway::read(&mut root, inline, given, of.path.as_deref(), env, &mut problems);
        // Before the share that holds by default is filled in.
        let traces = root.get("traces").is_some_and(|t| t.get("sample").is_some());
        fill::fill(&mut root, &hostname, &mut problems);
        read::beside(&mut root, of.path.as_deref());
        cross::cross(&root, gateway.as_ref(), &mut problems);
        let mut sinks = gateway.as_ref().map(|g| g.sinks.clone()).unwrap_or_default();
        let mut read = read::read(&root, of.path, gateway);
        sinks.join(gateway::outbound(&root, &mut read.outbound, env, &mut problems));
        read.tell(sinks, traces);
        plan = Some((read, root));
    }
    let failed = problems.failed();
    let (list, sources) = problems.into_list();
    match plan {
        Some((plan, root)) if !failed => {
            Ok(Loaded { plan: Arc::new(plan), warnings: list, shown: Shown::new(root, sources) })
        }
        _ => Err(Report { problems: list }),
    }
}

/// The machine's or container's name, from the kernel.
fn hostname() -> String {
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    let name = name.unwrap_or_default();
    match name.trim() {
        "" => std::env::var("HOSTNAME").unwrap_or_else(|_| "localhost".into()),
        name => name.to_owned(),
    }
}
