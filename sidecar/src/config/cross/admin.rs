//! The admin listener's token and peers.

use crate::config::problem::Problems;
use crate::config::tree::Node;
use crate::names::port;
use crate::section::address::Receiver;
use std::path::Path;

/// Peers that one page looks at.
const PEERS_MAX: usize = 64;

pub(super) fn check(root: &Node, problems: &mut Problems) {
    let Some(admin) = root.get("admin") else { return };
    token(admin, "admin.token_file", problems);
    let Some(peers) = admin.get("peers") else { return };
    if peers.items().len() > PEERS_MAX {
        let message = format!("`admin.peers` has {} and may have {PEERS_MAX}", peers.items().len());
        problems.error(peers.span, "bad-value", "admin.peers", message, "name those that commands go to and come from");
    }
    for (i, peer) in peers.items().iter().enumerate() {
        token(peer, &format!("admin.peers[{i}].token_file"), problems);
        let Some(node) = peer.get("address") else { continue };
        let parsed = node.text().and_then(|t| Receiver::parse(t, &["http"], port::ADMIN).ok());
        if let Some(Receiver::Http { path, .. }) = parsed
            && !matches!(path.as_str(), "" | "/")
        {
            let key = format!("admin.peers[{i}].address");
            let message = format!("`{key}` has a path, `{path}`");
            problems.error(node.span, "bad-value", &key, message, "write http://HOST:PORT alone");
        }
    }
}

/// A token's file must be there: without it nobody could ask.
fn token(section: &Node, key: &str, problems: &mut Problems) {
    let Some(node) = section.get("token_file") else { return };
    let Some(path) = node.text() else { return };
    if let Err(e) = crate::token::read(Path::new(path)) {
        problems.error(node.span, "bad-value", key, format!("`{key}`: {path}: {e}"), crate::token::FIX);
    }
}
