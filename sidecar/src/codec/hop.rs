//! Header lines that belong to one connection only (RFC 9110, 7.6.1).

use crate::exchange::Headers;

/// Lines that end here whether `Connection` names them or not. `Expect` is answered by us.
const OURS: [&str; 7] =
    ["connection", "keep-alive", "proxy-connection", "proxy-authorization", "transfer-encoding", "upgrade", "expect"];

/// Lines that `Connection` may not take away: without them the message means something else.
fn kept(name: &str) -> bool {
    matches!(name, "host" | "content-length" | "content-type" | "authorization" | "cookie" | "te" | "trailer")
}

/// Takes the lines of this hop out. With `keep_upgrade`, the request for another protocol goes on to the next.
pub fn hop_by_hop(headers: &mut Headers, keep_upgrade: bool) {
    let upgrade = if keep_upgrade { headers.get_bytes("upgrade").map(<[u8]>::to_vec) } else { None };
    if headers.contains("connection") {
        let named: Vec<String> = headers
            .get_all("connection")
            .filter_map(|v| std::str::from_utf8(v).ok())
            .flat_map(|v| v.split(','))
            .map(|n| n.trim().to_ascii_lowercase())
            .filter(|n| !n.is_empty() && !kept(n))
            .collect();
        for name in named {
            headers.remove(&name);
        }
    }
    for name in OURS {
        headers.remove(name);
    }
    if headers.contains("te") {
        let trailers = headers
            .get_all("te")
            .filter_map(|v| std::str::from_utf8(v).ok())
            .flat_map(|v| v.split(','))
            .any(|v| v.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("trailers"));
        if trailers {
            headers.set("te", "trailers");
        } else {
            headers.remove("te");
        }
    }
    if let Some(protocol) = upgrade {
        headers.set("connection", "upgrade");
        headers.set("upgrade", protocol);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lines: &[(&'static str, &str)], keep: bool) -> Vec<String> {
        let mut headers = Headers::default();
        for (name, value) in lines {
            assert!(headers.append(name, value));
        }
        hop_by_hop(&mut headers, keep);
        headers.iter().map(|(n, v)| format!("{n}: {}", String::from_utf8_lossy(v))).collect()
    }

    #[test]
    fn what_belongs_to_the_hop_ends_here() {
        for (lines, keep, left) in [
            (vec![("host", "a"), ("connection", "close")], false, vec!["host: a"]),
            (vec![("connection", "X-Secret, keep-alive"), ("x-secret", "1"), ("a", "b")], false, vec!["a: b"]),
            (
                vec![("connection", "host, content-length"), ("host", "a"), ("content-length", "2")],
                false,
                vec!["host: a", "content-length: 2"],
            ),
            (vec![("te", "gzip, Trailers;q=1")], false, vec!["te: trailers"]),
            (vec![("te", "gzip")], false, vec![]),
            (vec![("transfer-encoding", "chunked"), ("expect", "100-continue"), ("a", "b")], false, vec!["a: b"]),
            (
                vec![("connection", "Upgrade"), ("upgrade", "websocket")],
                true,
                vec!["connection: upgrade", "upgrade: websocket"],
            ),
            (vec![("connection", "Upgrade"), ("upgrade", "websocket")], false, vec![]),
        ] {
            assert_eq!(after(&lines, keep), left, "{lines:?}");
        }
    }
}
