//! Places in JSON: `data.items.0.id`, and `items.*.id` for all of a list. The same may be written as a JSON pointer (`/data/items/0/id`) or as
//! a JSONPath (`$.data.items[0].id`, `$['a.b']`); that is how a key with a dot in it is named.

use serde_json::{Map, Value};

/// Steps of one path.
const DEEPEST: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// A key of an object, or an index of a list.
    Key(String),
    /// Every item of a list.
    Every,
}

/// A place in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Vec<Step>);

impl Path {
    /// Reads a path. An empty one, or `$`, is the whole document. The error is for the operator.
    pub fn read(text: &str) -> Result<Self, String> {
        let steps = if let Some(pointer) = text.strip_prefix('/') {
            pointer.split('/').map(|step| named(&step.replace("~1", "/").replace("~0", "~"))).collect()
        } else {
            steps(text).ok_or_else(|| format!("`{text}` is no path: write a.b.0, items.*.id, /a/b or $.a['b.c']"))?
        };
        if steps.len() > DEEPEST {
            return Err(format!("`{text}` has more than {DEEPEST} steps"));
        }
        Ok(Self(steps))
    }

    /// All values there, in order; `None` if one of them is missing.
    pub fn all<'v>(&self, value: &'v Value) -> Option<Vec<&'v Value>> {
        let mut found = vec![value];
        for step in &self.0 {
            found = match step {
                Step::Key(key) => found.into_iter().map(|value| child(value, key)).collect::<Option<_>>()?,
                Step::Every => {
                    let lists: Vec<&Vec<Value>> = found.into_iter().map(Value::as_array).collect::<Option<_>>()?;
                    lists.into_iter().flatten().collect()
                }
            };
        }
        Some(found)
    }

    /// The one value there.
    pub fn one<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        let found = self.all(value)?;
        if let [one] = found.as_slice() { Some(one) } else { None }
    }

    /// The one value there, to change it.
    pub fn one_mut<'v>(&self, value: &'v mut Value) -> Option<&'v mut Value> {
        self.0.iter().try_fold(value, |value, step| match (step, value) {
            (Step::Key(key), Value::Array(items)) => items.get_mut(key.parse::<usize>().ok()?),
            (Step::Key(key), other) => other.get_mut(key),
            (Step::Every, _) => None,
        })
    }

    /// Writes a text at every such place, with the objects that lead there.
    pub fn put(&self, value: &mut Value, text: &str) {
        put(value, &self.0, text);
    }
}

fn put(value: &mut Value, steps: &[Step], text: &str) {
    match (steps.split_first(), value) {
        (None, value) => *value = text.into(),
        (Some((Step::Every, rest)), Value::Array(items)) => items.iter_mut().for_each(|item| put(item, rest, text)),
        (Some((Step::Key(key), rest)), Value::Array(items)) => {
            if let Some(item) = key.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                put(item, rest, text);
            }
        }
        (Some((Step::Key(key), rest)), Value::Object(fields)) => {
            put(fields.entry(key.clone()).or_insert_with(|| Value::Object(Map::new())), rest, text);
        }
        _ => {}
    }
}

fn child<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        other => other.get(key),
    }
}

fn named(step: &str) -> Step {
    if step == "*" { Step::Every } else { Step::Key(step.to_owned()) }
}

/// With dots and brackets.
fn steps(text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = match text.strip_prefix('$') {
        Some(rest) if rest.is_empty() || rest.starts_with(['.', '[']) => rest,
        _ if text.starts_with('[') || text.is_empty() => text,
        _ => {
            let (first, rest) = text.split_at(text.find(['.', '[']).unwrap_or(text.len()));
            steps.push(named(Some(first).filter(|first| !first.is_empty())?));
            rest
        }
    };
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let (step, after) = after.split_at(after.find(['.', '[']).unwrap_or(after.len()));
            steps.push(named(Some(step).filter(|step| !step.is_empty())?));
            rest = after;
        } else {
            let inner = rest.strip_prefix('[')?;
            let quote = inner.chars().next().filter(|first| matches!(first, '\'' | '"'));
            let (step, after) = match quote {
                Some(quote) => {
                    let (key, after) = inner.get(1..)?.split_once(quote)?;
                    (Step::Key(key.to_owned()), after.strip_prefix(']')?)
                }
                None => {
                    let (step, after) = inner.split_once(']')?;
                    let fine = step == "*" || (!step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit()));
                    (fine.then(|| named(step))?, after)
                }
            };
            steps.push(step);
            rest = after;
        }
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_place_can_be_written_in_several_ways() {
        let document = json!({ "data": { "items": [{ "id": 1 }, { "id": 2 }] }, "a.b": { "c/d": 3 }, "$type": 4 });
        for path in
            ["data.items.1.id", "$.data.items[1].id", "/data/items/1/id", "data['items'][1][\"id\"]", "$['data'].items.1.id"]
        {
            assert_eq!(Path::read(path).unwrap().one(&document), Some(&json!(2)), "{path}");
        }
        for path in ["['a.b']['c/d']", "$['a.b'].c/d", "/a.b/c~1d"] {
            assert_eq!(Path::read(path).unwrap().one(&document), Some(&json!(3)), "{path}");
        }
        assert_eq!(Path::read("$type").unwrap().one(&document), Some(&json!(4)));
        assert_eq!(Path::read("$").unwrap().one(&document), Some(&document));
        for path in ["data.items.*.id", "$.data.items[*].id", "/data/items/*/id"] {
            assert_eq!(Path::read(path).unwrap().all(&document), Some(vec![&json!(1), &json!(2)]), "{path}");
        }
        for path in ["data..id", ".data", "data.", "data[", "data[x]", "data['x", "data[]", "data[0]x"] {
            assert!(Path::read(path).is_err(), "{path}");
        }
        for path in ["data.items.2.id", "data.items.id", "data.*.id", "nothing"] {
            assert_eq!(Path::read(path).unwrap().all(&document), None, "{path}");
        }
    }

    #[test]
    fn a_text_is_written_where_it_would_be_read() {
        let mut document = json!({ "list": [{ "a": 1 }, {}] });
        Path::read("list.*.b.c").unwrap().put(&mut document, "x");
        Path::read("list.0.a").unwrap().put(&mut document, "y");
        Path::read("list.7.a").unwrap().put(&mut document, "z");
        assert_eq!(document, json!({ "list": [{ "a": "y", "b": { "c": "x" } }, { "b": { "c": "x" } }] }));
    }
}
