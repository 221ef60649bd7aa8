//! Our words and moments as types of the interface: the same lists as in the journal, so that they cannot differ.

use std::borrow::Cow;
use std::marker::PhantomData;

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::journal::record::{AttemptState, DeliveryState, GroupMode, Phase, RunState, StepState};
use crate::matching::Verdict;

/// A closed list of words.
pub trait Words: Sized + Send + Sync + 'static {
    /// Name of the list in the interface.
    const NAME: &'static str;

    /// All of them.
    fn words() -> Vec<&'static str>;
}

macro_rules! words {
    ($($kind:ty = $name:literal: $all:expr;)+) => {
        $(impl Words for $kind {
            const NAME: &'static str = $name;

            fn words() -> Vec<&'static str> {
                $all.iter().map(|one| one.word()).collect()
            }
        })+
    };
}

words! {
    DeliveryState = "DeliveryState": DeliveryState::ALL;
    RunState = "RunState": RunState::ALL;
    StepState = "StepState": StepState::ALL;
    AttemptState = "AttemptState": AttemptState::ALL;
    Phase = "Phase": Phase::ALL;
    GroupMode = "GroupMode": [Self::QueueLatest, Self::QueueAll, Self::Supersede, Self::Skip, Self::Collapse];
    Verdict = "Verdict": Verdict::ALL;
}

/// One word of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word<T>(pub String, PhantomData<T>);

impl<T: Words> Word<T> {
    /// A word that is known to be one.
    pub fn new(word: &str) -> Self {
        Self(word.to_owned(), PhantomData)
    }

    fn parse(word: &str) -> ParseResult<Self> {
        if T::words().contains(&word) {
            Ok(Self::new(word))
        } else {
            Err(ParseError::custom(format!("`{}` is none of {}", word.escape_debug(), T::words().join(", "))))
        }
    }
}

impl<T: Words> Type for Word<T> {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        T::NAME.into()
    }

    fn schema_ref() -> MetaSchemaRef {
        let words = T::words().into_iter().map(|word| Value::String(word.to_owned())).collect();
        MetaSchemaRef::Inline(Box::new(MetaSchema { enum_items: words, ..MetaSchema::new("string") }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl<T: Words> ParseFromJSON for Word<T> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        match value {
            Some(Value::String(word)) => Self::parse(&word),
            other => Err(ParseError::expected_type(other.unwrap_or_default())),
        }
    }
}

impl<T: Words> ParseFromParameter for Word<T> {
    fn parse_from_parameter(value: &str) -> ParseResult<Self> {
        Self::parse(value)
    }
}

impl<T: Words> ToJSON for Word<T> {
    fn to_json(&self) -> Option<Value> {
        Some(Value::String(self.0.clone()))
    }
}

/// RFC 3339, UTC, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub Timestamp);

impl Moment {
    fn parse(text: &str) -> ParseResult<Self> {
        let moment = chrono::DateTime::parse_from_rfc3339(text)
            .map_err(|_| ParseError::custom("write a moment such as 2026-11-24T06:06:19Z"))?;
        Ok(Self(Timestamp(moment.timestamp_millis())))
    }
}

impl Type for Moment {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "string_date-time".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "date-time")))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromJSON for Moment {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        match value {
            Some(Value::String(text)) => Self::parse(&text),
            other => Err(ParseError::expected_type(other.unwrap_or_default())),
        }
    }
}

impl ParseFromParameter for Moment {
    fn parse_from_parameter(value: &str) -> ParseResult<Self> {
        Self::parse(value)
    }
}

impl ToJSON for Moment {
    fn to_json(&self) -> Option<Value> {
        Some(Value::String(self.0.rfc3339()))
    }
}
