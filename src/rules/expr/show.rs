//! Values as one short, harmless line for people.

use std::fmt::Write;

use serde_json::Value;

/// So many characters of a value are shown.
const SHOWN: usize = 80;

/// The value as JSON on one line: shortened, with control characters and everything that is invisible or turns the writing direction
/// escaped, so that a value cannot pretend to be something else on a terminal or in a log.
pub fn show(value: &Value) -> String {
    let mut shown = Shown { out: String::new(), left: SHOWN };
    shown.value(value);
    shown.out
}

struct Shown {
    out: String,
    left: usize,
}

impl Shown {
    fn full(&self) -> bool {
        self.left == 0
    }

    /// Adds a character, or the sign that something was left out.
    fn push(&mut self, character: char) {
        match self.left {
            0 => {}
            1 => {
                self.out.push('…');
                self.left = 0;
            }
            _ => {
                self.out.push(character);
                self.left -= 1;
            }
        }
    }

    fn push_str(&mut self, text: &str) {
        text.chars().for_each(|character| self.push(character));
    }

    fn value(&mut self, value: &Value) {
        if self.full() {
            return;
        }
        match value {
            Value::Null => self.push_str("null"),
            Value::Bool(value) => self.push_str(if *value { "true" } else { "false" }),
            Value::Number(number) => self.push_str(&number.to_string()),
            Value::String(text) => self.text(text),
            Value::Array(items) => {
                self.push('[');
                for (index, item) in items.iter().enumerate() {
                    if self.full() {
                        return;
                    }
                    if index > 0 {
                        self.push_str(", ");
                    }
                    self.value(item);
                }
                self.push(']');
            }
            Value::Object(entries) => {
                self.push('{');
                for (index, (name, item)) in entries.iter().enumerate() {
                    if self.full() {
                        return;
                    }
                    if index > 0 {
                        self.push_str(", ");
                    }
                    self.text(name);
                    self.push_str(": ");
                    self.value(item);
                }
                self.push('}');
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.push('"');
        for character in text.chars() {
            if self.full() {
                return;
            }
            match character {
                '"' => self.push_str("\\\""),
                '\\' => self.push_str("\\\\"),
                '\n' => self.push_str("\\n"),
                '\r' => self.push_str("\\r"),
                '\t' => self.push_str("\\t"),
                hidden if is_hidden(hidden) => {
                    let mut escaped = String::new();
                    // Writing to a string cannot fail.
                    let _ = write!(escaped, "\\u{{{:x}}}", u32::from(hidden));
                    self.push_str(&escaped);
                }
                other => self.push(other),
            }
        }
        self.push('"');
    }
}

/// Control characters, line separators, bidirectional marks and invisible ones.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
