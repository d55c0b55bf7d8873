//! Subcommands that ask a running Fourmi through its admin listener: `health`, `reload`, `drain`, `stop`.
//!
//! Blocking and small on purpose: a container's health check starts this program every few seconds.

use crate::config::{Plan, Report};
use crate::names::port;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use serde_json::Value;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// Done.
const DONE: u8 = 0;
/// It answered, and the answer was no.
const FAILED: u8 = 1;
/// Wrong usage.
const USAGE: u8 = 2;
/// Nobody answered.
const UNREACHABLE: u8 = 69;
/// Not finished in time; trying again may help.
const LATER: u8 = 75;

/// For a connection to stand, and for each read and write.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// A reload reads files and looks names up before it answers.
const RELOAD_PATIENCE: Duration = Duration::from_secs(15);
/// Between two questions while waiting.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of an answer that are read.
const ANSWER_MAX: u64 = 1 << 20;

/// Which Fourmi is asked, and how its answer is shown.
#[derive(Debug)]
pub struct Target {
    /// `--admin`: a URL or `host:port`; None: `FOURMI_ADMIN_URL`, then the configuration, then the default.
    pub admin: Option<String>,
    /// Where the configuration is looked for.
    pub load: crate::config::LoadOptions,
    /// Answers are asked for and printed as JSON.
    pub json: bool,
}

/// Where the admin listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Host name or address (IPv6 in brackets) and port, as in a URL.
    pub(super) authority: String,
    /// Where its token is, if it wants one.
    pub(super) token_file: Option<PathBuf>,
}

/// Why nobody is asked.
#[derive(Debug)]
pub(super) enum Lost {
    /// The address makes no sense.
    Usage(String),
    /// The configuration switches it off.
    Off,
    /// The configuration that would name it cannot be used.
    Config(Report),
}

impl Lost {
    /// Says so; the exit code.
    pub(super) fn tell(&self, json: bool) -> u8 {
        match self {
            Lost::Usage(why) => {
                tell(why);
                USAGE
            }
            Lost::Off => {
                tell("the configuration switches the admin listener off");
                USAGE
            }
            Lost::Config(report) => {
                match json {
                    true => print(&format!("{:#}", report.json())),
                    false => tell(report.render(false).trim_end()),
                }
                tell("so its admin listener is not known: correct it, or name the listener with --admin URL");
                report.exit()
            }
        }
    }
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Answer {
    /// Whether the status says that all went well.
    pub(super) fn good(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// `fourmi health`: 0 when ready (`live`: alive), 1 when not, 69 when nobody answers. With `wait`, asks until it is
/// or the time has passed.
pub fn health(target: &Target, wait: Option<Duration>, live: bool) -> u8 {
    let place = match find(target) {
        Ok(place) => place,
        Err(lost) => return lost.tell(target.json),
    };
    let path = if live { "/livez" } else { "/readyz" };
    let end = wait.map(|wait| Instant::now() + wait);
    if wait.is_some() {
        tell(format_args!("waiting for http://{}{path}", place.authority));
    }
    loop {
        let asked = ask(&place, "GET", path, target.json, PATIENCE);
        if !matches!(&asked, Ok(answer) if answer.good()) && end.is_some_and(|end| Instant::now() < end) {
            sleep(PAUSE);
            continue;
        }
        return match asked {
            Ok(answer) if answer.good() => {
                print(&answer.body);
                DONE
            }
            Ok(answer) => refused(target, &place, path, &answer),
            Err(why) => unreachable(&place, path, &why),
        };
    }
}

/// `fourmi reload`: waits for the outcome; a refused file's problems are printed as `validate` prints them.
pub fn reload(target: &Target) -> u8 {
    change(target, "/api/v1/reload", RELOAD_PATIENCE).map_or_else(|code| code, |_| DONE)
}

/// `fourmi drain`: not ready from now on. With `wait`, returns when no command is in flight, or 75 after `timeout`.
pub fn drain(target: &Target, wait: Option<Duration>, timeout: Duration) -> u8 {
    let place = match change(target, "/api/v1/drain", PATIENCE) {
        Ok(place) => place,
        Err(code) => return code,
    };
    let Some(at_least) = wait else { return DONE };
    // Whoever balances load needs a moment to notice that /readyz says no; until then commands keep coming.
    sleep(at_least);
    let end = Instant::now() + timeout;
    // Between two commands there may be none for an instant, so quiet must last.
    let mut quiet = 0;
    loop {
        let in_flight = match ask(&place, "GET", "/api/v1/status", true, PATIENCE) {
            Ok(answer) if answer.good() => {
                serde_json::from_str::<Value>(&answer.body).ok().and_then(|status| status["in_flight"].as_u64())
            }
            Ok(answer) => return refused(target, &place, "/api/v1/status", &answer),
            Err(why) => return unreachable(&place, "/api/v1/status", &why),
        };
        quiet = if in_flight == Some(0) { quiet + 1 } else { 0 };
        if quiet >= 3 {
            return DONE;
        }
        if Instant::now() >= end {
            let left = in_flight.map_or("an unknown number of".to_owned(), |n| n.to_string());
            tell(format_args!("still {left} commands in flight after {} s", timeout.as_secs_f32()));
            return LATER;
        }
        sleep(PAUSE);
    }
}

/// `fourmi stop`: the graceful stop begins; commands in flight end first.
pub fn stop(target: &Target) -> u8 {
    change(target, "/api/v1/stop", PATIENCE).map_or_else(|code| code, |_| DONE)
}

/// Posts, prints what was said, and returns whom it asked.
fn change(target: &Target, path: &str, patience: Duration) -> Result<Place, u8> {
    let place = find(target).map_err(|lost| lost.tell(target.json))?;
    match ask(&place, "POST", path, target.json, patience) {
        Ok(answer) if answer.good() => {
            print(&answer.body);
            Ok(place)
        }
        Ok(answer) => Err(refused(target, &place, path, &answer)),
        Err(why) => Err(unreachable(&place, path, &why)),
    }
}

/// The body of a good answer, or the exit code.
pub(super) fn answer(target: &Target, method: &str, path: &str) -> Result<String, u8> {
    let place = find(target).map_err(|lost| lost.tell(target.json))?;
    match ask(&place, method, path, true, PATIENCE) {
        Ok(answer) if answer.good() => Ok(answer.body),
        Ok(answer) => Err(refused(target, &place, path, &answer)),
        Err(why) => Err(unreachable(&place, path, &why)),
    }
}

/// The body of a good answer that may be large or late, to a request with a body; or the exit code.
pub(super) fn told(
    target: &Target,
    (method, path, body): (&str, &str, &str),
    most: u64,
    patience: Duration,
) -> Result<String, u8> {
    let place = find(target).map_err(|lost| lost.tell(target.json))?;
    let lines = |token: String| {
        // HTTP/1.0: the answer comes in one piece.
        format!("{method} {path} HTTP/1.0\r\naccept: application/json\r\ncontent-length: {}\r\n{token}", body.len())
    };
    match bearer(&place).and_then(|token| send(&place.authority, &lines(token), body, most, patience)) {
        Ok(Some(answer)) if answer.good() => Ok(answer.body),
        Ok(Some(answer)) => Err(refused(target, &place, path, &answer)),
        Ok(None) => Err(unreachable(&place, path, "the answer is not HTTP; is this the admin port?")),
        Err(why) => Err(unreachable(&place, path, &why)),
    }
}

/// The same for what is only nice to know: nothing is said when there is none.
pub(super) fn quiet_answer(target: &Target, path: &str) -> Option<Answer> {
    ask(&find(target).ok()?, "GET", path, true, PATIENCE).ok()
}

/// The flag, the environment, the configuration, the default.
pub(super) fn find(target: &Target) -> Result<Place, Lost> {
    locate(target, || crate::config::load(&target.load).map(|loaded| loaded.plan))
}

/// The same with a configuration that somebody else may have read already.
pub(super) fn locate(target: &Target, plan: impl FnOnce() -> Result<Arc<Plan>, Report>) -> Result<Place, Lost> {
    let token_file = std::env::var_os("FOURMI_ADMIN_TOKEN_FILE").filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(named) = named(target) {
        return parse(&named).map(|place| Place { token_file, ..place }).map_err(Lost::Usage);
    }
    let admin = match plan() {
        Ok(plan) => plan.admin.clone(),
        // A file with mistakes must not keep anybody from asking the Fourmi that still runs on the old one. But it
        // must be that one: a guess may be another's, which would then be stopped, or be called healthy.
        Err(report) => match crate::config::salvaged_admin(&target.load) {
            None => return Err(Lost::Config(report)),
            Some(admin) => {
                if let Some(admin) = &admin {
                    tell(format_args!(
                        "the configuration has mistakes, see `fourmi validate`; asking {}",
                        admin.listen
                    ));
                }
                admin
            }
        },
    };
    match admin {
        Some(admin) => Ok(Place {
            authority: reachable(admin.listen).to_string(),
            token_file: token_file.or_else(|| admin.token_file.clone()),
        }),
        None => Err(Lost::Off),
    }
}

impl Place {
    /// Whether it is on this machine.
    pub(super) fn is_here(&self) -> bool {
        let host = self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, _)| host);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// What the flag or the environment names.
fn named(target: &Target) -> Option<String> {
    target.admin.clone().or_else(|| std::env::var("FOURMI_ADMIN_URL").ok().filter(|v| !v.is_empty()))
}

/// A listener on every address is asked on loopback.
pub(super) fn reachable(mut at: SocketAddr) -> SocketAddr {
    match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => at.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => at.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    at
}

/// The admin listener of a URL; the scheme and the port may be left out.
fn parse(url: &str) -> Result<Place, String> {
    place(url, "an admin listener", port::ADMIN)
}

/// The host and port of a URL that is to be one of `what`.
pub(super) fn place(url: &str, what: &str, usual: u16) -> Result<Place, String> {
    let wrong = |why: &str| Err(format!("`{url}` is no address of {what}: {why}"));
    let rest = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some(_) => return wrong("it speaks http"),
        None => url,
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#', '@']) {
        return wrong("give host and port only");
    }
    let uri: http::uri::Authority = match authority.parse() {
        Ok(uri) => uri,
        Err(_) => return wrong("write http://HOST:PORT"),
    };
    // The crate takes a port that is no number for none at all.
    if uri.port_u16().is_none() && uri.as_str() != uri.host() {
        return wrong("the port is 1 to 65535");
    }
    Ok(Place { authority: format!("{}:{}", uri.host(), uri.port_u16().unwrap_or(usual)), token_file: None })
}

/// One request on a connection of its own.
pub(super) fn ask(place: &Place, method: &str, path: &str, json: bool, patience: Duration) -> Result<Answer, String> {
    let accept = if json { "application/json" } else { "text/plain" };
    let length = if method == "POST" { "content-length: 0\r\n" } else { "" };
    let lines = format!("{method} {path} HTTP/1.1\r\naccept: {accept}\r\n{length}{}", bearer(place)?);
    let answer = send(&place.authority, &lines, "", ANSWER_MAX, patience)?;
    answer.ok_or_else(|| "the answer is not HTTP; is this the admin port?".to_owned())
}

/// The line that shows the token.
fn bearer(place: &Place) -> Result<String, String> {
    let Some(file) = &place.token_file else { return Ok(String::new()) };
    let token = crate::token::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(format!("authorization: Bearer {token}\r\n"))
}

/// An answer that goes on, behind its head; or one that says why not. Nothing is heard for `silence`: it has gone.
pub(super) fn open(
    place: &Place,
    path: &str,
    silence: Duration,
) -> Result<Result<BufReader<TcpStream>, Answer>, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = connect(&place.authority).map_err(text)?;
    stream.set_read_timeout(Some(silence)).map_err(text)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(text)?;
    // HTTP/1.0: what follows the head is the body as it is, up to its end.
    let lines = format!("GET {path} HTTP/1.0\r\nhost: {}\r\nuser-agent: fourmi\r\n", place.authority);
    stream.write_all(format!("{lines}{}\r\n", bearer(place)?).as_bytes()).map_err(text)?;
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let room = ANSWER_MAX.saturating_sub(head.len() as u64);
        if Read::by_ref(&mut stream).take(room).read_line(&mut head).map_err(text)? == 0 {
            return Err("the answer is not HTTP; is this the admin port?".into());
        }
    }
    match read(head.as_bytes())
        .map(|(status, body)| Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    {
        None => Err("the answer is not HTTP; is this the admin port?".into()),
        Some(answer) if answer.good() => Ok(Ok(stream)),
        Some(mut answer) => {
            let _ = stream.take(ANSWER_MAX).read_to_string(&mut answer.body);
            Ok(Err(answer))
        }
    }
}

/// Sends a request line with header lines, and a body, on a connection of its own. None when the answer is not HTTP.
pub(super) fn send(
    authority: &str,
    lines: &str,
    body: &str,
    most: u64,
    patience: Duration,
) -> Result<Option<Answer>, String> {
    let answer = send_bytes(authority, None, (lines, body.as_bytes()), most, patience)?;
    let text = |body: Vec<u8>| String::from_utf8_lossy(&body).into_owned();
    Ok(answer.map(|(status, body)| Answer { status, body: text(body) }))
}

/// The same with bodies of any bytes, encrypted or not: the status and the body of the answer.
pub(super) fn send_bytes(
    authority: &str,
    tls: Option<&Arc<ClientConfig>>,
    (lines, body): (&str, &[u8]),
    most: u64,
    patience: Duration,
) -> Result<Option<(u16, Vec<u8>)>, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = connect(authority).map_err(text)?;
    stream.set_read_timeout(Some(patience)).map_err(text)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(text)?;
    let head = format!("{lines}host: {authority}\r\nuser-agent: fourmi\r\nconnection: close\r\n\r\n");
    let request = [head.as_bytes(), body].concat();
    let Some(tls) = tls else { return exchanged(&mut stream, &request, most).map_err(text) };
    let name = authority.parse::<http::uri::Authority>().map_err(|e| e.to_string())?;
    let host = name.host().trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(|e| e.to_string())?;
    let mut session = ClientConnection::new(tls.clone(), name).map_err(|e| e.to_string())?;
    exchanged(&mut rustls::Stream::new(&mut session, &mut stream), &request, most).map_err(text)
}

fn exchanged(stream: &mut (impl Read + Write), request: &[u8], most: u64) -> std::io::Result<Option<(u16, Vec<u8>)>> {
    stream.write_all(request)?;
    stream.flush()?;
    let mut bytes = Vec::new();
    match stream.take(most).read_to_end(&mut bytes) {
        // Some end a connection without saying so.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && !bytes.is_empty() => {}
        result => drop(result?),
    }
    Ok(read(&bytes))
}

fn connect(authority: &str) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for at in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&at, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Status and body. The connection was closed after the answer, so its end is the body's.
fn read(bytes: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = (String::from_utf8_lossy(bytes.get(..end)?), bytes.get(end + 4..)?);
    let mut words = head.lines().next()?.split(' ');
    let version = words.next()?;
    let status = words.next()?.parse().ok()?;
    version.starts_with("HTTP/1.").then(|| (status, body.to_owned()))
}

pub(super) fn refused(target: &Target, place: &Place, path: &str, answer: &Answer) -> u8 {
    if target.json {
        print(&answer.body);
    }
    let path = path.split('?').next().unwrap_or(path);
    let at = format!("http://{}{path} answered {}", place.authority, answer.status);
    // Most refusals are problem documents (RFC 9457), whose detail says what to do instead.
    match (target.json, explained(&answer.body)) {
        (true, _) => tell(at),
        (false, Some(why)) => {
            tell(format_args!("error: {why}"));
            tell(format_args!("({at})"));
        }
        (false, None) => {
            tell(at);
            tell(answer.body.trim_end());
        }
    }
    FAILED
}

/// Title and detail of a problem document.
fn explained(body: &str) -> Option<String> {
    let problem: Value = serde_json::from_str(body).ok()?;
    let (title, detail) = (problem["title"].as_str()?, problem["detail"].as_str()?);
    let clean = |text: &str| -> String {
        text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
    };
    Some(format!("{}: {}", clean(title), clean(detail)))
}

pub(super) fn unreachable(place: &Place, path: &str, why: &str) -> u8 {
    tell(format_args!("http://{}{path}: {why}", place.authority));
    tell("is Fourmi running? name another admin listener with --admin URL or FOURMI_ADMIN_URL");
    UNREACHABLE
}

/// The result. A reader that went away is not our failure.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
}

/// Everything else.
fn tell(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
