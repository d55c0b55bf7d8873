//! `bot-detection`: crawlers are refused by what they call themselves. Who says nothing of itself may come in.

mod known;

use super::plugin::{Plugin, Setup};
use super::{Hooks, Middleware, Verdict, expression};
use crate::exchange::{Exchange, Reply, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use regex::bytes::Regex;
use std::sync::Arc;

pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 2500, build };

const NAME: &str = "bot-detection";

struct BotDetection {
    allow: Option<Regex>,
    deny: Option<Regex>,
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    let allow = expression::any(&mut fields, "allow");
    let deny = expression::any(&mut fields, "deny");
    fields.finish()?;
    Ok(Arc::new(BotDetection { allow, deny }))
}

impl BotDetection {
    fn refuses(&self, agent: &[u8]) -> bool {
        let agent = agent.trim_ascii();
        let matches = |regex: &Option<Regex>| regex.as_ref().is_some_and(|regex| regex.is_match(agent));
        !matches(&self.allow) && (matches(&self.deny) || known::is_bot(agent))
    }
}

impl Middleware for BotDetection {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hooks(&self) -> Hooks {
        Hooks { request: true, ..Hooks::default() }
    }

    fn on_request(&self, exchange: &mut Exchange, _: &dyn Tell) -> Verdict {
        let mut agents = exchange.request.headers.get_all("user-agent");
        let Some(agent) = agents.next() else { return Verdict::Next };
        if agents.next().is_some() {
            return Verdict::Reply(Reply::message(NAME, 400, "Only one User-Agent header allowed"));
        }
        if !self.refuses(agent) {
            return Verdict::Next;
        }
        let mut reply = Reply::message(NAME, 403, "Forbidden");
        reply.why = "the user agent is one of a bot".into();
        Verdict::Reply(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ask, plugin, wrong};
    use super::*;
    use crate::command::testing::exchange;
    use crate::exchange::Says;
    use serde_json::json;

    fn asked(config: &serde_json::Value, agents: &[&str]) -> Option<(u16, String)> {
        let lines: Vec<_> = agents.iter().map(|a| ("user-agent", *a)).collect();
        let reply = ask(&*plugin(NAME, config), &mut exchange("GET", "/", &lines))?;
        match reply.says {
            Says::Message(message) => Some((reply.status, message.into())),
            says => panic!("{says:?}"),
        }
    }

    #[test]
    fn who_may_call() {
        let forbidden = Some((403, "Forbidden".to_owned()));
        for (config, agents, expected) in [
            (json!({}), &["Googlebot/2.1 (+http://www.google.com/bot.html)"][..], forbidden.clone()),
            (json!({}), &["curl/7.43.0"], None),
            (json!({}), &[], None),
            (json!({}), &[""], None),
            (json!({}), &["facebookexternalhit/1.1"], forbidden.clone()),
            (json!({"allow": ["facebookexternalhit"]}), &["facebookexternalhit/1.1"], None),
            (json!({"deny": ["^curl/[67]", "wget"]}), &["curl/7.43.0"], forbidden.clone()),
            (json!({"deny": ["^curl/[67]", "wget"]}), &["curl/8.0"], None),
            (json!({"deny": ["curl"], "allow": ["curl/7"]}), &["curl/7.43.0"], None),
            (json!({"deny": ["(?i)CURL"]}), &["xcurl"], forbidden.clone()),
            (json!({"allow": ["^Go-http-client/"]}), &["Go-http-client/2.0"], None),
            (json!({"allow": ["a|b", "c"]}), &["Googlebot/2 c"], None),
            (json!({}), &["a", "a"], Some((400, "Only one User-Agent header allowed".to_owned()))),
            (json!({"allow": ["a"]}), &["a", "a"], Some((400, "Only one User-Agent header allowed".to_owned()))),
        ] {
            assert_eq!(asked(&config, agents), expected, "{config} {agents:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let found = wrong(NAME, &json!({"allow": ["ok", "a(?!b)"], "deny": ["(a)\\1", "x{"], "ban": 1}));
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[1].starts_with("allow[1]: 'a(?!b)' is not a valid regex (look-around"), "{found:?}");
        assert!(found[2].starts_with("deny[0]: ") && found[2].contains("backreferences"), "{found:?}");
        assert!(found[3].starts_with("deny[1]: "), "{found:?}");
        assert_eq!(found[0], "ban: unknown field");
        let large = wrong(NAME, &json!({"deny": ["(a{1000}){1000}"]}));
        assert!(large[0].starts_with("deny[0]: ") && large[0].contains("size"), "{large:?}");
        let long = "a".repeat(9 * 1024);
        assert_eq!(wrong(NAME, &json!({"deny": [long]})), ["deny[0]: is longer than 8192 bytes"]);
    }
}
