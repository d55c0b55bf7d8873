//! The admin listener's token and peers.

use super::{bad, good};
use crate::config::Fellow;

#[test]
fn peers_are_named_shortly_or_with_their_token() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "0123456789abcdef\n").unwrap();
    let file = token.display();
    let text = format!(
        "admin:\n  listen: 127.0.0.1:7\n  token_file: {file}\n  read_only: true\n  peers:\n    - http://a\n    \
         - {{address: \"http://[::1]:8/\", token_file: {file}}}\n"
    );
    let loaded = good(&text);
    let admin = loaded.plan.admin.clone().unwrap();
    let fellow = |authority: &str, token_file| Fellow { authority: authority.into(), token_file };
    assert_eq!(admin.peers, [fellow("a:9901", None), fellow("[::1]:8", Some(token.clone()))]);
    assert_eq!((admin.listen.port(), admin.read_only, admin.token_file.as_ref()), (7, true, Some(&token)));
    // The path is shown, what is in it is not.
    let shown = loaded.shown.json().to_string();
    assert!(shown.contains(&file.to_string()) && !shown.contains("0123456789abcdef"), "{shown}");
    let admin = good("").plan.admin.clone().unwrap();
    assert_eq!((admin.peers.len(), admin.read_only, admin.token_file), (0, false, None));
}

#[test]
fn what_could_not_be_asked_is_refused_at_its_place() {
    assert_eq!(bad("admin: {token_file: /no/such/token}"), ["1:21 bad-value"]);
    assert_eq!(bad("admin: {peers: [https://a]}"), ["1:17 bad-value"]);
    assert_eq!(bad("admin: {peers: [\"http://a/api\"]}"), ["1:17 bad-value"]);
    assert_eq!(bad("admin: {peers: [{token_file: /dev/null}]}"), ["1:17 missing-key", "1:30 bad-value"]);
    assert_eq!(bad("admin: {peers: [a], pears: []}"), ["1:17 bad-value", "1:21 unknown-key"]);
    let many = vec!["\"http://a\""; 65].join(", ");
    assert_eq!(bad(&format!("admin: {{peers: [{many}]}}")), ["1:16 bad-value"]);
}
