//! The one id that a delivery keeps from here to its last effect.

use poem::http::HeaderMap;

/// The trace id of `traceparent` or of Google's older header, or a new one: 32 hexadecimal digits.
pub(super) fn of(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let given = text("traceparent")
        .and_then(|value| value.split('-').nth(1))
        .or_else(|| text("x-cloud-trace-context").and_then(|value| value.split('/').next()));
    match given {
        Some(id) if is_trace_id(id) => id.to_owned(),
        _ => format!("{:032x}", rand::random::<u128>()),
    }
}

fn is_trace_id(id: &str) -> bool {
    let digits = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    digits && id.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_id_is_kept_and_a_faulty_one_replaced() {
        let mut headers = HeaderMap::new();
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        headers.insert("traceparent", format!("00-{id}-00f067aa0ba902b7-01").parse().unwrap());
        assert_eq!(of(&headers), id);
        for faulty in ["00-00000000000000000000000000000000-1-01", "x", "00-<script>-1-01", ""] {
            headers.insert("traceparent", faulty.parse().unwrap());
            assert!(is_trace_id(&of(&headers)), "{faulty}");
        }
        headers.remove("traceparent");
        headers.insert("x-cloud-trace-context", format!("{id}/1;o=1").parse().unwrap());
        assert_eq!(of(&headers), id);
    }
}
