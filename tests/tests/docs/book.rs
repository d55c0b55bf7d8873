//! The book: mdBook builds it, and every page is in it.

use super::{pages, root, text};
use fourmi_tests::peers;
use std::process::Command;

#[test]
fn mdbook_builds_the_book_of_all_pages() {
    let summary = text("docs/SUMMARY.md");
    for name in pages().keys().filter_map(|name| name.strip_prefix("docs/")) {
        // Decisions are for those who change Fourmi.
        if !name.starts_with("decisions/") && name != "SUMMARY.md" {
            assert!(summary.contains(&format!("]({name})")), "docs/{name} is not in docs/SUMMARY.md");
        }
    }
    let made = tempfile::TempDir::new().unwrap();
    let mut command = Command::new(peers::mdbook());
    command.args(["build", "docs", "--dest-dir"]).arg(made.path()).current_dir(root());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("WARN") && !said.contains("ERROR"), "{said}");
    for name in summary.split("](").skip(1).map(|rest| rest.split(".md)").next().unwrap()) {
        let page = std::fs::read_to_string(made.path().join(name).with_extension("html")).unwrap();
        assert!(page.contains("<h1"), "{name}.html is empty");
        // Nothing of the repository is beside the book: such links go to the repository.
        assert!(!page.contains("href=\"../"), "{name}.html links out of the book");
    }
}
