//! What is written is true: links lead somewhere, examples can be run, every code has its section, the book builds.

mod blocks;
mod book;
mod codes;
mod links;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every page: those of the root, of `docs/`, and what stands beside examples and dashboards.
fn pages() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    let mut folders = ["docs", "examples", "dashboards"].map(|name| root().join(name)).to_vec();
    for name in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        pages.insert(name.to_owned(), text(name));
    }
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                pages.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(pages.len() > 40, "the pages were not found");
    pages
}

/// A fenced block: its language, the line where it begins, and its text.
struct Block {
    language: String,
    line: usize,
    text: String,
}

/// A page's blocks, and its lines with the blocks' left empty.
fn apart(page: &str) -> (Vec<Block>, Vec<&str>) {
    let (mut blocks, mut prose) = (Vec::new(), Vec::new());
    let mut open: Option<(Block, String, usize)> = None;
    for (i, line) in page.lines().enumerate() {
        let inside = line.trim_start();
        let indent = line.len() - inside.len();
        let ticks = inside.len() - inside.trim_start_matches('`').len();
        match &mut open {
            Some((_, fence, _)) if inside.trim_end() == fence => {
                let (block, ..) = open.take().unwrap();
                blocks.push(block);
                prose.push("");
            }
            Some((block, _, indent)) => {
                block.text.push_str(line.get(*indent..).unwrap_or(inside));
                block.text.push('\n');
                prose.push("");
            }
            None if ticks >= 3 => {
                let language = inside[ticks..].split([',', ' ']).next().unwrap_or_default().to_owned();
                let block = Block { language, line: i + 1, text: String::new() };
                open = Some((block, "`".repeat(ticks), indent));
                prose.push("");
            }
            None => prose.push(line),
        }
    }
    assert!(open.is_none(), "a block that does not end");
    (blocks, prose)
}
