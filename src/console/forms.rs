//! Fields of an address or of a form.

use poem::Request;
use url::form_urlencoded;

/// Bytes of a form: rule files and payloads are pasted into some.
const LARGEST: usize = 4 << 20;

/// Names with values, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Of `a=b&c=d`. Empty ones are left out.
    pub fn parse(text: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(text).filter(|(_, value)| !value.is_empty());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// Of a request's body, under a limit.
    pub async fn of_body(request: &mut Request) -> Option<Self> {
        let bytes = request.take_body().into_bytes_limit(LARGEST).await.ok()?;
        Some(Self::parse(&bytes))
    }

    /// The first value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Is nothing given?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `?…` with one name set.
    pub fn with(&self, name: &str, value: &str) -> String {
        let mut others = Self(self.0.iter().filter(|(key, _)| key != name).cloned().collect());
        others.0.push((name.to_owned(), value.to_owned()));
        others.query()
    }

    /// `?…` without a name.
    pub fn without(&self, name: &str) -> String {
        Self(self.0.iter().filter(|(key, _)| key != name).cloned().collect()).query()
    }

    fn query(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let mut text = form_urlencoded::Serializer::for_suffix("?".to_owned(), 1);
        text.extend_pairs(&self.0);
        text.finish()
    }
}
