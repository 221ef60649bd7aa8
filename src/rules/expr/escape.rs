//! Making outsiders' text harmless where it is shown.

/// In place of a character that is not seen, or that turns around what follows it: a text that holds one is not what it looks like.
const UNSEEN: char = '\u{fffd}';

/// Is it a control character other than those of lines, or one that changes the direction of what follows?
fn is_unseen(character: char) -> bool {
    character.is_control() && !matches!(character, '\t' | '\n' | '\r')
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// For GitHub comments: no HTML, no mention, no link or image syntax, no fence that swallows what follows. Reads the same when shown.
///
/// A value is joined with other text later, so whatever could become active together with its neighbour is defused at the ends too.
pub fn escape_markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let after = rest.get(character.len_utf8()..).unwrap_or_default();
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // An entity cannot open a link or an image, but shows as the bracket.
            '[' => out.push_str("&#91;"),
            // It would end the author's own `[` around the value, and choose where that link leads.
            ']' => out.push_str("&#93;"),
            unseen if is_unseen(unseen) => out.push(UNSEEN),
            '&' if may_be_entity(after) => out.push_str("&amp;"),
            // The zero-width space separates the name from its sign; GitHub then links neither users, teams nor issues.
            '@' if after.is_empty() || after.starts_with(|next: char| next.is_alphanumeric() || matches!(next, '_' | '-')) => {
                out.push_str("@\u{200b}")
            }
            '#' if after.is_empty() || after.starts_with(|next: char| next.is_ascii_digit()) => out.push_str("#\u{200b}"),
            '`' | '~' => {
                let run = rest.len() - rest.trim_start_matches(character).len();
                let fence = if character == '`' { "&#96;" } else { "&#126;" };
                if run >= 3 || run == rest.len() || out.is_empty() {
                    out.push_str(&fence.repeat(run));
                } else {
                    out.push_str(rest.get(..run).unwrap_or_default());
                }
                rest = rest.get(run..).unwrap_or_default();
                continue;
            }
            other => out.push(other),
        }
        rest = after;
    }
    out
}

/// Does `&` begin an entity with what follows, or could it with text that is joined on later?
fn may_be_entity(after: &str) -> bool {
    let name = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '#');
    name.is_empty() || name.starts_with(';')
}

/// For Slack: `& < >`, so that neither links, mentions nor `<!channel>` can be made; not even behind an author's own `<`.
pub fn escape_mrkdwn(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    if text.starts_with(['!', '@', '#']) {
        out.push('\u{200b}');
    }
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            unseen if is_unseen(unseen) => out.push(UNSEEN),
            other => out.push(other),
        }
    }
    out
}

/// For posts of plain text in which `@name` tells that person: the same to read, and nobody is told.
pub fn escape_post(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            // Both are taken for the sign.
            '@' | '\u{ff20}' => out.extend([character, '\u{200b}']),
            unseen if is_unseen(unseen) => out.push(UNSEEN),
            other => out.push(other),
        }
    }
    out
}

/// For one segment of a URL's path: everything but letters, digits and `-._~` is percent-encoded.
pub fn escape_url_path(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
