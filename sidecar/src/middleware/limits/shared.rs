//! Counters that several processes share: the file's policy, and what is asked of Redis.

use super::window::{Moment, PERIODS, Window};
use super::{Limit, Place};
use crate::control::redis::{Away, Question, Redis, Script, Target};
use crate::gateway::fields::Fields;
use crate::tls::ClientTls;
use std::time::Duration;

/// For each window a limit, a lifetime, what to count, and 0, or 1 more than the thousandths of the window before that
/// count, too: its key follows then. Counts in all or in none; what is not to be counted is only told.
static COUNT: Script = Script::new(
    "local told, keys, own, full, at = {0}, {}, {}, 0, 1 \
     for i = 1, #ARGV / 4 do \
       local share = tonumber(ARGV[4 * i]) \
       keys[i] = KEYS[at] \
       own[i] = tonumber(redis.call('GET', KEYS[at]) or '0') \
       local used = own[i] \
       at = at + 1 \
       if share > 0 then \
         used = used + math.ceil(tonumber(redis.call('GET', KEYS[at]) or '0') * (share - 1) / 1000) \
         at = at + 1 \
       end \
       told[i + 1] = used \
       if tonumber(ARGV[4 * i - 1]) > 0 and used >= tonumber(ARGV[4 * i - 3]) then full = 1 end \
     end \
     told[1] = full \
     if full == 0 then \
       for i, key in ipairs(keys) do \
         if tonumber(ARGV[4 * i - 1]) > 0 then \
           redis.call('INCRBY', key, ARGV[4 * i - 1]) \
           if own[i] == 0 then redis.call('EXPIRE', key, ARGV[4 * i - 2]) end \
         end \
       end \
     end \
     return told",
);

/// Counters in Redis.
pub(crate) struct Shared {
    redis: Redis,
    /// Whether commands pass when Redis does not answer.
    pub(crate) tolerant: bool,
}

impl Shared {
    /// Who is asked.
    pub(crate) fn redis(&self) -> &Redis {
        &self.redis
    }

    /// Counts all that is wished or nothing, and tells whether a limit was reached and what was used before: for each
    /// wish its limits, in their order.
    pub(crate) fn take(
        &self,
        who: &str,
        wishes: &[Wish<'_>],
        windows: &[Window; PERIODS],
    ) -> Result<impl Future<Output = Result<(bool, Vec<u64>), Away>> + use<>, Away> {
        let (mut keys, mut numbers) = (Vec::new(), Vec::new());
        let mut count = 0;
        for Wish { place, limits, n } in wishes {
            for Limit { period, most } in *limits {
                let window = &windows[*period as usize];
                let mut key = |start: u64| keys.push(place.key(who, start * 1_000, period.word()));
                key(window.start);
                let (mut lives, mut share) = (period.seconds(), 0);
                if place.sliding {
                    key(period.start_before(window));
                    (lives, share) = (2 * lives, 1 + u64::from(window.share));
                }
                numbers.extend([*most, lives, *n, share]);
                count += 1;
            }
        }
        let asked = self.redis.ask(Question { script: &COUNT, keys, numbers })?;
        Ok(async move {
            let answer = asked.await?;
            match answer.split_first() {
                Some((full @ 0..=1, used)) if used.len() == count => {
                    let used = used.iter().map(|n| u64::try_from(*n).map_err(|_| Away::Failed));
                    Ok((*full != 0, used.collect::<Result<_, _>>()?))
                }
                // Nothing that the script says.
                _ => Err(Away::Failed),
            }
        })
    }
}

/// What is to be counted.
pub(crate) struct Wish<'a> {
    /// Where.
    pub(crate) place: &'a Place,
    /// In which windows.
    pub(crate) limits: &'a [Limit],
    /// How much; 0 only looks.
    pub(crate) n: u64,
}

/// There was no answer from Redis.
pub(crate) fn without(away: Away) {
    super::happened(match away {
        Away::Closed => 0,
        Away::Late => 1,
        Away::Failed => 2,
        Away::Busy => 3,
    });
}

/// Remembers here what Redis knows, so that counting goes on from there when it does not answer any more.
pub(crate) fn remember(
    place: &Place,
    who: &str,
    (limits, windows): (&[Limit], &[Window; PERIODS]),
    used: impl Iterator<Item = u64> + Clone,
) {
    super::with(place, who, |entry| entry.raise(limits, windows, used.clone()));
}

/// The windows that a command is counted in.
pub(crate) fn windows(limits: &[Limit], now: Moment) -> [Window; PERIODS] {
    let mut windows = [Window::default(); PERIODS];
    for limit in limits {
        windows[limit.period as usize] = limit.period.window(now);
    }
    windows
}

/// Reads `policy`, `fault_tolerant` and `redis`: where counters are. None: here.
pub(crate) fn policy(fields: &mut Fields<'_>) -> Option<Shared> {
    if fields.raw("policy").and_then(|policy| policy.as_str()) == Some("cluster") {
        let fix = "`cluster` counts in Kong's database; write `redis` to count with others, or `local`";
        fields.wrong("policy", "expected one of: local, redis", fix);
        return None;
    }
    let policy = fields.one_of("policy", &["local", "redis"], "local");
    let tolerant = fields.flag("fault_tolerant", true);
    let (target, timeout) = target(fields, policy == "redis");
    (policy == "redis").then(|| Shared { redis: Redis::new(&target, timeout), tolerant })
}

/// The server: `redis.host` and so on, or as older files have it `redis_host`.
fn target(fields: &mut Fields<'_>, needed: bool) -> (Target, Duration) {
    const PORT: i64 = 6_379;
    const TIMEOUT: i64 = 2_000;
    const TIMEOUT_MAX: i64 = 0x7fff_fffe;
    // The old ones count only where the new ones say nothing.
    let old_host = fields.text("redis_host");
    let old_port = fields.integer("redis_port", 0, 65_535);
    let old_username = fields.raw("redis_username").and_then(|text| text.as_str()).map(str::to_owned);
    let old_password = fields.raw("redis_password").and_then(|text| text.as_str()).map(str::to_owned);
    let old_ssl = fields.flag("redis_ssl", false);
    let old_verify = fields.flag("redis_ssl_verify", false);
    let old_name = fields.text("redis_server_name");
    let old_timeout = fields.integer("redis_timeout", 0, TIMEOUT_MAX);
    let old_database = fields.integer("redis_database", 0, i64::from(u32::MAX));
    fields.record("redis", |redis| {
        let host = redis.text("host").or(old_host);
        if needed && host.is_none() && !redis.has("host") {
            redis.wrong("host", "required field missing", "add the name or address of the server");
        }
        let port = redis.integer("port", 0, 65_535).or(old_port).unwrap_or(PORT);
        let text = |value: Option<&serde_json::Value>| value.and_then(|v| v.as_str()).map(str::to_owned);
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let username = filled(text(redis.raw("username")).or(old_username));
        let password = filled(text(redis.raw("password")).or(old_password));
        let database = redis.integer("database", 0, i64::from(u32::MAX)).or(old_database).unwrap_or(0);
        let ssl = redis.flag("ssl", old_ssl);
        let verify = redis.flag("ssl_verify", old_verify);
        let server_name = redis.text("server_name").or(old_name);
        let timeout = redis.integer("timeout", 0, TIMEOUT_MAX).or(old_timeout).unwrap_or(TIMEOUT);
        redis.ignored(&["keepalive_pool_size", "keepalive_backlog"]);
        let tls = ssl.then(|| ClientTls { verify, server_name, ..ClientTls::default() });
        let host = host.unwrap_or_default();
        let port = u16::try_from(port).unwrap_or(0);
        (Target { host, port, database, username, password, tls }, Duration::from_millis(timeout.unsigned_abs()))
    })
}
