//! The demo from its first process to its last sum.

use super::caller::Caller;
use super::children::{Children, Folder, free_ports};
use super::receive::{Received, Receivers, kernel_drops};
use super::screen::{Row, Screen};
use super::summary::{Account, Way, table};
use super::system::{CUSTOMERS, PHP, Ports, QUOTA, REGISTRY, Registry, SERVICES, name_of};
use super::traffic::Traffic;
use super::{Options, called, print, tell};
use crate::names::metric;
use crate::sink::scrape::samples;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

/// The service of which a worker is killed, and which of its workers.
const VICTIM: (usize, usize) = (1, 1);
/// Until everything must be ready. A machine under load starts ten processes slowly.
const START: Duration = Duration::from_secs(30);
/// Until every Fourmi must have stopped.
const STOP: Duration = Duration::from_secs(30);
/// Between two drawings.
const FRAME: Duration = Duration::from_millis(500);
/// Orders a second at most: the sums need a machine that keeps up.
const RATE_MAX: u32 = 5_000;

/// Runs it; a second signal ends it at once.
pub(super) async fn demo(options: Options) -> u8 {
    let (say, hear) = watch::channel(0u32);
    let listening = tokio::task::spawn_local(signals(say));
    let mut forced = hear.clone();
    let code = tokio::select! {
        played = play(options, hear) => match played {
            Ok(code) => code,
            Err(why) => {
                tell(why);
                1
            }
        },
        _ = forced.wait_for(|count| *count > 1) => 130,
    };
    listening.abort();
    code
}

/// Counts the signals that ask for the end.
async fn signals(say: watch::Sender<u32>) {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let mut signals: Vec<_> = kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect();
    loop {
        let heard = std::future::poll_fn(|cx| match signals.iter_mut().any(|s| s.poll_recv(cx).is_ready()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        });
        heard.await;
        say.send_modify(|count| *count += 1);
    }
}

/// Everything that runs.
struct Play {
    receivers: Receivers,
    children: Children,
    ports: Vec<Ports>,
    registry: Registry,
    /// Each Fourmi's admin listener.
    admins: Vec<Caller>,
}

async fn play(options: Options, mut end: watch::Receiver<u32>) -> Result<u8, String> {
    if options.php && !has_php().await {
        return Err("--with php needs PHP and its extension zmq, and `php` does not have it here: on Debian, \
                    apt-get install php-cli php-zmq"
            .to_owned());
    }
    tell("starting a registry and five services, each behind its own Fourmi…");
    let begun = Instant::now();
    let mut play = tokio::select! {
        started = start(options.php) => started?,
        _ = end.wait_for(|count| *count > 0) => return Err("ended before everything had started".to_owned()),
    };
    print(format_args!("started in {:.1} s", begun.elapsed().as_secs_f32()));
    for (service, ports) in SERVICES.iter().zip(&play.ports) {
        print(format_args!("  {:<9}http://127.0.0.1:{}", service.name, ports.admin));
    }
    print(format_args!("  {:<9}http://127.0.0.1:{}", REGISTRY, play.registry.admin));
    let (inbound, admin) = (play.ports[0].inbound, play.ports[0].admin);
    print(format_args!("open http://127.0.0.1:{admin} in a browser: it shows all of them, and every order on its way"));
    let me = called();
    print("or try in another terminal:");
    print(format_args!("  {me} top --admin http://127.0.0.1:{admin}"));
    print(format_args!("  {me} tap --admin http://127.0.0.1:{admin} --result failed"));
    print(format_args!(
        "  curl -i -H 'apikey: {}' -H 'Fourmi-Command: Ping' http://127.0.0.1:{inbound}/healthz  # not in the sums",
        CUSTOMERS[0].key.unwrap_or_default()
    ));
    print(format_args!("  curl -i http://127.0.0.1:{inbound}/  # refused at the front door: no key"));
    let (dns, stock) = (play.registry.dns, name_of(SERVICES[VICTIM.0]));
    print(format_args!("  dig @127.0.0.1 -p {dns} {stock} SRV  # where stock is; the order service has only names"));
    print(format_args!("  {me} health --admin http://127.0.0.1:{admin}"));
    print("Ctrl-C ends it with the sums");

    let traffic = Traffic::new(inbound);
    let driver = tokio::task::spawn_local(Rc::clone(&traffic).drive(options.rate.clamp(1, RATE_MAX)));
    let killed = watch_it(&mut play, options.duration, &mut end).await;
    driver.abort();
    traffic.settle().await;
    if traffic.skipped.get() + traffic.tally.unsent.get() > 0 {
        let (skipped, unsent) = (traffic.skipped.get(), traffic.tally.unsent.get());
        tell(format_args!("{skipped} orders were not placed as too many waited, {unsent} found no connection"));
    }
    let outcome = finish(play, &traffic).await?;
    Ok(conclude(&outcome, killed?))
}

/// Whether PHP is there, with its extension for ZeroMQ.
async fn has_php() -> bool {
    let mut command = tokio::process::Command::new("php");
    command.args(["-r", "exit(extension_loaded('zmq') ? 0 : 1);"]);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

/// Receivers, processes, and the wait until all are ready. Another program may take a port between our look and
/// the bind, so it is tried again.
async fn start(php: bool) -> Result<Play, String> {
    let mut last = String::new();
    for _ in 0..3 {
        match start_once(php).await {
            Ok(play) => return Ok(play),
            Err(why) if ["in use", "is taken", "listens there"].iter().any(|said| why.contains(said)) => last = why,
            Err(why) => return Err(why),
        }
    }
    Err(last)
}

async fn start_once(php: bool) -> Result<Play, String> {
    let text = |error: std::io::Error| format!("the demo cannot start: {error}");
    let receivers = Receivers::start().map_err(text)?;
    let (ports, registry) = choose(&receivers, php).map_err(text)?;
    let children = Children::start(Folder::new().map_err(text)?, &ports, registry).map_err(text)?;
    let admins = ports.iter().map(|p| caller(p.admin)).collect();
    let mut play = Play { receivers, children, ports, registry, admins };
    let end = Instant::now() + START;
    loop {
        let waiting = play.waiting().await;
        if waiting.is_empty() {
            return Ok(play);
        }
        if let Some(why) = play.children.ended() {
            return Err(why);
        }
        if Instant::now() > end {
            let names = SERVICES.iter().map(|s| s.name).chain([REGISTRY]);
            let logs: Vec<_> = names.map(|name| play.children.log(name)).collect();
            return Err(format!("not ready after {START:?}: {}\n{}", waiting.join("; "), logs.join("\n")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn choose(receivers: &Receivers, php: bool) -> std::io::Result<(Vec<Ports>, Registry)> {
    let needed: usize = SERVICES.iter().map(|service| 3 + service.workers).sum::<usize>() + 2;
    let mut free = free_ports(needed)?.into_iter();
    let mut next = || free.next().ok_or(std::io::ErrorKind::AddrInUse);
    let mut all = Vec::with_capacity(SERVICES.len());
    for (service, &(graylog, statsd)) in SERVICES.iter().zip(&receivers.ports) {
        let workers = (0..service.workers).map(|_| next()).collect::<Result<_, _>>()?;
        let (inbound, outbound, admin) = (next()?, next()?, next()?);
        all.push(Ports { workers, inbound, outbound, admin, graylog, statsd, php: php && service.name == PHP });
    }
    Ok((all, Registry { dns: next()?, admin: next()? }))
}

fn caller(port: u16) -> Caller {
    Caller::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Duration::from_secs(5))
}

impl Play {
    /// Who is not ready, and why.
    async fn waiting(&self) -> Vec<String> {
        let mut waiting = Vec::new();
        for (service, (ports, admin)) in SERVICES.iter().zip(self.ports.iter().zip(&self.admins)) {
            match admin.get("/readyz").await {
                Ok(answer) if answer.status().is_success() => {}
                Ok(answer) => {
                    waiting.push(format!("{}: {}", service.name, String::from_utf8_lossy(answer.body()).trim()));
                }
                Err(error) => waiting.push(format!("{}: {error}", service.name)),
            }
            // What speaks ZeroMQ is asked by its Fourmi alone.
            for &port in ports.workers.iter().filter(|_| !ports.php) {
                if let Err(error) = caller(port).get("/healthz").await {
                    waiting.push(format!("a worker of {}: {error}", service.name));
                }
            }
        }
        // Names are looked up again and again until the registry has seen everybody well.
        match self.admins[0].get("/api/v1/upstreams").await {
            Ok(answer) => {
                waiting.extend(unknown(answer.body()).map(|name| format!("{name} is not registered as well")))
            }
            Err(error) => waiting.push(format!("{}: {error}", SERVICES[0].name)),
        }
        waiting
    }

    /// Records that each Fourmi says it lost on the way to the GELF receiver. None when it does not answer.
    async fn lost(&self) -> Vec<Option<u64>> {
        let mut all = Vec::with_capacity(self.admins.len());
        for admin in &self.admins {
            all.push(match admin.get("/metrics").await {
                Ok(answer) if answer.status().is_success() => Some(lost_in(&String::from_utf8_lossy(answer.body()))),
                _ => None,
            });
        }
        all
    }
}

/// The services that have no instance yet.
fn unknown(upstreams: &[u8]) -> impl Iterator<Item = &'static str> {
    let shown: Value = serde_json::from_slice(upstreams).unwrap_or_default();
    let known: Vec<String> = shown
        .as_array()
        .into_iter()
        .flatten()
        .filter(|s| s["instances"].as_array().is_some_and(|all| !all.is_empty()))
        .filter_map(|s| s["service"].as_str().map(str::to_owned))
        .collect();
    SERVICES.iter().map(|s| s.name).filter(move |name| !known.iter().any(|k| k == name))
}

fn lost_in(metrics: &str) -> u64 {
    let losses = samples(metrics)
        .filter(|s| s.name == metric::SINK_RECORDS && s.label("sink") == "graylog" && s.label("result") != "sent");
    losses.map(|s| s.value).sum::<f64>() as u64
}

/// Draws, kills one worker half-way and starts it again, until the time is over or a signal comes.
async fn watch_it(
    play: &mut Play,
    duration: Option<Duration>,
    end: &mut watch::Receiver<u32>,
) -> Result<String, String> {
    let start = Instant::now();
    let half = duration.map_or(Duration::from_secs(10), |whole| whole / 2);
    let pause = Duration::from_secs(1).min(half / 2);
    let (service, number) = (SERVICES[VICTIM.0].name, VICTIM.1 + 1);
    let mut screen = Screen::new();
    let mut before: Vec<Received> = SERVICES.iter().map(|_| Received::default()).collect();
    let mut drawn = start;
    let (mut lost, mut asked) = (vec![0; SERVICES.len()], start);
    let (mut killed, mut restarted) = (None, None);
    let mut news = String::new();
    let mut frames = tokio::time::interval(FRAME.min(half / 2).max(Duration::from_millis(50)));
    frames.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = end.wait_for(|count| *count > 0) => break,
            _ = frames.tick() => {}
        }
        let elapsed = start.elapsed();
        if duration.is_some_and(|whole| elapsed >= whole) {
            break;
        }
        if killed.is_none() && elapsed >= half {
            play.children.kill_worker(VICTIM.0, VICTIM.1).await.map_err(|e| format!("kill: {e}"))?;
            killed = Some(Instant::now());
            news = format!("killed worker {number} of {service} (SIGKILL) at {:.1} s", elapsed.as_secs_f32());
            screen.say(&news);
        }
        if restarted.is_none() && killed.is_some_and(|at| at.elapsed() >= pause) {
            play.children.restart_worker(VICTIM.0, VICTIM.1).map_err(|e| format!("start again: {e}"))?;
            restarted = Some(elapsed);
            news.push_str(&format!(", started again at {:.1} s", elapsed.as_secs_f32()));
            screen.say(&news);
        }
        if asked.elapsed() >= 2 * FRAME {
            asked = Instant::now();
            for (all, now) in lost.iter_mut().zip(play.lost().await) {
                *all = now.unwrap_or(*all);
            }
        }
        let now: Vec<Received> = (0..SERVICES.len()).map(|index| play.receivers.get(index)).collect();
        let seconds = drawn.elapsed().as_secs_f64();
        drawn = Instant::now();
        let rows: Vec<Row> = (0..SERVICES.len()).map(|i| row(i, &before[i], &now[i], seconds, lost[i])).collect();
        screen.show(elapsed, &rows, &news);
        before = now;
    }
    match (killed, restarted) {
        (Some(_), None) => Ok(format!("{news}, not started again as the demo ended")),
        (None, _) => Ok("ended before a worker was killed".to_owned()),
        _ => Ok(news),
    }
}

fn row(index: usize, before: &Received, now: &Received, seconds: f64, lost: u64) -> Row {
    let more = now.records.inbound - before.records.inbound;
    let well = now.records.success() - before.records.success();
    Row {
        service: SERVICES[index].name,
        rate: if seconds > 0.0 { more as f64 / seconds } else { 0.0 },
        success: (more > 0).then(|| well as f64 / more as f64),
        p95: now.records.p95(),
        records: now.records.inbound + now.records.outbound,
        counted: now.counted.inbound + now.counted.outbound,
        lost,
    }
}

/// What is known at the end.
struct Outcome {
    accounts: Vec<Account>,
    received: Vec<Received>,
    /// The most mails that came within one second.
    most_mails: u64,
    /// What went wrong besides the sums.
    wrong: Vec<String>,
}

/// Asks the callers and the Fourmis for their numbers, stops all, and waits for the last datagram.
async fn finish(mut play: Play, traffic: &Traffic) -> Result<Outcome, String> {
    let worker = caller(play.ports[0].workers[0]);
    let stats = numbers(&worker, "order").await?;
    let mail = SERVICES.iter().position(|s| s.name == "mail").unwrap_or_default();
    let most = numbers(&caller(play.ports[mail].workers[0]), "mail").await?["most_mails"].as_u64().unwrap_or(u64::MAX);
    let lost = play.lost().await;
    for admin in play.admins.iter().chain([&worker]) {
        admin.close();
    }
    let mut wrong = play.children.stop(STOP).await;
    if most > u64::from(QUOTA) {
        wrong.push(format!("mail: {most} mails came within one second, and the provider takes {QUOTA}"));
    }
    settle(&play.receivers).await;

    let received: Vec<Received> = (0..SERVICES.len()).map(|index| play.receivers.get(index)).collect();
    let called = |service: &str, what: &str| stats["calls"][service][what].as_u64().unwrap_or(0);
    let mut accounts = Vec::with_capacity(SERVICES.len());
    for (index, service) in SERVICES.iter().enumerate() {
        let (records, counted) = (&received[index].records, received[index].counted);
        let first = index == 0;
        // What the caller's own Fourmi refused never came to the service's.
        let came = |what| called(service.name, what).saturating_sub(called(service.name, "refused"));
        let tally = &traffic.tally;
        let inbound = Way {
            sent: if first { tally.sent.get() } else { came("sent") },
            answered: if first { tally.answered.get() } else { came("answered") },
            refused: if first { tally.refused.get() } else { 0 },
            records: records.inbound,
            refusals: records.refused(),
            counted: counted.inbound,
        };
        let all = |what| SERVICES.iter().map(|other| called(other.name, what)).sum();
        if lost[index].is_none() {
            wrong.push(format!("{}: its Fourmi does not tell what it lost", service.name));
        }
        let (gelf, statsd) = play.receivers.ports[index];
        accounts.push(Account {
            service: service.name,
            inbound,
            outbound: first.then(|| Way {
                sent: all("sent"),
                answered: all("answered"),
                refused: all("refused"),
                records: records.outbound,
                refusals: records.outbound_refused,
                counted: counted.outbound,
            }),
            lost: lost[index].unwrap_or(0),
            dropped: kernel_drops(gelf),
            dropped_statsd: kernel_drops(statsd),
            odd: records.odd,
        });
    }
    Ok(Outcome { accounts, received, most_mails: most, wrong })
}

/// What a worker says of itself.
async fn numbers(worker: &Caller, name: &str) -> Result<Value, String> {
    let stats =
        worker.get("/stats").await.map_err(|e| format!("the worker of {name} does not tell its numbers: {e}"))?;
    serde_json::from_slice(stats.body()).map_err(|e| format!("numbers of {name}: {e}"))
}

/// Until nothing has come for a while: the senders have ended, so what is missing then is lost.
async fn settle(receivers: &Receivers) {
    let count = || -> u64 {
        let of = |r: Received| r.records.inbound + r.records.outbound + r.counted.inbound + r.counted.outbound;
        (0..SERVICES.len()).map(|index| of(receivers.get(index))).sum()
    };
    let mut last = count();
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = count();
        if now == last {
            return;
        }
        last = now;
    }
}

/// Prints the sums; 0 when all agree.
fn conclude(outcome: &Outcome, news: String) -> u8 {
    print(format_args!("\n{}", table(&outcome.accounts)));
    for (service, received) in SERVICES.iter().zip(&outcome.received) {
        let parts: Vec<_> = received.records.outcomes.iter().map(|(outcome, n)| format!("{outcome} {n}")).collect();
        print(format_args!("{:<9}{}", service.name, parts.join(", ")));
    }
    print(format_args!("{news}"));
    print(format_args!("at most {} mails came within one second; the provider takes {QUOTA}", outcome.most_mails));
    let differences: Vec<String> = outcome.accounts.iter().flat_map(Account::differences).collect();
    let wrong: Vec<&String> = differences.iter().chain(&outcome.wrong).collect();
    if wrong.is_empty() {
        print("every sum adds up: sent = answered = log records + lost = counted by StatsD");
        return 0;
    }
    for line in wrong {
        print(format_args!("DIFFERENCE {line}"));
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_what_was_not_sent_to_graylog() {
        let text = "fourmi_sink_records_total{sink=\"graylog\",result=\"sent\"} 10\n\
                    fourmi_sink_records_total{sink=\"graylog\",result=\"dropped_full\"} 2\n\
                    fourmi_sink_records_total{sink=\"graylog\",result=\"oversize\"} 1\n\
                    fourmi_sink_records_total{sink=\"statsd\",result=\"dropped_error\"} 5\n";
        assert_eq!(lost_in(text), 3);
    }

    #[test]
    fn rates_are_of_the_time_between_two_drawings() {
        let record = |n: u64, well: u64| {
            let mut received = Received::default();
            received.records.inbound = n;
            received.records.outcomes.insert("success".to_owned(), well);
            received
        };
        let row = row(2, &record(100, 90), &record(200, 180), 0.5, 7);
        assert_eq!((row.service, row.rate, row.success, row.lost), ("payment", 200.0, Some(0.9), 7));
    }
}
