//! Reads the text exposition format, strictly enough to notice a broken line.

/// One series with its value.
#[derive(Debug, Clone)]
pub struct Series {
    /// Metric name.
    pub name: String,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// Value.
    pub value: f64,
}

/// What one scrape brought.
#[derive(Debug, Clone)]
pub struct Scrape {
    text: String,
    series: Vec<Series>,
}

impl Scrape {
    /// Reads a scrape.
    #[track_caller]
    pub fn of(text: &str) -> Self {
        let series = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).map(parse).collect();
        Scrape { text: text.to_owned(), series }
    }
    /// As it came.
    pub fn text(&self) -> String {
        self.text.clone()
    }
    /// Every series.
    pub fn series(&self) -> &[Series] {
        &self.series
    }
    /// The series of a metric that carry all these labels.
    pub fn find<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Series> {
        let fits = move |s: &&Series| {
            s.name == name && labels.iter().all(|(k, v)| s.labels.iter().any(|(key, value)| key == k && value == v))
        };
        self.series.iter().filter(fits)
    }
    /// Their sum; 0 when there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).map(|s| s.value).sum()
    }
    /// The distinct values of a label.
    pub fn values(&self, name: &str, label: &str) -> Vec<String> {
        let mut values: Vec<String> = self
            .find(name, &[])
            .filter_map(|s| s.labels.iter().find(|(k, _)| k == label).map(|(_, v)| v.clone()))
            .collect();
        values.sort();
        values.dedup();
        values
    }
}

#[track_caller]
fn parse(line: &str) -> Series {
    let broken = || -> ! { panic!("not a line of the exposition format: {line:?}") };
    let Some(at) = line.find(['{', ' ']) else { broken() };
    let name = line[..at].to_owned();
    let mut rest = &line[at..];
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let Some((key, after)) = rest.split_once("=\"") else { broken() };
            let mut value = String::new();
            let mut chars = after.char_indices();
            let end = loop {
                match chars.next() {
                    Some((_, '\\')) => match chars.next() {
                        Some((_, 'n')) => value.push('\n'),
                        Some((_, c)) => value.push(c),
                        None => broken(),
                    },
                    Some((i, '"')) => break i,
                    Some((_, c)) => value.push(c),
                    None => broken(),
                }
            };
            labels.push((key.to_owned(), value));
            rest = after[end + 1..].trim_start_matches(',');
        }
        rest = &rest[1..];
    }
    let Some(value) = rest.split_whitespace().next().and_then(|v| v.parse().ok()) else { broken() };
    Series { name, labels, value }
}
