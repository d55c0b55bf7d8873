//! Scripts of `tests/peers`, on the libraries of PyPI and npm.

use super::{peers_folder, program, python_program, run_within};
use std::path::Path;
use std::process::Command;

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

#[track_caller]
fn printed(command: &mut Command) -> String {
    String::from_utf8(run_within("a script", command).stdout).unwrap()
}

/// What a script prints on the Python of the peers; it must succeed.
#[track_caller]
pub fn python_prints(name: &str, arguments: &[&str]) -> String {
    printed(Command::new(python_program("python")).arg(script(name)).args(arguments))
}

/// The same with a package that cannot stand beside the others, in a folder of its own.
#[track_caller]
pub fn python_prints_with(package: &str, name: &str, arguments: &[&str]) -> String {
    let folder = peers_folder(package).join(package);
    let mut command = Command::new(python_program("python"));
    printed(command.arg(script(name)).args(arguments).env("PYTHONPATH", folder))
}

/// What a script prints on node, with a package of npm; it must succeed.
#[track_caller]
pub fn node_prints(name: &str, package: &str) -> String {
    let modules = peers_folder(&format!("node_modules/{package}")).join("node_modules");
    printed(Command::new(program("node")).arg(script(name)).env("NODE_PATH", modules))
}

/// What a script prints on node, with all that npm has installed; it must succeed.
#[track_caller]
pub fn node_prints_with(name: &str, arguments: &[&str]) -> String {
    let modules = peers_folder("node_modules").join("node_modules");
    printed(Command::new(program("node")).arg(script(name)).args(arguments).env("NODE_PATH", modules))
}

/// A script on the Python of the peers.
pub(super) fn python(name: &str) -> Command {
    let mut command = Command::new(python_program("python"));
    command.arg(script(name));
    command
}

/// A script on node, with all that npm has installed.
pub(super) fn node(name: &str) -> Command {
    let modules = peers_folder("node_modules").join("node_modules");
    let mut command = Command::new(program("node"));
    command.arg(script(name)).env("NODE_PATH", modules);
    command
}

/// A script on PHP.
pub(super) fn php(name: &str) -> Command {
    let mut command = Command::new(program("php"));
    command.arg(script(name));
    command
}
