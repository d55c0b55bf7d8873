//! The report of one cell as a Markdown table.

use crate::Sample;
use crate::cells::Cell;
use crate::proxies::Proxy;
use std::fmt::Write;

/// All samples of a cell; those of a proxy stand in the order in which they were taken, two a round.
pub(crate) fn of(number: usize, cell: &Cell, proxies: &[Proxy], samples: &[Vec<Sample>]) -> String {
    let mut text = format!("**Cell {number}: {}**\n\n", cell.title);
    let others: Vec<Proxy> = proxies.iter().copied().filter(|p| *p != Proxy::Fourmi).collect();
    let beside: String = others.iter().map(|p| format!(" ÷ {} |", p.name())).collect();
    let _ = writeln!(text, "| | CPU |{beside} its CPU busy | resident idle / after load, MiB |");
    let _ = writeln!(text, "|---|---:|{} ---:|---:|", "---:|".repeat(others.len()));
    let rounds: Vec<Vec<f64>> =
        samples.iter().map(|s| s.chunks(2).map(|both| both.iter().map(|s| s.cpu).sum()).collect()).collect();
    let of_proxy = |proxy| proxies.iter().position(|p| *p == proxy).map(|at| &rounds[at]);
    let ratios = |at: usize, to: Proxy| -> Vec<f64> {
        let to = of_proxy(to).map_or(&[][..], |all| all);
        rounds[at].iter().zip(to).map(|(one, other)| one / other).collect()
    };
    for (at, (proxy, samples)) in proxies.iter().zip(samples).enumerate() {
        let all = |what: fn(&Sample) -> f64| samples.iter().map(what).collect::<Vec<f64>>();
        let ratio = |to: &Proxy| if to == proxy { "– |".to_owned() } else { spread(ratios(at, *to), 2) + " |" };
        let _ = writeln!(
            text,
            "| {} | {} | {} {:.0} % | {:.1} / {:.1} |",
            proxy.name(),
            spread(all(|s| s.cpu), 1),
            others.iter().map(ratio).collect::<Vec<_>>().join(" "),
            median(all(|s| s.busy * 100.0)),
            median(all(|s| s.idle as f64 / 1_048_576.0)),
            median(all(|s| s.after as f64 / 1_048_576.0)),
        );
    }
    if let (Some(ours), Some((share, of))) = (of_proxy(Proxy::Fourmi), cell.goal) {
        // The best is the one with the lowest median, not in each round another.
        let medians = of.iter().filter_map(|p| Some((*p, median(of_proxy(*p)?.clone()))));
        let Some((best, _)) = medians.min_by(|a, b| a.1.total_cmp(&b.1)) else { return text };
        let ratio = median(ours.iter().zip(of_proxy(best).unwrap()).map(|(one, other)| one / other).collect());
        let met = if ratio <= share { "met" } else { "missed" };
        let _ = writeln!(text, "\nGoal {share:.2} × {}: {met} ({ratio:.2}).", best.name());
    }
    text
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
