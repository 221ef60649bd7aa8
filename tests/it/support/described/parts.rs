//! What is signed, as a text or a list in whatever brackets, in ours.

use serde_json::Value;

/// What the rest of the description says of the parts.
pub struct Names<'n> {
    /// The header with the delivery's id.
    pub id: Option<&'n str>,
    /// The header with the time.
    pub time: Option<&'n str>,
    /// What stands between the items of a list.
    pub join: Option<&'n str>,
}

/// What is signed, in our brackets.
pub fn parts(template: &Value, names: &Names<'_>) -> String {
    match template {
        Value::Array(items) => {
            let parts: Vec<String> = items.iter().map(|item| names.part(item)).collect();
            // A list with texts of its own between its names says what stands there.
            let bare = parts.iter().all(|part| part.starts_with('{') && part.ends_with('}'));
            let join = names.join.filter(|_| bare).unwrap_or_default();
            parts.join(join)
        }
        Value::Object(fields) if fields.contains_key("parts") => {
            let join = ["join", "separator", "joiner"].iter().find_map(|name| fields.get(*name)?.as_str()).unwrap_or_default();
            let items = fields["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
            items.iter().map(|item| names.part(item)).collect::<Vec<_>>().join(join)
        }
        Value::String(text) => names.text(text),
        other => names.part(other),
    }
}

impl Names<'_> {
    fn text(&self, text: &str) -> String {
        let percent = text.matches('%').count() >= 2;
        let marked = text.replace("${", "{").replace("{{", "{").replace("}}", "}").replace('<', "{").replace('>', "}");
        if marked.contains('{') {
            self.bracketed(&marked)
        } else if percent {
            let mut open = true;
            let marked = text.split('%').collect::<Vec<_>>();
            let mut out = String::new();
            for (index, piece) in marked.iter().enumerate() {
                if index > 0 {
                    out.push(if open { '{' } else { '}' });
                    open = !open;
                }
                out.push_str(piece);
            }
            self.bracketed(&out)
        } else {
            self.bare(text)
        }
    }

    /// `{timestamp}.{body}`.
    fn bracketed(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            out.push_str(before);
            out.push_str(&self.known(name.trim()).unwrap_or_else(|| format!("{{{name}}}")));
            rest = after;
        }
        out + rest
    }

    /// `v0:timestamp:body`, `timestamp + '.' + body`, `id.ts.body`.
    fn bare(&self, text: &str) -> String {
        let mut out = String::new();
        let mut word = String::new();
        for character in text.chars().chain(['\0']) {
            if character.is_ascii_alphanumeric() || matches!(character, '_' | '-') {
                word.push(character);
                continue;
            }
            out.push_str(&self.known(&word).unwrap_or_else(|| word.clone()));
            word.clear();
            if !matches!(character, '\0' | '+' | ' ' | '\'' | '"') {
                out.push(character);
            }
        }
        out
    }

    /// An item of a list: a name, a text that is itself, `{ header: X }`, `{ type: header, name: X }`, `{ const: "." }`, `{ body: true }`.
    fn part(&self, item: &Value) -> String {
        match item {
            Value::Object(fields) => {
                let text = |name: &str| fields.get(name).and_then(Value::as_str);
                let kind = ["type", "part", "kind"].iter().find_map(|name| text(name));
                let named = ["name", "value", "text", "header", "field", "key"].iter().find_map(|name| text(name));
                match (kind, named) {
                    (Some("header"), Some(name)) => self.header(name),
                    (Some("text" | "literal" | "const" | "constant" | "string"), Some(text)) => text.to_owned(),
                    (Some(kind), _) => self.known(kind).unwrap_or_default(),
                    (None, _) => match fields.iter().next() {
                        Some((name, Value::String(value))) if name == "header" => self.header(value),
                        Some((name, Value::String(value))) if name == "payload" => format!("{{payload:{value}}}"),
                        Some((_, Value::String(value))) => value.clone(),
                        Some((name, _)) => self.known(name).unwrap_or_default(),
                        None => String::new(),
                    },
                }
            }
            Value::String(text) if text.contains('{') => self.text(text),
            Value::String(text) => {
                let quoted = ['\'', '"'].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
                quoted.map_or_else(|| self.known(text).unwrap_or_else(|| text.clone()), str::to_owned)
            }
            _ => String::new(),
        }
    }

    /// A header; that of the time is the time.
    fn header(&self, name: &str) -> String {
        let name = name.to_ascii_lowercase();
        let is_time = self.time.is_some_and(|time| time.eq_ignore_ascii_case(&name));
        if is_time { "{timestamp}".to_owned() } else { format!("{{header:{name}}}") }
    }

    /// A part by any of its names.
    fn known(&self, name: &str) -> Option<String> {
        let word = name.to_ascii_lowercase().replace('_', "-");
        Some(match word.as_str() {
            "body" | "raw-body" | "rawbody" | "payload" | "raw" | "request-body" | "request.body" | "req.body" => {
                "{body}".to_owned()
            }
            "timestamp" | "ts" | "t" | "time" => "{timestamp}".to_owned(),
            "method" | "http-method" | "verb" => "{method}".to_owned(),
            "url" | "public-url" | "request-url" | "uri" | "full-url" => "{url}".to_owned(),
            "path" | "request-path" => "{path}".to_owned(),
            "query" | "query-string" => "{query}".to_owned(),
            "form" | "form-params" | "sorted-params" => "{form}".to_owned(),
            "id" | "msg-id" | "message-id" | "webhook-id" | "delivery-id" => self.header(self.id?),
            _ => match word.split_once([':', '.', '[']) {
                Some(("header" | "headers", header)) => self.header(header.trim_end_matches(']').trim_matches(['\'', '"'])),
                Some(("payload" | "form", field)) => format!("{{payload:{field}}}"),
                _ => return None,
            },
        })
    }
}
