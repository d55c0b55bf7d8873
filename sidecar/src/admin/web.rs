//! The page's style sheet and scripts: packed when Fourmi is built (build.rs), named by what is in them, so a browser
//! asks once.

use super::answer::{Answer, make};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, header};
use std::io::Read as _;

/// One file.
pub(super) struct Asset {
    name: &'static str,
    kind: &'static str,
    packed: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/web.rs"));

/// Where a file is found. The folder's name is that of everything in it, as the scripts ask for each other.
pub(super) fn path(name: &str) -> String {
    format!("/eyes/{HASH}/{name}")
}

/// The file at a path; also of another build, as long as it has one of that name.
pub(super) fn asset(path: &str) -> Option<&'static Asset> {
    let (_, name) = path.strip_prefix("/eyes/")?.split_once('/')?;
    ASSETS.iter().find(|asset| asset.name == name)
}

/// The file, or that it is still the same.
pub(super) fn answer(head: &Parts, asset: &'static Asset) -> Answer {
    let text = |name: HeaderName| head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let tag = format!("\"{HASH}\"");
    let ours = head.uri.path().starts_with(&format!("/eyes/{HASH}/"));
    let known = text(header::IF_NONE_MATCH).split(',').any(|t| matches!(t.trim(), "*") || t.trim() == tag);
    let packs = text(header::ACCEPT_ENCODING).split(',').any(|word| {
        let (word, q) = word.split_once(';').unwrap_or((word, ""));
        word.trim().eq_ignore_ascii_case("gzip") && !matches!(q.trim(), "q=0" | "q=0.0")
    });
    let mut answer = match (known, packs) {
        (true, _) => make(304, asset.kind, ""),
        (false, true) => make(200, asset.kind, Bytes::from_static(asset.packed)),
        (false, false) => {
            let mut plain = Vec::new();
            // We packed it ourselves.
            let _ = flate2::read::GzDecoder::new(asset.packed).read_to_end(&mut plain);
            make(200, asset.kind, plain)
        }
    };
    let lines = answer.headers_mut();
    // Only under its own name it will never change.
    let kept = if ours { "public, max-age=31536000, immutable" } else { "no-cache" };
    lines.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    lines.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if packs && !known {
        lines.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        lines.insert(header::ETAG, tag);
    }
    answer
}
