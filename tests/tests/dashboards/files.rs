//! The committed files are what the source makes.

use super::{below, folder, generate};

#[test]
fn dashboards_and_alerts_are_what_their_source_makes() {
    let fresh = tempfile::TempDir::with_prefix("dashboards-").unwrap();
    generate(fresh.path());
    let (made, mut committed) = (below(fresh.path()), below(&folder()));
    let how = "run NODE_PATH=tests/.peers/node_modules node dashboards/source/build.js dashboards";
    for (name, text) in &made {
        let found = committed.remove(name);
        assert!(found.as_ref() == Some(text), "dashboards/{name} is not what dashboards/source makes: {how}");
    }
    // What is left was written by hand, or has been forgotten by the source.
    committed.retain(|name, _| !["source/", "web/"].iter().any(|folder| name.starts_with(folder)));
    let by_hand: Vec<&String> = committed.keys().collect();
    assert_eq!(by_hand, ["README.md"], "dashboards/source makes no such file (any more)");
    println!("{} files are what dashboards/source makes", made.len());
}
