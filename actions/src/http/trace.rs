//! One id from the delivery to its last effect: requests carry it as W3C Trace Context.

use http::{HeaderMap, HeaderName, HeaderValue};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

tokio::task_local! {
    /// The trace id of the work that this task does. Not a parameter: every request of it belongs to the trace, those for tokens and those that
    /// octocrab makes included.
    static TRACE: Option<String>;
}

/// Does some work whose requests belong to the trace with this id: 32 lower-case hexadecimal digits, not all zero. Any other id is no trace.
pub async fn traced<F: Future>(id: Option<&str>, work: F) -> F::Output {
    TRACE.scope(id.filter(|id| is_id(id)).map(str::to_owned), work).await
}

fn is_id(id: &str) -> bool {
    let digits = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    digits && id.bytes().any(|byte| byte != b'0')
}

/// Sets the header, with a new span for each request, unless the request has one of its own.
pub(super) fn mark(headers: &mut HeaderMap) {
    let value = TRACE.try_with(|trace| {
        // A span of zeros would be none.
        trace.as_ref().map(|id| format!("00-{id}-{:016x}-01", rand::random::<u64>().max(1)))
    });
    if let Ok(Some(Ok(value))) = value.map(|value| value.map(HeaderValue::try_from)) {
        headers.entry(&TRACEPARENT).or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn marked() -> Option<String> {
        let mut headers = HeaderMap::new();
        mark(&mut headers);
        headers.get("traceparent").map(|value| value.to_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn every_request_of_the_work_has_the_trace_and_a_span_of_its_own() {
        let (first, second) = traced(Some(ID), async { (marked().unwrap(), marked().unwrap()) }).await;
        assert!(first.starts_with(&format!("00-{ID}-")) && first.ends_with("-01") && first.len() == 55, "{first}");
        assert_ne!(first, second);
        for id in [None, Some(""), Some("00000000000000000000000000000000"), Some("x\r\ny")] {
            assert_eq!(traced(id, async { marked() }).await, None, "{id:?}");
        }
        assert_eq!(marked(), None);
    }
}
