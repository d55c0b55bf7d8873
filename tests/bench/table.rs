//! The report of one cell as a Markdown table.

use crate::Sample;
use crate::cells::Cell;
use crate::proxies::Proxy;
use std::fmt::Write;

/// The goal: this share of Envoy's CPU time.
const GOAL: f64 = 0.7;

/// All samples of a cell; those of a proxy stand in the order in which they were taken, two a round.
pub(crate) fn of(number: usize, cell: &Cell, proxies: &[Proxy], samples: &[Vec<Sample>]) -> String {
    let mut text = format!("**Cell {number}: {}**\n\n", cell.title);
    text += "| | CPU | ÷ Envoy | ÷ nginx | its CPU busy | resident idle / after load, MiB |\n";
    text += "|---|---:|---:|---:|---:|---:|\n";
    let rounds: Vec<Vec<f64>> =
        samples.iter().map(|s| s.chunks(2).map(|both| sum(both.iter().map(|s| s.cpu))).collect()).collect();
    let of_proxy = |proxy| proxies.iter().position(|p| *p == proxy).map(|at| &rounds[at]);
    let ratios = |at: usize, to: Proxy| -> Option<Vec<f64>> {
        Some(rounds[at].iter().zip(of_proxy(to)?).map(|(one, other)| one / other).collect())
    };
    for (at, (proxy, samples)) in proxies.iter().zip(samples).enumerate() {
        let all = |what: fn(&Sample) -> f64| samples.iter().map(what).collect::<Vec<f64>>();
        let ratio = |to| ratios(at, to).filter(|_| *proxy != to).map_or("–".to_owned(), |all| spread(all, 2));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {:.0} % | {:.1} / {:.1} |",
            proxy.name(),
            spread(all(|s| s.cpu), 1),
            ratio(Proxy::Envoy),
            ratio(Proxy::Nginx),
            median(all(|s| s.busy * 100.0)),
            median(all(|s| s.idle as f64 / 1_048_576.0)),
            median(all(|s| s.after as f64 / 1_048_576.0)),
        );
    }
    let fourmi = proxies.iter().position(|p| *p == Proxy::Fourmi);
    if let Some(ratio) = fourmi.and_then(|at| ratios(at, Proxy::Envoy)).map(median) {
        let met = if ratio <= GOAL { "met" } else { "missed" };
        let _ = writeln!(text, "\nGoal {GOAL:.2} × Envoy: {met} ({ratio:.2}).");
    }
    text
}

fn sum(all: impl Iterator<Item = f64>) -> f64 {
    all.sum()
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    let middle = all.len() / 2;
    if all.len() % 2 == 1 { all[middle] } else { (all[middle - 1] + all[middle]) / 2.0 }
}

fn spread(all: Vec<f64>, digits: usize) -> String {
    let least = all.iter().copied().fold(f64::INFINITY, f64::min);
    let most = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.digits$} ({least:.digits$} – {most:.digits$})", median(all))
}
