//! What neutral means, written down apart from the code that makes it so.

/// What stands behind the mark and before the end mark.
pub fn between<'t>(text: &'t str, mark: &str) -> &'t str {
    let (_, rest) = text.split_once(mark).unwrap_or_else(|| panic!("no {mark} in {text:?}"));
    rest.split_once(":FINISH").unwrap_or_else(|| panic!("no end of {mark} in {text:?}")).0
}

/// Characters that turn around what follows them.
fn turns(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn steers(character: char) -> bool {
    character.is_control() && !matches!(character, '\t' | '\n' | '\r')
}

/// As a reader may see it: no zero-width spaces, and a sign in place of what cannot be seen.
fn visible(text: &str) -> String {
    text.chars()
        .filter(|character| *character != '\u{200b}')
        .map(|character| if turns(character) || steers(character) { '\u{fffd}' } else { character })
        .collect()
}

fn nothing_unseen(shown: &str) {
    assert!(!shown.chars().any(|character| turns(character) || steers(character)), "{shown:?}");
}

/// No sign of these has a name right behind it.
fn mentions_nobody(shown: &str, signs: &[char]) {
    for (at, _) in shown.match_indices(signs) {
        let behind = shown[at..].chars().nth(1);
        assert!(behind.is_none_or(|next| !next.is_alphanumeric() && !matches!(next, '_' | '-')), "{shown:?}");
    }
}

/// Entities and their signs; `&` last, so that nothing is decoded twice.
const ENTITIES: [(&str, &str); 7] =
    [("&lt;", "<"), ("&gt;", ">"), ("&#91;", "["), ("&#93;", "]"), ("&#96;", "`"), ("&#126;", "~"), ("&amp;", "&")];

/// Neither HTML nor link nor image nor mention nor fence, also between an author's own brackets; and it reads as it was written.
pub fn markdown(shown: &str, text: &str) {
    nothing_unseen(shown);
    assert!(!shown.contains(['<', '>', '[', ']']), "{shown:?}");
    assert!(!shown.contains("```") && !shown.contains("~~~"), "{shown:?}");
    mentions_nobody(shown, &['@']);
    for (at, _) in shown.match_indices('#') {
        let entity = shown[..at].ends_with('&');
        let number = shown[at + 1..].starts_with(|next: char| next.is_ascii_digit());
        assert!(entity || !number, "an issue is mentioned: {shown:?}");
    }
    let read = ENTITIES.iter().fold(shown.to_owned(), |read, (entity, sign)| read.replace(entity, sign));
    assert_eq!(visible(&read), visible(text));
}

/// Neither mention nor link, also right behind an author's own `<`; and it reads as it was written.
pub fn mrkdwn(shown: &str, text: &str) {
    nothing_unseen(shown);
    assert!(!shown.contains(['<', '>']), "{shown:?}");
    assert!(!shown.starts_with(['!', '@', '#']), "{shown:?}");
    let read = shown.replace("&lt;", "<").replace("&gt;", ">");
    assert!(!read.replace("&amp;", "").contains('&'), "{shown:?}");
    assert_eq!(visible(&read.replace("&amp;", "&")), visible(text));
}

/// Nobody is told of it; and it reads as it was written.
pub fn post(shown: &str, text: &str) {
    nothing_unseen(shown);
    mentions_nobody(shown, &['@', '＠']);
    assert_eq!(visible(shown), visible(text));
}
