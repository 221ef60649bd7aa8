//! Text on a terminal: colours where a person looks, columns that line up, and nothing from outside that could steer the terminal.

use std::fmt::Write;

/// Colours, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// With colours or without.
    pub fn new(on: bool) -> Self {
        Self { on }
    }

    /// Good.
    pub fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    /// Bad.
    pub fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    /// Not decided yet.
    pub fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    /// Less important.
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// A heading.
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// A state's word in its colour.
    pub fn state(self, word: &str) -> String {
        match word {
            "succeeded" | "completed" | "found" => self.green(word),
            "failed" | "dead" | "rejected" => self.red(word),
            "ignored" | "skipped" | "superseded" | "cancelled" => self.dim(word),
            _ => self.yellow(word),
        }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Text from outside on one line: control characters and marks that turn the direction of writing are shown, not obeyed.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => character.escape_unicode().to_string(),
            _ if character.is_control() => character.escape_default().to_string(),
            _ => character.to_string(),
        })
        .collect()
}

/// Rows under headings, each column as wide as its widest cell. `colour` paints a cell, given its column, after it was measured.
pub fn table(headings: &[&str], rows: &[Vec<String>], paint: Paint, colour: impl Fn(usize, &str) -> String) -> String {
    let widths: Vec<usize> = headings
        .iter()
        .enumerate()
        .map(|(column, heading)| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([heading.chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    let mut line = |cells: Vec<(String, usize)>| {
        let mut line = String::new();
        for ((painted, length), width) in cells.into_iter().zip(&widths) {
            line.push_str(&painted);
            line.push_str(&" ".repeat(width.saturating_sub(length) + 2));
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    };
    line(headings.iter().map(|heading| (paint.bold(heading), heading.chars().count())).collect());
    for row in rows {
        line(row.iter().enumerate().map(|(column, cell)| (colour(column, cell), cell.chars().count())).collect());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\nc\u{202e}d é"), "a\\u{1b}[2Jb\\nc\\u{202e}d é");
    }

    #[test]
    fn columns_line_up_with_and_without_colour() {
        let rows = vec![vec!["1".to_owned(), "failed".to_owned()], vec!["1000".to_owned(), "é".to_owned()]];
        let plain = table(&["ID", "STATE"], &rows, Paint::new(false), |_, cell| cell.to_owned());
        assert_eq!(plain, "ID    STATE\n1     failed\n1000  é\n");
        let paint = Paint::new(true);
        let painted = table(&["ID", "STATE"], &rows, paint, |_, cell| paint.red(cell));
        assert_eq!(painted.replace("\x1b[1m", "").replace("\x1b[31m", "").replace("\x1b[0m", ""), plain);
    }
}
