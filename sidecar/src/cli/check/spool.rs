//! Where stored commands are kept: whether we may write there, and whether it outlives us.

use super::line::{Line, SPOOL};
use crate::config::Plan;
use crate::spool;
use std::path::Path;

pub(super) fn lines(plan: &Plan) -> Vec<Line> {
    plan.spool.iter().map(|settings| one(&settings.path)).collect()
}

fn one(folder: &Path) -> Line {
    let subject = folder.display().to_string();
    // What is not there yet is made at the start: the nearest folder that is has to let us.
    let there = std::path::absolute(folder).ok().and_then(|f| f.ancestors().find(|a| a.exists()).map(Path::to_owned));
    let there = there.unwrap_or_else(|| folder.to_owned());
    let mode = nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK;
    if !there.is_dir() {
        return SPOOL.failed(subject, format!("{} is no folder: set spool.path to another one", there.display()));
    }
    if let Err(error) = nix::unistd::access(&there, mode) {
        let fix = "give the user that runs Fourmi the right to write there, or set spool.path";
        return SPOOL.failed(subject, format!("{}: {}; {fix}", there.display(), error.desc()));
    }
    match spool::kind_of_disk(folder) {
        Some(kind) => SPOOL
            .warning(subject, format!("it is on {kind}, which does not outlive the container: mount a volume there")),
        None => SPOOL.ok(subject, "it can be written"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::Mark;
    use super::*;

    #[test]
    fn a_folder_must_be_writable_and_last() {
        assert_eq!(one(Path::new("/dev/null/spool")).mark, Mark::Failed);
        let shared = Path::new("/dev/shm/fourmi-no-such-folder");
        let line = one(shared);
        assert_eq!(line.mark, Mark::Warning, "{}", line.detail);
        assert!(line.detail.contains("tmpfs") && line.detail.contains("mount a volume"), "{}", line.detail);
    }
}
