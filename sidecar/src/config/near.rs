//! "Did you mean": the nearest known word.

/// The nearest of `known`, if it is near enough to be a slip of the fingers.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = plain(word);
    // Quadratic work on a word of a hostile file would be a gift.
    if word.len() > 64 {
        return None;
    }
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|k| {
            let whole = plain(k);
            let begun = whole.starts_with(&word);
            // Who writes half of a word or more did not slip.
            let meant = begun && word.len() >= 3 && word.len() * 2 >= whole.len();
            (!meant, distance(&word, &whole), begun, k)
        })
        .filter(|(strange, d, begun, _)| !strange || *d <= limit || (word.len() >= 4 && *begun))
        .min_by_key(|(strange, d, ..)| (*strange, *d))
        .map(|(.., k)| k)
}

/// Case and the kind of dash are no difference.
fn plain(word: &str) -> String {
    word.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let known = ["timeouts", "limits", "max_bytes", "labels", "env"];
        assert_eq!(nearest("timeout", known), Some("timeouts"));
        assert_eq!(nearest("lables", known), Some("labels"));
        assert_eq!(nearest("max-bytes", known), Some("max_bytes"));
        assert_eq!(nearest("Limit", known), Some("limits"));
        assert_eq!(nearest("prot", ["port", "protocol"]), Some("protocol"));
        assert_eq!(nearest("prt", ["protocol", "port"]), Some("port"));
        assert_eq!(nearest("kubernetes", known), None);
        assert_eq!(nearest(&"x".repeat(4000), known), None);
        assert_eq!(distance("abcd", "acbd"), 1);
    }
}
