//! Names of images, as the distribution specification writes them, and the patterns of `targets:`. Pure.

use serde::{Deserialize, Serialize};

/// `HOST/REPOSITORY[:TAG][@DIGEST]`, checked; everything in it can go into an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Image {
    /// Host of the registry, with its port if it has one.
    pub(crate) host: String,
    pub(crate) repository: String,
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<String>,
}

impl Image {
    /// The error says what is wrong with the name.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
            Some(_) => return Err("a digest is written `@sha256:` with 64 hexadecimal digits".into()),
            None => (text, None),
        };
        // A colon before the last slash belongs to a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if !tag.is_none_or(is_tag) {
            return Err("a tag has letters, digits, `_`, `.` and `-`, and at most 128 of them".into());
        }
        let (host, repository) = match name.split_once('/') {
            Some((host, repository)) if host.contains(['.', ':']) || host == "localhost" => (host, repository.to_owned()),
            Some(_) => ("docker.io", name.to_owned()),
            None => ("docker.io", format!("library/{name}")),
        };
        if !is_host(host) {
            return Err("the host of its registry cannot be read".into());
        }
        if repository.len() > 255 || !repository.split('/').all(is_segment) {
            return Err("the path has lower-case letters and digits, with `.`, `_` or `-` between them".into());
        }
        Ok(Self { host: host.to_owned(), repository, tag: tag.map(str::to_owned), digest })
    }

    /// Without tag and digest.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }

    /// What the registry is asked for: the digest, else the tag, else `latest`.
    pub(crate) fn reference(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }

    /// Fully named by a digest.
    pub(crate) fn at(&self, digest: &str) -> String {
        format!("{}@{digest}", self.name())
    }

    /// Does one of these patterns allow it? Patterns are of names; one with a tag allows only that.
    pub(crate) fn is_allowed(&self, patterns: &[String]) -> bool {
        let name = self.name();
        let tagged = self.tag.as_ref().map(|tag| format!("{name}:{tag}"));
        patterns.iter().any(|pattern| fits(pattern, &name) || tagged.as_deref().is_some_and(|tagged| fits(pattern, tagged)))
    }
}

/// `sha256:` and 64 lower-case hexadecimal digits.
pub(crate) fn is_digest(text: &str) -> bool {
    let hex = |digits: &str| digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    text.strip_prefix("sha256:").is_some_and(hex)
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = tag.bytes();
    tag.len() <= 128 && bytes.next().is_some_and(word) && bytes.all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

fn is_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    !name.is_empty() && name.bytes().all(letters) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn is_segment(segment: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = segment.as_bytes();
    bytes.first().is_some_and(|byte| word(*byte))
        && bytes.last().is_some_and(|byte| word(*byte))
        && bytes.iter().all(|byte| word(*byte) || matches!(byte, b'.' | b'_' | b'-'))
}

/// `*` is any run of characters without a slash, `**` any at all.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    // The classic two-pointer match would have to remember two kinds of stars; names are short, so a table does.
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // reached[i]: the pattern so far can end at the first i characters.
    let mut reached = vec![false; text.len() + 1];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    let mut rest = pattern.as_slice();
    while let [head, tail @ ..] = rest {
        let (star, deep, tail) = match (head, tail) {
            ('*', ['*', tail @ ..]) => (true, true, tail),
            ('*', tail) => (true, false, tail),
            (_, tail) => (false, false, tail),
        };
        let mut next = vec![false; text.len() + 1];
        let mut before = false;
        for (index, slot) in next.iter_mut().enumerate() {
            let here = reached.get(index).copied().unwrap_or(false);
            let character = index.checked_sub(1).and_then(|index| text.get(index));
            let came = character.is_some_and(|character| if star { deep || *character != '/' } else { character == head });
            *slot = if star {
                here || (before && came)
            } else {
                came && index.checked_sub(1).and_then(|index| reached.get(index)).copied().unwrap_or(false)
            };
            before = *slot;
        }
        reached = next;
        rest = tail;
    }
    reached.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, host, repository, reference) in [
            ("europe-docker.pkg.dev/p/web/web:main", "europe-docker.pkg.dev", "p/web/web", "main"),
            ("localhost:5000/web", "localhost:5000", "web", "latest"),
            ("nginx", "docker.io", "library/nginx", "latest"),
            ("acme/web:1", "docker.io", "acme/web", "1"),
            (&format!("gcr.io/p/web:1@{digest}"), "gcr.io", "p/web", digest.as_str()),
        ] {
            let image = Image::parse(text).unwrap();
            assert_eq!((image.host.as_str(), image.repository.as_str(), image.reference()), (host, repository, reference));
        }
    }

    #[test]
    fn names_that_could_mean_something_else_in_an_address_are_refused() {
        for text in [
            "",
            "a/../b",
            "gcr.io/p/web:a b",
            "gcr.io/P/web",
            "gcr.io/p//web",
            "gcr.io/p/web@sha256:12",
            "gcr.io/p/web:?x",
            "ex ample.com/x",
            "u@h/x",
            "gcr.io/p/web:",
            "gcr.io/-p/web",
            "gcr.io:99999/p",
        ] {
            assert!(Image::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_star_stays_within_a_segment() {
        for (pattern, text, matches) in [
            ("e.dev/b/web/*", "e.dev/b/web/web", true),
            ("e.dev/b/web/*", "e.dev/b/web/web/x", false),
            ("e.dev/b/**", "e.dev/b/web/web/x", true),
            ("e.dev/b/web/*", "e.dev/b/web/", true),
            ("e.dev/b/web", "e.dev/b/web2", false),
            ("*/web", "e.dev/web", true),
            ("*a*b", "xaab", true),
            ("*a*b", "xaa", false),
            ("", "", true),
        ] {
            assert_eq!(fits(pattern, text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn a_target_allows_only_its_images() {
        let patterns = ["e.dev/b/web/*".to_owned(), "e.dev/b/api:stable".to_owned()];
        for (image, allowed) in [
            ("e.dev/b/web/web:x", true),
            ("e.dev/b/api:stable", true),
            ("e.dev/b/api:main", false),
            ("evil.dev/b/web/web", false),
        ] {
            assert_eq!(Image::parse(image).unwrap().is_allowed(&patterns), allowed, "{image}");
        }
    }
}
