//! Cells with what was expected and what came.

/// A table in the making.
pub(crate) struct Table {
    title: &'static str,
    lines: Vec<String>,
    wrong: usize,
}

impl Table {
    pub(crate) fn new(title: &'static str) -> Table {
        Table { title, lines: Vec::new(), wrong: 0 }
    }

    /// One cell. `more` is shown when it differs.
    pub(crate) fn cell(&mut self, cell: &str, expected: &str, came: &str, more: &str) {
        let same = expected == came;
        let mark = if same { "ok    " } else { "DIFFER" };
        let mut line = format!("{mark} {cell:<44} {came}");
        if !same {
            self.wrong += 1;
            line += &format!("\n       expected: {expected}\n       {}", more.replace('\n', "\n       "));
        }
        self.lines.push(line);
    }

    /// Prints it; a cell that differs is a failure.
    pub(crate) fn end(self) {
        let total = self.lines.len();
        println!("== {}", self.title);
        self.lines.iter().for_each(|line| println!("{line}"));
        println!("== {}: {}/{total} passed", self.title, total - self.wrong);
        assert!(total > 0 && self.wrong == 0, "{}: {} of {total} cells differ", self.title, self.wrong);
    }
}
