//! Reads rows and asks them.
//!
//! A row begins with its id and title at the margin. Indented lines are what is registered and set (`node`, `service`,
//! `many`, `record`, `set`, `foreign`, `recursor`), then `ask`, then what is expected of that answer: `=` a record of
//! the answer, `-` of the authority, `+` of the additional section (`+ nothing`: none), `code`, `soa`, `answers N`, `least N`,
//! `weights`, `kept LEAST MOST`, `flags`, `edns`, `ecs`, `at most N bytes`, `no reply`. Sections without a line must be empty, except the additional one,
//! which then may hold anything. `differs` says why we are not as the original.

mod peers;
mod world;

use crate::rows::Row;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
pub(crate) use world::World;

const PATIENCE: Duration = Duration::from_secs(20);

/// Asks what a row asks. The error is what was wrong.
#[allow(dead_code)]
pub(crate) async fn run(row: &Row) -> Result<(), String> {
    run_in(row, World::default()).await
}

/// The same of a registry that was made elsewhere.
pub(crate) async fn run_in(row: &Row, mut world: World) -> Result<(), String> {
    let mut asked: Option<(String, Vec<String>)> = None;
    for line in &row.lines {
        if let Some(question) = line.strip_prefix("ask ") {
            check(&mut world, asked.take()).await?;
            asked = Some((question.to_owned(), Vec::new()));
        } else if let Some(line) = line.strip_prefix("then ") {
            check(&mut world, asked.take()).await?;
            world.line(line).await;
        } else if let Some((_, expected)) = &mut asked {
            expected.push(line.clone());
        } else {
            world.line(line).await;
        }
    }
    check(&mut world, asked).await
}

async fn check(world: &mut World, asked: Option<(String, Vec<String>)>) -> Result<(), String> {
    let Some((question, expected)) = asked else { return Ok(()) };
    let answer = ask(world.server().await, &question).await;
    compare(&answer, &expected).map_err(|why| format!("{question}\n  {why}\n  got {}", shown(&answer)))
}

fn shown(answer: &Option<(Message, usize)>) -> String {
    let Some((message, bytes)) = answer else { return "no reply".into() };
    let section = |records: &[Record]| {
        let some = records.iter().take(12).map(text).collect::<Vec<_>>().join("; ");
        format!("{} records: {some}", records.len())
    };
    format!(
        "{} tc={} {bytes} bytes\n  = {}\n  - {}\n  + {}",
        code(message),
        message.metadata.truncation,
        section(&message.answers),
        section(&message.authorities),
        section(&message.additionals),
    )
}

fn code(message: &Message) -> String {
    // The two share a number.
    format!("{:?}", message.metadata.response_code).to_uppercase().replace("BADSIG", "BADVERS")
}

fn compare(answer: &Option<(Message, usize)>, expected: &[String]) -> Result<(), String> {
    if expected.iter().any(|line| line == "no reply") {
        return if answer.is_none() { Ok(()) } else { Err("a reply".into()) };
    }
    let Some((message, bytes)) = answer else { return Err("no reply".into()) };
    let mut sections = [Vec::new(), Vec::new(), Vec::new()];
    let (mut wanted_code, mut soa, mut count, mut additional) = ("NOERROR", None, None, false);
    for line in expected {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "=" => sections[0].push(rest.to_owned()),
            "-" => sections[1].push(rest.to_owned()),
            "+" => {
                additional = true;
                if rest != "nothing" {
                    sections[2].push(rest.to_owned());
                }
            }
            "code" => wanted_code = rest,
            "soa" => soa = Some(rest.to_owned()),
            "answers" => count = Some(rest.parse::<usize>().expect("a number")),
            "least" => {
                if message.answers.len() < rest.parse().expect("a number") {
                    return Err(format!("{} answers", message.answers.len()));
                }
                count = Some(message.answers.len());
            }
            "flags" => flags(message, rest)?,
            "edns" => {
                let edns = message.edns.as_ref().ok_or("no EDNS")?;
                if edns.max_payload().to_string() != rest {
                    return Err(format!("EDNS of {}", edns.max_payload()));
                }
            }
            "ecs" => {
                let edns = message.edns.as_ref().ok_or("no EDNS")?;
                match edns.option(EdnsCode::Subnet) {
                    Some(EdnsOption::Subnet(subnet)) => {
                        let got = format!("{}/{}/{}", subnet.addr(), subnet.source_prefix(), subnet.scope_prefix());
                        if got != rest {
                            return Err(format!("subnet {got}"));
                        }
                    }
                    other => return Err(format!("{other:?}")),
                }
            }
            "at" => {
                let most: usize = rest.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("at most N bytes");
                if *bytes > most {
                    return Err(format!("{bytes} bytes"));
                }
            }
            "kept" => {
                let (least, most) = rest.split_once(' ').expect("two numbers");
                let range = least.parse::<u32>().expect("a number")..=most.parse().expect("a number");
                if !message.answers.iter().all(|record| range.contains(&record.ttl)) {
                    return Err("another time to live".into());
                }
            }
            "weights" => {
                let mut got = weights(message);
                got.sort_unstable();
                let got = got.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
                if got != rest {
                    return Err(format!("weights {got}"));
                }
                count = Some(message.answers.len());
            }
            other => panic!("what is {other}?"),
        }
    }
    if code(message) != wanted_code {
        return Err(format!("not {wanted_code}"));
    }
    match count {
        Some(count) if message.answers.len() != count => return Err(format!("not {count} answers")),
        Some(_) => {}
        None => same("=", &message.answers, sections[0].clone())?,
    }
    match soa {
        Some(zone) => {
            let [record] = &message.authorities[..] else { return Err("no SOA".into()) };
            let (zone, ttl) = zone.split_once(' ').unwrap_or((&zone, ""));
            let got = text(record);
            let begins = format!("{zone} {ttl} SOA ");
            if !got.starts_with(&begins) {
                return Err(format!("SOA {got}"));
            }
        }
        None if count.is_none() => same("-", &message.authorities, sections[1].clone())?,
        None => {}
    }
    match additional {
        true => same("+", &message.additionals, sections[2].clone()),
        false => Ok(()),
    }
}

fn weights(message: &Message) -> Vec<u16> {
    let weight = |record: &Record| match &record.data {
        RData::SRV(srv) => Some(srv.weight),
        _ => None,
    };
    message.answers.iter().filter_map(weight).collect()
}

fn flags(message: &Message, wanted: &str) -> Result<(), String> {
    let head = &message.metadata;
    for flag in wanted.split(' ') {
        let (wanted, flag) = flag.strip_prefix('!').map_or((true, flag), |flag| (false, flag));
        let is = match flag {
            "aa" => head.authoritative,
            "tc" => head.truncation,
            "ra" => head.recursion_available,
            "rd" => head.recursion_desired,
            other => panic!("what is {other}?"),
        };
        if is != wanted {
            return Err(format!("{flag} is {is}"));
        }
    }
    Ok(())
}

fn same(mark: &str, got: &[Record], mut wanted: Vec<String>) -> Result<(), String> {
    let mut got: Vec<String> = got.iter().map(text).collect();
    // Chains of aliases are told in order; everything else in any.
    let links = |lines: &[String]| lines.iter().filter(|line| line.contains(" CNAME ")).cloned().collect::<Vec<_>>();
    let in_order = mark != "=" || links(&got) == links(&wanted);
    got.sort_unstable();
    wanted.sort_unstable();
    if got == wanted && in_order { Ok(()) } else { Err(format!("wanted\n  {mark} {}", wanted.join("; "))) }
}

fn text(record: &Record) -> String {
    let data = match &record.data {
        RData::A(a) => format!("A {}", a.0),
        RData::AAAA(aaaa) => format!("AAAA {}", aaaa.0),
        RData::CNAME(name) => format!("CNAME {}", bare(&name.0)),
        RData::NS(name) => format!("NS {}", bare(&name.0)),
        RData::PTR(name) => format!("PTR {}", bare(&name.0)),
        RData::SRV(srv) => format!("SRV {} {} {} {}", srv.priority, srv.weight, srv.port, bare(&srv.target)),
        RData::MX(mx) => format!("MX {} {}", mx.preference, bare(&mx.exchange)),
        RData::TXT(txt) => {
            let pieces = txt.txt_data.iter().map(|piece| match piece.len() {
                n if n > 100 => format!("({n})"),
                _ => String::from_utf8_lossy(piece).into_owned(),
            });
            format!("TXT {}", pieces.collect::<Vec<_>>().join("|"))
        }
        RData::SOA(soa) => {
            let numbers = format!("{} {} {} {}", soa.refresh, soa.retry, soa.expire, soa.minimum);
            format!("SOA {} {} {numbers}", bare(&soa.mname), bare(&soa.rname))
        }
        other => format!("{other:?}"),
    };
    format!("{} {} {data}", bare(&record.name), record.ttl)
}

fn bare(name: &Name) -> String {
    let text = name.to_ascii();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

/// Asks `name TYPE`, then any of `tcp`, `edns=SIZE`, `ecs=NET`, `class=CH`, `version=1`, `option=CODE`, `opcode=STATUS`.
async fn ask(server: SocketAddr, question: &str) -> Option<(Message, usize)> {
    let mut words = question.split(' ');
    let name = words.next().expect("a name").trim_end_matches('.');
    let kind = RecordType::from_str(words.next().expect("a type")).expect("a type");
    let labels: Vec<&[u8]> = name.split('.').map(str::as_bytes).collect();
    let mut query = Query::query(Name::from_labels(labels).expect("a name"), kind);
    let mut message = Message::new(fastrand::u16(..), MessageType::Query, OpCode::Query);
    let (mut tcp, mut edns) = (false, Edns::new());
    let mut with_edns = false;
    message.metadata.recursion_desired = true;
    for word in words {
        let (word, value) = word.split_once('=').unwrap_or((word, ""));
        with_edns |= matches!(word, "edns" | "ecs" | "version" | "option");
        match word {
            "tcp" => tcp = true,
            "edns" => drop(edns.set_max_payload(value.parse().expect("a size"))),
            "ecs" => {
                let (ip, bits) = value.split_once('/').expect("a network");
                let subnet = ClientSubnet::new(ip.parse().expect("an address"), bits.parse().expect("bits"), 0);
                edns.options_mut().insert(EdnsOption::Subnet(subnet));
            }
            "option" => edns.options_mut().insert(EdnsOption::Unknown(value.parse().expect("a code"), vec![1])),
            "version" => drop(edns.set_version(value.parse().expect("a number"))),
            "class" => drop(query.set_query_class(DNSClass::from_str(value).expect("a class"))),
            "opcode" => message.metadata.op_code = OpCode::Status,
            other => panic!("what is {other}?"),
        }
    }
    if with_edns {
        message.set_edns(edns);
    }
    message.add_query(query.clone());
    let bytes = message.to_vec().expect("it can be asked");
    let reply = tokio::time::timeout(PATIENCE, async {
        if tcp {
            let mut stream = TcpStream::connect(server).await.expect("the server listens by TCP");
            let length = u16::try_from(bytes.len()).expect("it is short").to_be_bytes();
            stream.write_all(&[&length[..], &bytes].concat()).await.expect("it can be sent");
            let length = stream.read_u16().await.expect("it answers");
            let mut reply = vec![0; usize::from(length)];
            stream.read_exact(&mut reply).await.expect("it answers whole");
            reply
        } else {
            let socket = UdpSocket::bind("127.0.0.1:0").await.expect("there is a socket");
            socket.connect(server).await.expect("it can be connected");
            socket.send(&bytes).await.expect("it can be sent");
            // What is dropped is overtaken by a question that is always answered.
            if question.contains("option=") {
                let mut next = message.clone();
                (next.metadata.id, next.edns) = (message.metadata.id.wrapping_add(1), None);
                socket.send(&next.to_vec().expect("it can be asked")).await.expect("it can be sent");
            }
            let mut reply = vec![0; 65_535];
            let read = socket.recv(&mut reply).await.expect("it answers");
            reply.truncate(read);
            reply
        }
    });
    let reply = reply.await.ok()?;
    let answer = Message::from_vec(&reply).expect("the reply can be read");
    if answer.metadata.id == message.metadata.id.wrapping_add(1) {
        return None;
    }
    assert_eq!(answer.metadata.id, message.metadata.id);
    if let Some(got) = answer.queries.first() {
        assert!(got.name.eq_case(&query.name), "the case of the name is kept: {} for {}", got.name, query.name);
    }
    Some((answer, reply.len()))
}
