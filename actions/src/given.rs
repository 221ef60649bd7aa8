//! Reads what a call was given. The checker has seen it before, but a plan must not rest on that: what does not fit is a reason.
//!
//! What can be read independently of one another is read in one [`all`], so that `declic check` hears of every fault at once.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::action::{Call, Failure, Faults, Intent, Why};

/// An object from a call, and what messages call it.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a> {
    place: &'static str,
    values: Option<&'a Map<String, Value>>,
}

/// The plan that `prepare` made; one that cannot be read comes from another version of this program.
pub(crate) fn plan<T: DeserializeOwned>(intent: &Intent) -> Result<T, Failure> {
    serde_json::from_value(intent.plan.clone())
        .map_err(|error| Failure::last("invalid", format!("The plan of this step cannot be read by this version: {error}")))
}

/// A call with its plan.
pub(crate) fn intent(call: Call, plan: &impl Serialize, summary: String) -> Result<Intent, Faults> {
    let plan = serde_json::to_value(plan).map_err(|error| invalid(error.to_string()))?;
    Ok(Intent { call, plan, summary })
}

/// Several readings that do not depend on one another.
pub(crate) trait Readings {
    /// What they give.
    type Values;

    /// All values, or all faults.
    fn all(self) -> Result<Self::Values, Faults>;
}

/// All values, or the faults of all that failed: `let (channel, text) = all((given.text("channel"), given.text("text")))?;`
pub(crate) fn all<R: Readings>(readings: R) -> Result<R::Values, Faults> {
    readings.all()
}

macro_rules! readings {
    ($($value:ident $fault:ident $name:ident),+) => {
        impl<$($value, $fault: Into<Faults>),+> Readings for ($(Result<$value, $fault>,)+) {
            type Values = ($($value,)+);

            fn all(self) -> Result<Self::Values, Faults> {
                let ($($name,)+) = self;
                let mut faults: Option<Faults> = None;
                $(let $name = kept($name, &mut faults);)+
                match (faults, $($name),+) {
                    (None, $(Some($name)),+) => Ok(($($name,)+)),
                    (faults, ..) => Err(faults.unwrap_or_else(|| invalid("this cannot be read").into())),
                }
            }
        }
    };
}

readings!(A AF a, B BF b);
readings!(A AF a, B BF b, C CF c);
readings!(A AF a, B BF b, C CF c, D DF d);
readings!(A AF a, B BF b, C CF c, D DF d, E EF e);
readings!(A AF a, B BF b, C CF c, D DF d, E EF e, F FF f);
readings!(A AF a, B BF b, C CF c, D DF d, E EF e, F FF f, G GF g);
readings!(A AF a, B BF b, C CF c, D DF d, E EF e, F FF f, G GF g, H HF h);
readings!(A AF a, B BF b, C CF c, D DF d, E EF e, F FF f, G GF g, H HF h, I IF i);

fn kept<T, E: Into<Faults>>(reading: Result<T, E>, faults: &mut Option<Faults>) -> Option<T> {
    match reading {
        Ok(value) => Some(value),
        Err(fault) => {
            let fault = fault.into();
            *faults = Some(match faults.take() {
                Some(before) => before.and(fault),
                None => fault,
            });
            None
        }
    }
}

/// The same for any number of alike readings: the entries of a list or an object.
pub(crate) fn every<T, E: Into<Faults>, C: FromIterator<T>>(
    readings: impl IntoIterator<Item = Result<T, E>>,
) -> Result<C, Faults> {
    let mut faults = None;
    let values: Vec<T> = readings.into_iter().filter_map(|reading| kept(reading, &mut faults)).collect();
    faults.map_or_else(|| Ok(values.into_iter().collect()), Err)
}

/// A reading that gives nothing and can be refused.
pub(crate) fn refuse_if(refused: bool, why: impl FnOnce() -> Why) -> Result<(), Why> {
    if refused { Err(why()) } else { Ok(()) }
}

/// The parameters of a call.
pub(crate) fn params(call: &Call) -> Given<'_> {
    Given { place: "with", values: Some(&call.params) }
}

/// The operator's settings of the call's target, which must be of this kind.
pub(crate) fn target<'a>(call: &'a Call, kind: &str) -> Result<Given<'a>, Why> {
    settings("target", call.target.as_ref(), kind)
}

/// The operator's settings of the call's connection, which must be of this kind.
pub(crate) fn connection<'a>(call: &'a Call, kind: &str) -> Result<Given<'a>, Why> {
    settings("connection", call.connection.as_ref(), kind)
}

fn settings<'a>(place: &'static str, value: Option<&'a Value>, kind: &str) -> Result<Given<'a>, Why> {
    let given = Given { place, values: value.and_then(Value::as_object) };
    match given.optional_text("type")? {
        Some(found) if found == kind => Ok(given),
        Some(found) => Err(invalid(format!("the {place} is of type `{found}`, but `{kind}` is needed"))),
        None => Err(invalid(format!("a {place} of type `{kind}` is needed"))),
    }
}

/// The reason for a call that cannot be carried out as it is written.
pub(crate) fn invalid(message: impl Into<String>) -> Why {
    Why::new("invalid", message)
}

impl<'a> Given<'a> {
    pub(crate) fn value(&self, name: &str) -> Option<&'a Value> {
        self.values.and_then(|values| values.get(name)).filter(|value| !value.is_null())
    }

    fn fault(&self, name: &str, wanted: &str) -> Why {
        invalid(format!("`{}.{name}` must be {wanted}", self.place))
    }

    pub(crate) fn optional_text(&self, name: &str) -> Result<Option<&'a str>, Why> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.fault(name, "text")),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Result<&'a str, Why> {
        self.optional_text(name)?.filter(|text| !text.is_empty()).ok_or_else(|| self.fault(name, "a text that is not empty"))
    }

    pub(crate) fn optional_int(&self, name: &str) -> Result<Option<i64>, Why> {
        match self.value(name) {
            None => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| self.fault(name, "a whole number")),
        }
    }

    /// A whole number within bounds.
    pub(crate) fn int_within(&self, name: &str, least: i64, most: i64) -> Result<Option<i64>, Why> {
        match self.optional_int(name)? {
            Some(number) if number < least && most == i64::MAX => Err(self.fault(name, &format!("at least {least}"))),
            Some(number) if !(least..=most).contains(&number) => Err(self.fault(name, &format!("between {least} and {most}"))),
            number => Ok(number),
        }
    }

    pub(crate) fn optional_flag(&self, name: &str) -> Result<Option<bool>, Why> {
        match self.value(name) {
            None => Ok(None),
            Some(value) => value.as_bool().map(Some).ok_or_else(|| self.fault(name, "true or false")),
        }
    }

    /// False if it is not given.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Why> {
        self.optional_flag(name).map(Option::unwrap_or_default)
    }

    pub(crate) fn one_of(&self, name: &str, words: &[&str]) -> Result<Option<&'a str>, Why> {
        match self.optional_text(name)? {
            Some(word) if !words.contains(&word) => Err(self.fault(name, &format!("one of {}", words.join(", ")))),
            word => Ok(word),
        }
    }

    pub(crate) fn optional_object(&self, name: &str) -> Result<Option<&'a Map<String, Value>>, Why> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(values)) => Ok(Some(values)),
            Some(_) => Err(self.fault(name, "an object")),
        }
    }

    pub(crate) fn inner(&self, name: &'static str) -> Result<Option<Given<'a>>, Why> {
        Ok(self.optional_object(name)?.map(|values| Given { place: name, values: Some(values) }))
    }

    pub(crate) fn optional_texts(&self, name: &str) -> Result<Option<Vec<&'a str>>, Why> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let texts = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        texts.map(Some).ok_or_else(|| self.fault(name, "a list of texts"))
    }

    /// A length of time, as `90s`, `15m`, `2h`, `500ms`, or whole seconds.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<std::time::Duration>, Why> {
        let wanted = "a length of time such as `30s` or `5m`";
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => duration(text).map(Some).ok_or_else(|| self.fault(name, wanted)),
            Some(Value::Number(number)) => number
                .as_u64()
                .map(|seconds| Some(std::time::Duration::from_secs(seconds)))
                .ok_or_else(|| self.fault(name, wanted)),
            Some(_) => Err(self.fault(name, wanted)),
        }
    }
}

fn duration(text: &str) -> Option<std::time::Duration> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(std::time::Duration::from_millis)
}
