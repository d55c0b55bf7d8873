//! Tables of rows: an id and a title at the margin, indented lines below; `differs` says why we are not as the original.

/// One row.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) differs: Option<String>,
    /// What it sets, asks and expects.
    pub(crate) lines: Vec<String>,
}

impl Row {
    /// All rows of a file.
    pub(crate) fn parse_all(text: &str) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            match (line.starts_with(' '), rows.last_mut()) {
                (true, Some(row)) => match line.trim().strip_prefix("differs ") {
                    Some(why) => row.differs = Some(why.to_owned()),
                    None => row.lines.push(line.trim().to_owned()),
                },
                _ => {
                    let (id, title) = line.split_once(' ').expect("a row has a title");
                    rows.push(Row { id: id.into(), title: title.into(), differs: None, lines: Vec::new() });
                }
            }
        }
        rows
    }
}

/// Tells how many rows hold and which differ on purpose; all must hold.
pub(crate) fn conclude(rows: &[Row], failed: &[String]) {
    let differ: Vec<&Row> = rows.iter().filter(|row| row.differs.is_some()).collect();
    println!("{} of {} rows hold, {} of them differ on purpose:", rows.len() - failed.len(), rows.len(), differ.len());
    for row in differ {
        println!("  {} {}: {}", row.id, row.title, row.differs.as_deref().unwrap_or_default());
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}
