//! CODEOWNERS: who owns a path, by GitHub's rules. Pure.

/// Where GitHub looks for it, in this order.
pub const PLACES: [&str; 3] = [".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"];

/// The owners of a path: those of the last pattern that matches.
pub fn owners_of<'t>(text: &'t str, path: &str) -> Vec<&'t str> {
    let mut owners = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        if let Some(pattern) = words.next()
            && matches(pattern, path)
        {
            owners = words.collect();
        }
    }
    owners
}

/// As in `.gitignore`, without `!` and `[ ]`, which GitHub does not take here.
fn matches(pattern: &str, path: &str) -> bool {
    if pattern.starts_with('!') || pattern.contains(['[', ']']) {
        return false;
    }
    let whole = pattern.strip_suffix('/').unwrap_or(pattern);
    let rooted = whole.contains('/');
    let (folder, whole) = (pattern.ends_with('/'), whole.trim_start_matches('/'));
    let wanted: Vec<&str> = whole.split('/').collect();
    let parts: Vec<&str> = path.split('/').collect();
    let starts: Vec<usize> = if rooted { vec![0] } else { (0..parts.len()).collect() };
    starts.into_iter().any(|start| {
        // What is below a folder belongs to the folder's owners; below `dir/*` only files directly in it do.
        let direct = wanted.last() == Some(&"*");
        fits(&wanted, parts.get(start..).unwrap_or_default(), folder, direct)
    })
}

fn fits(wanted: &[&str], parts: &[&str], folder: bool, direct: bool) -> bool {
    match (wanted.split_first(), parts.split_first()) {
        (None, None) => !folder,
        (None, Some(_)) => !direct,
        (Some((&"**", rest)), _) => {
            rest.is_empty() && !parts.is_empty()
                || (0..=parts.len()).any(|skip| fits(rest, parts.get(skip..).unwrap_or_default(), folder, direct))
        }
        (Some((want, rest)), Some((part, more))) => segment(want, part) && fits(rest, more, folder, direct),
        (Some(_), None) => false,
    }
}

/// `*` and `?` within one part of a path.
fn segment(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // Whether the text up to each place fits the pattern so far.
    let mut fits = vec![false; text.len() + 1];
    if let Some(first) = fits.first_mut() {
        *first = true;
    }
    for wanted in pattern {
        let mut before = wanted == '*' && fits.first() == Some(&true);
        let mut next = vec![before];
        for (found, pair) in text.iter().zip(fits.windows(2)) {
            let (here, there) = (pair.first() == Some(&true), pair.last() == Some(&true));
            before = match wanted {
                '*' => there || before,
                '?' => here,
                wanted => here && *found == wanted,
            };
            next.push(before);
        }
        fits = next;
    }
    fits.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pattern_that_matches_names_the_owners() {
        let text = "# who looks after what\n*  @acme/everybody\n/.declic/ @acme/platform @mona # rules\n*.md\n";
        assert_eq!(owners_of(text, ".declic/deploy.yaml"), ["@acme/platform", "@mona"]);
        assert_eq!(owners_of(text, "src/main.rs"), ["@acme/everybody"]);
        assert_eq!(owners_of(text, "README.md"), Vec::<&str>::new(), "a pattern without owners takes them away");
        assert_eq!(owners_of("", "x"), Vec::<&str>::new());
    }

    #[test]
    fn patterns_are_those_of_gitignore() {
        for (pattern, path, expected) in [
            ("*", ".declic/a.yaml", true),
            (".declic/", ".declic/a.yaml", true),
            (".declic/", "sub/.declic/a.yaml", true),
            ("/.declic/", "sub/.declic/a.yaml", false),
            (".declic", ".declic/a.yaml", true),
            ("/.declic", ".declic/a.yaml", true),
            (".declic/*", ".declic/a.yaml", true),
            (".declic/*", ".declic/sub/a.yaml", false),
            (".declic/**", ".declic/sub/a.yaml", true),
            ("**/a.yaml", ".declic/sub/a.yaml", true),
            ("/.declic/**/a.yaml", ".declic/a.yaml", true),
            ("*.yaml", ".declic/a.yaml", true),
            ("*.yml", ".declic/a.yaml", false),
            (".declic/?.yaml", ".declic/a.yaml", true),
            (".declic/a", ".declic/a.yaml", false),
            ("!.declic/", ".declic/a.yaml", false),
            ("[.]declic/", ".declic/a.yaml", false),
            ("docs/", ".declic/a.yaml", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}
