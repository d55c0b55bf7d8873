//! graphite-web: the render API over what carbon keeps.

use super::{Carbon, Peer, http_get, run_within};
use crate::net::free_port;
use crate::patience::eventually;
use serde_json::Value;
use std::process::Command;
use tempfile::TempDir;

/// A running graphite-web; it reads the files and the memory of a [`Carbon`].
pub struct GraphiteWeb(Peer);

impl GraphiteWeb {
    /// On a free port, in front of this carbon.
    #[track_caller]
    pub fn start(carbon: &Carbon) -> Self {
        Self::on(free_port(), carbon)
    }
    /// On this port.
    #[track_caller]
    pub fn on(port: u16, carbon: &Carbon) -> Self {
        let folder = TempDir::with_prefix("graphite-").unwrap();
        let (at, storage, cache) = (folder.path().display(), carbon.folder().display(), carbon.cache);
        let settings = format!(
            "from graphite.settings import *\nSECRET_KEY = 'tests'\nSTORAGE_DIR = '{storage}'\n\
             WHISPER_DIR = '{storage}/whisper'\nSTANDARD_DIRS = [WHISPER_DIR]\nLOG_DIR = '{at}'\nINDEX_FILE = '{at}/index'\n\
             CARBONLINK_HOSTS = ['127.0.0.1:{cache}']\nALLOWED_HOSTS = ['*']\nDEFAULT_CACHE_DURATION = 0\n\
             DATABASES = {{'default': {{'ENGINE': 'django.db.backends.sqlite3', 'NAME': '{at}/graphite.db'}}}}\n"
        );
        std::fs::write(folder.path().join("fourmi_graphite.py"), settings).unwrap();
        // Debian's own Python: the package is for it, whatever else is called python3 here.
        let django = || {
            let mut command = Command::new("/usr/bin/python3");
            command.env("DJANGO_SETTINGS_MODULE", "fourmi_graphite").env("PYTHONPATH", folder.path());
            command.args(["-m", "django"]);
            command
        };
        run_within("graphite-web's database", django().args(["migrate", "--run-syncdb"]));
        let mut command = django();
        command.args(["runserver", "--insecure", "--noreload", &format!("127.0.0.1:{port}")]);
        GraphiteWeb(Peer::start("graphite-web", port, folder, &mut command).listens(port))
    }
    /// Its port.
    pub fn port(&self) -> u16 {
        self.0.port
    }
    /// What the render API says of a target (a series or an expression) over the last ten minutes: each series' name and
    /// the points that are not null. `None` when it refuses the target.
    pub fn render(&self, target: &str) -> Option<Vec<(String, Vec<f64>)>> {
        let text = http_get(self.0.port, &format!("/render?target={}&from=-10min&format=json", escape(target)))?;
        let answer: Value = serde_json::from_str(&text).ok()?;
        let series = |s: &Value| {
            let points = s["datapoints"].as_array().into_iter().flatten().filter_map(|p| p[0].as_f64());
            (s["target"].as_str().unwrap_or_default().to_owned(), points.collect())
        };
        Some(answer.as_array()?.iter().map(series).collect())
    }
    /// The names below a pattern such as `fourmi.*`.
    pub fn find(&self, pattern: &str) -> Vec<String> {
        let text = http_get(self.0.port, &format!("/metrics/find?query={}", escape(pattern))).unwrap_or_default();
        let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        answer.as_array().into_iter().flatten().filter_map(|n| n["text"].as_str().map(str::to_owned)).collect()
    }
    /// The values of a tag, among the series that an expression such as `name=a.b` fits.
    pub fn tag_values(&self, tag: &str, expression: &str) -> Vec<String> {
        let path = format!("/tags/autoComplete/values?tag={tag}&expr={}", escape(expression));
        let text = http_get(self.0.port, &path).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }
    /// Waits until a target has a point with this value.
    #[track_caller]
    pub fn has(&self, target: &str, value: f64) {
        eventually(&format!("Graphite has {target} {value}, not {:?}", self.render(target)), || {
            self.render(target)?.iter().any(|(_, points)| points.contains(&value)).then_some(())
        });
    }
}

/// Percent-encodes all that has a meaning in a query.
fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.*".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
