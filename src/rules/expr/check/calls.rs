//! Functions and methods: names, arguments, results, and what they do to trust.

use regex::RegexBuilder;

use super::{Checked, Checker, article, failed, flow, made};
use crate::rules::expr::Fault;
use crate::rules::expr::ast::{Ast, Kind, Word};
use crate::rules::expr::node::{Each, Function, Method, NodeKind};
use crate::rules::suggest::closest;
use crate::rules::types::Type;

const FUNCTIONS: [(&str, Function); 7] = [
    ("has", Function::Has),
    ("string", Function::String),
    ("int", Function::Int),
    ("double", Function::Double),
    ("json", Function::Json),
    ("slug", Function::Slug),
    ("short", Function::Short),
];

/// Methods with what they are called on and how many values they take.
const METHODS: [(&str, Method, Receiver, usize); 12] = [
    ("contains", Method::Contains, Receiver::TextOrList, 1),
    ("startsWith", Method::StartsWith, Receiver::Text, 1),
    ("endsWith", Method::EndsWith, Receiver::Text, 1),
    ("size", Method::Size, Receiver::Sized, 0),
    ("lower", Method::Lower, Receiver::Text, 0),
    ("upper", Method::Upper, Receiver::Text, 0),
    ("trim", Method::Trim, Receiver::Text, 0),
    ("split", Method::Split, Receiver::Text, 1),
    ("join", Method::Join, Receiver::List, 1),
    ("replace", Method::Replace, Receiver::Text, 2),
    ("first", Method::First, Receiver::List, 0),
    ("last", Method::Last, Receiver::List, 0),
];

const EACH: [(&str, Each); 4] = [("exists", Each::Exists), ("all", Each::All), ("filter", Each::Filter), ("map", Each::Map)];

/// Names of other languages, and what they are here.
const FOREIGN: [(&str, &str); 17] = [
    ("format", "put ${{ }} into the text, or join texts with +"),
    ("toJSON", "write json(x)"),
    ("fromJSON", "declare the type of the body; it is read as JSON already"),
    ("hashFiles", "nothing is checked out here"),
    ("success", "steps run only if those before succeeded; test steps.x.result"),
    ("failure", "write the step under on-failure:"),
    ("always", "write the step under finally:"),
    ("cancelled", "write the step under finally:"),
    ("now", "there is no clock, so that a replay is exact; delivery.received_at is there"),
    ("len", "write x.size()"),
    ("length", "write x.size()"),
    ("toLowerCase", "write x.lower()"),
    ("toUpperCase", "write x.upper()"),
    ("includes", "write x.contains(y)"),
    ("any", "write x.exists(item, …)"),
    ("some", "write x.exists(item, …)"),
    ("substring", "write short(x) for a commit, or x.split(…)"),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Receiver {
    Text,
    List,
    TextOrList,
    Sized,
}

impl Receiver {
    fn takes(self, of: &Type) -> bool {
        let list = matches!(of, Type::List(_));
        *of == Type::Any
            || match self {
                Self::Text => of.is_stringlike(),
                Self::List => list,
                Self::TextOrList => of.is_stringlike() || list,
                Self::Sized => of.is_stringlike() || list || matches!(of, Type::Map(_)),
            }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::List => "a list",
            Self::TextOrList => "a text or a list",
            Self::Sized => "a text, a list or a map",
        }
    }
}

/// Is there a method of this name?
pub(super) fn is_method(name: &str) -> bool {
    method_names().any(|method| method == name)
}

fn method_names() -> impl Iterator<Item = &'static str> {
    METHODS.iter().map(|(name, ..)| *name).chain(EACH.iter().map(|(name, _)| *name)).chain(["matches"])
}

fn plural(count: usize) -> String {
    match count {
        0 => "no values".to_owned(),
        1 => "one value".to_owned(),
        several => format!("{several} values"),
    }
}

impl Checker<'_> {
    pub(super) fn call(&mut self, ast: &Ast, name: &Word, arguments: &[Ast]) -> Checked {
        if name.text == "if" {
            return self.choice(ast, arguments);
        }
        let Some((_, function)) = FUNCTIONS.iter().find(|(known, _)| *known == name.text) else {
            let fault = Fault::new(name.span.clone(), format!("there is no function `{}`", name.text));
            let names = FUNCTIONS.iter().map(|(known, _)| *known).chain(["if"]);
            let help = if is_method(&name.text) {
                format!("it is a method: write x.{}(…)", name.text)
            } else if let Some((_, help)) = FOREIGN.iter().find(|(foreign, _)| *foreign == name.text) {
                (*help).to_owned()
            } else if let Some(near) = closest(&name.text, names.clone()) {
                format!("did you mean `{near}`?")
            } else {
                format!("functions: {}", names.collect::<Vec<_>>().join(", "))
            };
            for argument in arguments {
                self.operand(argument);
            }
            return self.fault(fault.with_help(help));
        };
        let [argument] = arguments else {
            return self
                .fault(Fault::new(ast.span.clone(), format!("`{}` takes one value, here are {}", name.text, arguments.len())));
        };
        match function {
            Function::Has => self.has(ast, argument),
            function => self.convert(ast, *function, argument),
        }
    }

    fn has(&mut self, ast: &Ast, argument: &Ast) -> Checked {
        let checked = self.operand(argument);
        let text = self.text(&argument.span).to_owned();
        match &checked.result {
            None => failed(ast.span.clone()),
            Some(_) if !matches!(argument.kind, Kind::Name(_) | Kind::Field(..) | Kind::Index(..)) => {
                self.fault(Fault::new(argument.span.clone(), "has() takes a field: has(event.tag)"))
            }
            Some(result) if result.is_optional() || *result == Type::Any => {
                made(ast, NodeKind::Call(Function::Has, Box::new(checked.node)), Some(Type::Bool))
            }
            Some(_) => {
                self.fault(Fault::new(ast.span.clone(), format!("`{text}` is never missing")).with_help("leave this test out"))
            }
        }
    }

    /// Functions of one value that is there (`json` also writes what is missing, as `null`).
    fn convert(&mut self, ast: &Ast, function: Function, argument: &Ast) -> Checked {
        let checked = if function == Function::Json { self.operand(argument) } else { self.present(argument) };
        let Some(of) = &checked.result else { return failed(ast.span.clone()) };
        let scalar = of.is_stringlike() || of.is_number() || matches!(of, Type::Bool | Type::Any);
        let text = if of.tainted() { Type::Text } else { Type::String };
        let result = match function {
            Function::Json => Some(text),
            Function::String => scalar.then_some(text),
            Function::Slug => scalar.then_some(Type::String),
            Function::Int => (scalar && *of != Type::Bool).then_some(Type::Int),
            Function::Double => (scalar && *of != Type::Bool).then_some(Type::Double),
            Function::Short => (of.is_stringlike() || *of == Type::Any).then_some(text),
            Function::Has => None,
        };
        match result {
            Some(result) => made(ast, NodeKind::Call(function, Box::new(checked.node)), Some(result)),
            None => {
                let fault = Fault::new(argument.span.clone(), format!("this cannot be made from {}", article(of)));
                let text = self.text(&argument.span);
                let help = format!("use json({text})");
                self.fault(if function == Function::String { fault.with_help(help) } else { fault })
            }
        }
    }

    fn choice(&mut self, ast: &Ast, arguments: &[Ast]) -> Checked {
        let [condition, yes, no] = arguments else {
            return self.fault(Fault::new(ast.span.clone(), "`if` takes three values: if(condition, then, else)"));
        };
        let condition_checked = self.condition(condition);
        let a = self.knowing(flow::facts(condition, true), |checker| checker.operand(yes));
        let b = self.knowing(flow::facts(condition, false), |checker| checker.operand(no));
        let (Some(_), Some(a_type), Some(b_type)) = (&condition_checked.result, &a.result, &b.result) else {
            return failed(ast.span.clone());
        };
        match a_type.join(b_type) {
            Some(result) => {
                made(ast, NodeKind::If(Box::new(condition_checked.node), Box::new(a.node), Box::new(b.node)), Some(result))
            }
            None => {
                let message = format!("`if` gives {} or {}; both must be of one type", article(a_type), article(b_type));
                self.fault(Fault::new(ast.span.clone(), message))
            }
        }
    }

    pub(super) fn method(&mut self, ast: &Ast, receiver: &Ast, name: &Word, arguments: &[Ast]) -> Checked {
        if let Some((_, each)) = EACH.iter().find(|(known, _)| *known == name.text) {
            return self.each(ast, *each, receiver, name, arguments);
        }
        let of = self.present(receiver);
        let (method, takes, count) = match METHODS.iter().find(|(known, ..)| *known == name.text) {
            Some((_, method, takes, count)) => (Some(*method), *takes, *count),
            None if name.text == "matches" => (None, Receiver::Text, 1),
            None => return self.no_method(name),
        };
        let Some(of_type) = of.result else {
            for argument in arguments {
                self.operand(argument);
            }
            return failed(ast.span.clone());
        };
        if !takes.takes(&of_type) {
            let message = format!("`{}` works on {}, this is {}", name.text, takes.word(), article(&of_type));
            return self.fault(Fault::new(receiver.span.clone(), message));
        }
        if arguments.len() != count {
            let message = format!("`{}` takes {}, here are {}", name.text, plural(count), arguments.len());
            return self.fault(Fault::new(name.span.start..ast.span.end, message));
        }
        match (method, arguments) {
            (None, [pattern]) => self.matches(ast, of.node, pattern),
            (Some(Method::Contains), [item]) if matches!(of_type, Type::List(_)) => {
                self.list_contains(ast, (of.node, &of_type), item)
            }
            (Some(method), arguments) => self.plain(ast, method, (of.node, &of_type), arguments),
            (None, _) => failed(ast.span.clone()),
        }
    }

    fn no_method(&mut self, name: &Word) -> Checked {
        let fault = Fault::new(name.span.clone(), format!("there is no method `{}`", name.text));
        let help = if FUNCTIONS.iter().any(|(known, _)| *known == name.text) {
            format!("it is a function: write {}(x)", name.text)
        } else if let Some((_, help)) = FOREIGN.iter().find(|(foreign, _)| *foreign == name.text) {
            (*help).to_owned()
        } else if let Some(near) = closest(&name.text, method_names()) {
            format!("did you mean `{near}`?")
        } else {
            format!("methods: {}", method_names().collect::<Vec<_>>().join(", "))
        };
        self.fault(fault.with_help(help))
    }

    /// A pattern is written out, so that it is compiled once and its size is known.
    fn matches(&mut self, ast: &Ast, receiver: crate::rules::expr::node::Node, pattern: &Ast) -> Checked {
        let Kind::Text(text) = &pattern.kind else {
            return self.fault(Fault::new(pattern.span.clone(), "the pattern of `matches` must be written out as a text"));
        };
        match RegexBuilder::new(text).size_limit(1 << 18).nest_limit(64).build() {
            Ok(regex) => made(ast, NodeKind::Matches(Box::new(receiver), Box::new(regex)), Some(Type::Bool)),
            Err(regex::Error::CompiledTooBig(_)) => self.fault(Fault::new(pattern.span.clone(), "this pattern is too large")),
            Err(error) => {
                let why = error.to_string();
                let why = why.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
                self.fault(Fault::new(pattern.span.clone(), format!("this is no regular expression: {why}")))
            }
        }
    }

    fn list_contains(&mut self, ast: &Ast, (node, of): (crate::rules::expr::node::Node, &Type), item: &Ast) -> Checked {
        let checked = self.operand(item);
        let (Type::List(inner), Some(item_type)) = (of, &checked.result) else { return failed(ast.span.clone()) };
        if inner.join(item_type).is_none() {
            let message = format!("this list holds {} values, never {}", inner.word(), article(item_type));
            return self.fault(Fault::new(item.span.clone(), message));
        }
        made(ast, NodeKind::Method(Method::Contains, Box::new(node), Box::new([checked.node])), Some(Type::Bool))
    }

    /// Methods whose arguments are texts.
    fn plain(
        &mut self,
        ast: &Ast,
        method: Method,
        (node, of): (crate::rules::expr::node::Node, &Type),
        arguments: &[Ast],
    ) -> Checked {
        let mut nodes = Vec::with_capacity(arguments.len());
        let mut tainted = of.tainted();
        for argument in arguments {
            let checked = self.present(argument);
            match &checked.result {
                None => return failed(ast.span.clone()),
                Some(Type::Any) => tainted = true,
                Some(text) if text.is_stringlike() => tainted |= method != Method::Split && text.tainted(),
                // What is in a list of `any` is only known when it is there.
                Some(_) if *of == Type::Any && method == Method::Contains => {}
                Some(other) => {
                    return self
                        .fault(Fault::new(argument.span.clone(), format!("a text is needed here, this is {}", article(other))));
                }
            }
            nodes.push(checked.node);
        }
        let text = if tainted { Type::Text } else { Type::String };
        let result = match (method, of) {
            (Method::Contains | Method::StartsWith | Method::EndsWith, _) => Type::Bool,
            (Method::Size, _) => Type::Int,
            (Method::Split, _) => Type::List(Box::new(text)),
            (Method::First | Method::Last, Type::List(inner)) => inner.as_ref().clone().optional(),
            (Method::First | Method::Last, _) => Type::Any,
            (Method::Join, Type::List(inner)) if !inner.is_stringlike() && **inner != Type::Any => {
                let fault = Fault::new(ast.span.clone(), format!("`join` works on texts, this is a list of {}", inner.word()));
                return self.fault(fault.with_help("turn the items into texts: x.map(i, string(i)).join(\", \")"));
            }
            (Method::Join | Method::Lower | Method::Upper | Method::Trim | Method::Replace, _) => text,
        };
        made(ast, NodeKind::Method(method, Box::new(node), nodes.into()), Some(result))
    }

    /// `list.map(x, …)` and its kind.
    fn each(&mut self, ast: &Ast, each: Each, receiver: &Ast, name: &Word, arguments: &[Ast]) -> Checked {
        let of = self.present(receiver);
        let [variable, body] = arguments else {
            let message = format!("`{0}` takes a name and what to do with it: x.{0}(item, …)", name.text);
            return self.fault(Fault::new(ast.span.clone(), message));
        };
        let Kind::Name(variable_name) = &variable.kind else {
            return self.fault(Fault::new(variable.span.clone(), "a name for the item is needed here"));
        };
        if self.scope.names.contains_key(variable_name) || self.locals.iter().any(|(local, _)| local == variable_name) {
            return self.fault(Fault::new(variable.span.clone(), format!("`{variable_name}` is taken: use another name")));
        }
        let item = match &of.result {
            None => Type::Any,
            Some(Type::Any) => Type::Any,
            Some(Type::List(inner)) => inner.as_ref().clone(),
            Some(other) => {
                let message = format!("`{}` works on a list, this is {}", name.text, article(other));
                return self.fault(Fault::new(receiver.span.clone(), message));
            }
        };
        self.locals.push((variable_name.clone(), item.clone()));
        let body = if each == Each::Map { self.operand(body) } else { self.condition(body) };
        self.locals.pop();
        let result = match (of.result, body.result, each) {
            (Some(_), Some(body), Each::Map) => Some(Type::List(Box::new(body))),
            (Some(_), Some(_), Each::Filter) => Some(Type::List(Box::new(item))),
            (Some(_), Some(_), Each::Exists | Each::All) => Some(Type::Bool),
            _ => None,
        };
        made(ast, NodeKind::Each(each, Box::new(of.node), Box::new(body.node)), result)
    }
}
