//! The sums: what was sent, answered, logged and counted, by those who did it, must agree.

use std::fmt::Write;

/// The numbers of one direction of one service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// Commands that left their caller, as the caller counts.
    pub(super) sent: u64,
    /// Of them, those that the caller got an answer to.
    pub(super) answered: u64,
    /// Of those answers, the ones by which a middleware refused it, as the caller counts.
    pub(super) refused: u64,
    /// Log records that the GELF receiver got.
    pub(super) records: u64,
    /// Of them, those that tell of a refusal.
    pub(super) refusals: u64,
    /// Commands that the StatsD receiver was told of.
    pub(super) counted: u64,
}

/// The numbers of one service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// Its name.
    pub(super) service: &'static str,
    /// Commands to it.
    pub(super) inbound: Way,
    /// Commands that it sent, when it sends any.
    pub(super) outbound: Option<Way>,
    /// Records that its Fourmi says it lost.
    pub(super) lost: u64,
    /// Datagrams of records that the kernel dropped at the receiver.
    pub(super) dropped: u64,
    /// Datagrams of StatsD that the kernel dropped at the receiver.
    pub(super) dropped_statsd: u64,
    /// Datagrams that came and could not be read.
    pub(super) odd: u64,
}

impl Account {
    fn ways(&self) -> impl Iterator<Item = (&'static str, Way)> + use<> {
        let outbound = self.outbound.map(|way| ("outbound", way));
        [("inbound", self.inbound)].into_iter().chain(outbound)
    }

    /// What does not add up, in words. Empty when everything does.
    pub(super) fn differences(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let name = self.service;
        let losses = self.lost + self.dropped;
        for (way, n) in self.ways() {
            if n.sent == 0 {
                wrong.push(format!("{name} {way}: nothing was sent"));
            }
            if n.answered != n.sent {
                wrong.push(format!("{name} {way}: {} sent, {} answered", n.sent, n.answered));
            }
            // Losses do not tell their direction, so with losses only the sum over both can be compared.
            if losses == 0 && n.records != n.sent {
                wrong.push(format!("{name} {way}: {} sent, {} log records, none lost", n.sent, n.records));
            }
            if losses == 0 && n.refusals != n.refused {
                wrong.push(format!("{name} {way}: {} refused, {} log records of refusals", n.refused, n.refusals));
            }
            if n.counted != n.sent {
                let dropped = match self.dropped_statsd {
                    0 => String::new(),
                    n => format!(" ({n} datagrams dropped by the kernel)"),
                };
                wrong.push(format!("{name} {way}: {} sent, {} counted by StatsD{dropped}", n.sent, n.counted));
            }
        }
        let sum = |of: fn(Way) -> u64| self.ways().map(|(_, way)| of(way)).sum::<u64>();
        let (sent, records) = (sum(|way| way.sent), sum(|way| way.records));
        if losses > 0 && sent != records + losses {
            wrong.push(format!("{name}: {sent} sent, {records} log records + {losses} lost"));
        }
        if self.odd > 0 {
            wrong.push(format!("{name}: {} log datagrams could not be read", self.odd));
        }
        wrong
    }
}

/// The table of all accounts. Losses stand in a service's first line, as they are of both directions.
pub(super) fn table(accounts: &[Account]) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{:<9}{:<10}{:>9}{:>10}{:>9}{:>13}{:>7}{:>9}",
        "service", "way", "sent", "answered", "refused", "log records", "lost", "StatsD"
    );
    for account in accounts {
        for (at, (way, n)) in account.ways().enumerate() {
            let lost = if at == 0 { (account.lost + account.dropped).to_string() } else { String::new() };
            let _ = writeln!(
                out,
                "{:<9}{way:<10}{:>9}{:>10}{:>9}{:>13}{lost:>7}{:>9}",
                account.service, n.sent, n.answered, n.refused, n.records, n.counted
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(sent: u64) -> Way {
        Way { sent, answered: sent, refused: 2, records: sent, refusals: 2, counted: sent }
    }

    fn order() -> Account {
        Account { service: "order", inbound: way(10), outbound: Some(way(38)), ..Account::default() }
    }

    #[test]
    fn equal_sums_are_silent() {
        assert!(order().differences().is_empty());
        // Three records lost, one by the kernel, from whichever direction.
        let mut lossy = order();
        (lossy.lost, lossy.dropped) = (3, 1);
        lossy.inbound.records -= 1;
        lossy.outbound = Some(Way { records: 35, ..way(38) });
        assert!(lossy.differences().is_empty(), "{:?}", lossy.differences());
        let text = table(&[lossy]);
        assert!(
            text.contains("order    inbound          10        10        2            9      4       10"),
            "{text}"
        );
        assert!(
            text.contains("order    outbound         38        38        2           35              38"),
            "{text}"
        );
    }

    #[test]
    fn every_difference_is_named() {
        let mut account = order();
        account.inbound = Way { sent: 10, answered: 9, refused: 3, records: 8, refusals: 2, counted: 7 };
        account.dropped_statsd = 1;
        account.odd = 2;
        let said = account.differences().join("\n");
        for part in [
            "10 sent, 9 answered",
            "3 refused, 2 log records",
            "8 log records, none lost",
            "7 counted by StatsD (1 datagrams",
            "2 log datagrams",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let mut account = order();
        account.lost = 1;
        assert_eq!(account.differences(), ["order: 48 sent, 48 log records + 1 lost"], "a loss that did not happen");
        let silent = Account { service: "mail", ..Account::default() };
        assert_eq!(silent.differences(), ["mail inbound: nothing was sent"], "zeros are no proof");
    }
}
