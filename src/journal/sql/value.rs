//! What goes into a statement, and what comes out of a row.

use std::borrow::Cow;

use super::store::Fault;

/// A value of a statement.
#[derive(Debug, Clone)]
pub(in crate::journal) enum Value<'a> {
    Null,
    Integer(i64),
    Flag(bool),
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

/// What can be a value of a statement.
pub(in crate::journal) trait ToValue {
    fn value(&self) -> Value<'_>;
}

/// The values of `?1`, `?2`, … of a statement.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::journal::sql::ToValue::value(&$value)),*] };
}
pub(in crate::journal) use params;

impl ToValue for i64 {
    fn value(&self) -> Value<'_> {
        Value::Integer(*self)
    }
}

impl ToValue for u32 {
    fn value(&self) -> Value<'_> {
        Value::Integer(i64::from(*self))
    }
}

impl ToValue for bool {
    fn value(&self) -> Value<'_> {
        Value::Flag(*self)
    }
}

impl ToValue for str {
    fn value(&self) -> Value<'_> {
        Value::Text(Cow::Borrowed(self))
    }
}

impl ToValue for String {
    fn value(&self) -> Value<'_> {
        self.as_str().value()
    }
}

impl ToValue for [u8] {
    fn value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn value(&self) -> Value<'_> {
        (**self).value()
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, ToValue::value)
    }
}

/// The columns of one row, as their database has them; `None` is NULL.
pub(in crate::journal) trait Columns {
    fn integer(&self, column: usize) -> Result<Option<i64>, Fault>;
    fn text(&self, column: usize) -> Result<Option<&str>, Fault>;
    fn bytes(&self, column: usize) -> Result<Option<&[u8]>, Fault>;
}

/// One row.
pub(in crate::journal) struct Row<'a>(pub &'a dyn Columns);

impl Row<'_> {
    pub fn get<T: FromColumn>(&self, column: usize) -> Result<T, Fault> {
        T::from_column(self.0, column)
    }

    /// The text of a column, without a copy of it.
    pub fn text(&self, column: usize) -> Result<Option<&str>, Fault> {
        self.0.text(column)
    }
}

/// What can be read from a column.
pub(in crate::journal) trait FromColumn: Sized {
    fn from_column(row: &dyn Columns, column: usize) -> Result<Self, Fault>;
}

fn there<T>(value: Option<T>, column: usize) -> Result<T, Fault> {
    value.ok_or_else(|| Fault::Unreadable(format!("column {column} of a row is empty")))
}

impl FromColumn for Option<i64> {
    fn from_column(row: &dyn Columns, column: usize) -> Result<Self, Fault> {
        row.integer(column)
    }
}

impl FromColumn for i64 {
    fn from_column(row: &dyn Columns, column: usize) -> Result<Self, Fault> {
        there(row.integer(column)?, column)
    }
}

impl FromColumn for u32 {
    fn from_column(row: &dyn Columns, column: usize) -> Result<Self, Fault> {
        let number = i64::from_column(row, column)?;
        Self::try_from(number).map_err(|_| Fault::Unreadable(format!("{number} in column {column} of a row is out of range")))
    }
}

impl FromColumn for u64 {
    fn from_column(row: &dyn Columns, column: usize) -> Result<Self, Fault> {
        let number = i64::from_column(row, column)?;
        Self::try_from(number).map_err(|_| Fault::Unreadable(format!("{number} in column {column} of a row is out of range")))
    }
}

impl FromColumn for bool {
    fn from_column(row: &dyn Columns, column: usize) -> Result<Self, Fault> {
        Ok(i64::from_column(row, column)? != 0)
    }
}

impl FromColumn for Option<bool> {
    fn from_column(row: &dyn Columns, column: usize) -> Result<Self, Fault> {
        Ok(row.integer(column)?.map(|flag| flag != 0))
    }
}

impl FromColumn for Option<String> {
    fn from_column(row: &dyn Columns, column: usize) -> Result<Self, Fault> {
        Ok(row.text(column)?.map(str::to_owned))
    }
}

impl FromColumn for String {
    fn from_column(row: &dyn Columns, column: usize) -> Result<Self, Fault> {
        there(row.text(column)?, column).map(str::to_owned)
    }
}

impl FromColumn for Vec<u8> {
    fn from_column(row: &dyn Columns, column: usize) -> Result<Self, Fault> {
        there(row.bytes(column)?, column).map(<[u8]>::to_vec)
    }
}
