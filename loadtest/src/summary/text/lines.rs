//! Lines with a label and a text, wrapped at a width.

/// The width of labels.
pub(super) const LABEL: usize = 12;

/// The width of a cell of a table: three digits with a unit, and the sign of a lower bound.
const CELL: usize = 10;

/// The narrowest text: a table of six cells.
const MIN_WIDTH: usize = LABEL + 1 + 6 * CELL;

/// Lines of text.
pub(super) struct Lines {
    text: String,
    width: usize,
}

impl Lines {
    /// Lines of at most `width` characters, if they have spaces to wrap at.
    pub(super) fn new(width: usize) -> Self {
        Self { text: String::new(), width: width.max(MIN_WIDTH) }
    }

    /// Adds a text with a label. Long texts continue on further lines, below their first word.
    pub(super) fn add(&mut self, label: &str, text: &str) {
        self.wrap(&format!("{label:<LABEL$} "), text, 0);
    }

    /// Adds one of several texts with a label; its continuation lines are indented further.
    pub(super) fn part(&mut self, label: &str, text: &str) {
        self.wrap(&format!("{label:<LABEL$} "), text, 2);
    }

    /// Adds an item of a list below a label; its continuation lines are indented further.
    pub(super) fn item(&mut self, label: &str, text: &str) {
        self.wrap(&format!("{label:<LABEL$} "), &format!("- {text}"), 2);
    }

    fn wrap(&mut self, head: &str, text: &str, hanging: usize) {
        let mut line = head.to_owned();
        let indent = " ".repeat(LABEL + 1 + hanging);
        let mut is_empty = true;
        // No break between a number and its unit.
        for word in words(text) {
            if !is_empty && width_of(&line) + 1 + width_of(&word) > self.width {
                self.push(&line);
                line.clone_from(&indent);
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(&word);
            is_empty = false;
        }
        self.push(&line);
    }

    /// Adds a row of a table: cells that are aligned at the right. A long label takes the space of the
    /// first cell.
    pub(super) fn row(&mut self, label: &str, cells: &[String]) {
        let mut line = label.to_owned();
        for (index, cell) in cells.iter().enumerate() {
            let end = LABEL + 1 + (index + 1) * CELL;
            let width = end.saturating_sub(width_of(&line)).max(width_of(cell) + 1);
            line.push_str(&format!("{cell:>width$}"));
        }
        self.push(&line);
    }

    /// Adds a line as it is.
    pub(super) fn push(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// Adds an empty line, unless the text ends with one.
    pub(super) fn space(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// The text.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// The parts of a text between which a line can break: words, and numbers with the word after them.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match words.last_mut().filter(|last| last.ends_with(|c: char| c.is_ascii_digit() || c == '±' || c == '≥')) {
            Some(number) => {
                number.push(' ');
                number.push_str(word);
            }
            None => words.push(word.to_owned()),
        }
    }
    words
}

fn width_of(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_continue_below_their_first_word() {
        let mut lines = Lines::new(80);
        lines.add("label", &"word ".repeat(30));
        lines.item("", &"item ".repeat(20));
        let text = lines.finish();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.starts_with("label        word word "), "{text}");
        assert!(text.contains("\n             word "), "{text}");
        assert!(text.contains("\n             - item") && text.contains("\n               item"), "{text}");
        assert_eq!((text.matches("word").count(), text.matches("item").count()), (30, 20));
    }

    #[test]
    fn a_long_label_takes_the_space_of_the_first_cell() {
        let row = |label: &str| {
            let mut lines = Lines::new(80);
            lines.row(label, &["1.00 ms".into(), "2.00 ms".into()]);
            lines.finish()
        };
        assert_eq!(row("  response"), "  response      1.00 ms   2.00 ms\n");
        assert_eq!(row("  first message"), "  first message 1.00 ms   2.00 ms\n");
        assert_eq!(row("  the first message"), "  the first message 1.00 ms 2.00 ms\n", "a space remains");
    }

    #[test]
    fn a_number_stays_with_its_unit() {
        assert_eq!(words("a 12 µs b ± 3 ms"), ["a", "12 µs", "b", "± 3 ms"]);
    }

    #[test]
    fn a_word_that_is_too_long_is_not_cut() {
        let mut lines = Lines::new(0);
        lines.add("target", &"x".repeat(200));
        assert_eq!(lines.finish(), format!("target       {}\n", "x".repeat(200)));
    }
}
