//! `discovery.entries`: SkyDNS's entries, as its store tells them.

use crate::section::Wrong;
use fourmi_discovery::Record;
use std::io::Read as _;
use std::path::Path;

/// Bytes of such a file.
const FILE_MAX: u64 = 64 << 20;
/// SkyDNS keeps its settings among its entries.
const SETTINGS: &str = "config";

/// Reads what `etcdctl get --prefix /skydns` printed: a line with a key, a line with its value.
pub(super) fn read(path: &Path, prefix: &str) -> Result<Vec<(String, Record)>, Wrong> {
    let wrong = |message: String| Wrong::new(message, "write what `etcdctl get --prefix /skydns` prints").of("entries");
    let cannot = |e: std::io::Error| wrong(format!("can't read {}: {e}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    let read = file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(cannot)?;
    if read as u64 > FILE_MAX {
        return Err(wrong(format!("{} is larger than {} MiB", path.display(), FILE_MAX >> 20)));
    }
    entries(&text, prefix).map_err(|(line, why)| wrong(format!("{}:{line}: {why}", path.display())))
}

/// The entries of a text, or the line that is wrong, and why.
fn entries(text: &str, prefix: &str) -> Result<Vec<(String, Record)>, (usize, String)> {
    let mut all = Vec::new();
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    while let Some((at, key)) = lines.next() {
        let at = at + 1;
        let key = key.trim();
        let rest = key.strip_prefix('/').and_then(|k| k.strip_prefix(prefix.trim_matches('/')));
        let name = match (rest, Record::name(prefix, key)) {
            (Some(rest), _) if rest.trim_matches('/') == SETTINGS => None,
            (_, Some(name)) => Some(name),
            (_, None) => return Err((at, format!("`{key}` is no key under /{}", prefix.trim_matches('/')))),
        };
        let Some((line, value)) = lines.next() else { return Err((at, format!("`{key}` has no value"))) };
        if let Some(name) = name {
            let record: Record =
                serde_json::from_str(value).map_err(|e| (line + 1, format!("the value of `{key}`: {e}")))?;
            record.check().map_err(|e| (line + 1, format!("the value of `{key}`: {e}")))?;
            all.push((name, record));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_alternate() {
        let text = "/skydns/config\n{\"domain\": \"skydns.local\"}\n\n/skydns/local/skydns/stock/1\n{\"host\":\"10.0.0.1\",\"port\":80}\n\
                    /skydns/local/skydns/txt\n{\"text\":\"hello\"}\n";
        let all = entries(text, "skydns").unwrap();
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["1.stock.skydns.local", "txt.skydns.local"]);
        assert_eq!((all[0].1.port, all[1].1.text.as_str()), (80, "hello"));
        assert_eq!(entries("/app/skydns/local/a\n{}\n", "/app/skydns/").unwrap()[0].0, "a.local");
        for (text, line, says) in [
            ("/other/a\n{}\n", 1, "no key under /skydns"),
            ("/skydns/local/a\n", 1, "no value"),
            ("/skydns/local/a\n{host}\n", 2, "the value of"),
            ("/skydns/local/a\n{\"host\":\"a b\"}\n", 2, "the value of"),
        ] {
            let (at, why) = entries(text, "skydns").unwrap_err();
            assert!(at == line && why.contains(says), "{text:?}: {at} {why}");
        }
    }
}
