//! collectd's StatsD plugin: the receiver that knows no tags.

use super::{Peer, program};
use crate::net::free_port;
use crate::patience::eventually;
use std::process::Command;
use tempfile::TempDir;

/// A running collectd that reads StatsD over UDP and writes a CSV file a series.
pub struct Collectd(Peer);

impl Collectd {
    /// On a free port.
    #[track_caller]
    pub fn start() -> Self {
        let (port, folder) = (free_port(), TempDir::with_prefix("collectd-").unwrap());
        let at = folder.path().display();
        let config = format!(
            "BaseDir \"{at}\"\nPIDFile \"{at}/pid\"\nHostname \"box\"\nFQDNLookup false\nInterval 1\n\
             TypesDB \"/usr/share/collectd/types.db\"\n\
             LoadPlugin logfile\n<Plugin logfile>\n LogLevel info\n File STDERR\n Timestamp false\n</Plugin>\n\
             LoadPlugin statsd\n<Plugin statsd>\n Host \"127.0.0.1\"\n Port \"{port}\"\n TimerPercentile 95\n \
             CounterSum true\n</Plugin>\n\
             LoadPlugin csv\n<Plugin csv>\n DataDir \"{at}/csv\"\n StoreRates false\n</Plugin>\n"
        );
        let file = folder.path().join("collectd.conf");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(program("collectd"));
        command.arg("-f").arg("-C").arg(&file);
        Collectd(Peer::start("collectd", port, folder, &mut command).prints("Listening on"))
    }
    /// Its port.
    pub fn port(&self) -> u16 {
        self.0.port
    }
    /// The series that it wrote, such as `derive-<counter>`, `gauge-<gauge>`, `latency-<timer>-average`.
    pub fn series(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.0.folder.path().join("csv/box/statsd")).into_iter().flatten();
        let names = files.filter_map(|f| f.ok()?.file_name().into_string().ok());
        // Each file's name ends with the day.
        names.filter_map(|n| n.len().checked_sub("-2026-01-31".len()).map(|end| n[..end].to_owned())).collect()
    }
    /// The last number of a series.
    pub fn last(&self, series: &str) -> Option<f64> {
        let files = std::fs::read_dir(self.0.folder.path().join("csv/box/statsd")).ok()?;
        let mut of_it: Vec<_> = files.filter_map(|f| Some(f.ok()?.path())).collect();
        of_it.retain(|p| {
            p.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.rsplitn(4, '-').nth(3) == Some(series))
        });
        of_it.sort();
        let text = std::fs::read_to_string(of_it.last()?).ok()?;
        text.lines().last()?.split(',').nth(1)?.parse().ok()
    }
    /// Waits until a counter has added up to this.
    #[track_caller]
    pub fn counts(&self, name: &str, expected: f64) {
        eventually(&format!("collectd's {name} is {expected}; it has {:?}", self.series()), || {
            (self.last(&format!("derive-{name}")) == Some(expected)).then_some(())
        });
    }
    /// The lines that it could not read.
    pub fn refused(&self) -> Vec<String> {
        let said = self.0.output();
        let bad = said.lines().filter_map(|l| l.split_once("Unable to parse line: "));
        bad.map(|(_, line)| line.trim_matches('"').to_owned()).collect()
    }
}
