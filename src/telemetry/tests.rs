//! What a log line looks like in each form.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::*;

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn lines(form: Form, work: impl FnOnce()) -> String {
    let memory = Memory::default();
    let writer = memory.clone();
    let subscriber = subscriber(&form, Level::INFO, move || writer.clone());
    tracing::subscriber::with_default(subscriber, work);
    let bytes = memory.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn work() {
    let span = tracing::info_span!("delivery", trace = "4bf92f3577b34da6a3ce929d0e0e4736", delivery = "01j");
    let _entered = span.enter();
    tracing::warn!(status = 401, severity = "INFO", "refused: \"no\" signature\nand more");
    tracing::debug!("not written");
}

#[test]
fn cloud_logging_gets_one_object_a_line_with_the_trace() {
    let text = lines(Form::Cloud { project: Some("acme".to_owned()) }, work);
    assert_eq!(text.lines().count(), 1, "{text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["severity"], "WARNING");
    assert_eq!(line["message"], "refused: \"no\" signature\nand more");
    assert_eq!(line["status"], 401);
    assert_eq!(line["delivery"], "01j");
    assert_eq!(line["logging.googleapis.com/trace"], "projects/acme/traces/4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(chrono::DateTime::parse_from_rfc3339(line["time"].as_str().unwrap()).is_ok());
}

#[test]
fn people_get_plain_lines_and_colour_only_if_asked() {
    let plain = lines(Form::Text { colour: false }, work);
    assert!(plain.contains("WARN") && plain.contains("status=401") && plain.contains("delivery"), "{plain}");
    assert!(!plain.contains('\u{1b}'), "{plain}");
    assert!(lines(Form::Text { colour: true }, work).contains('\u{1b}'));
}

#[test]
fn the_place_decides_unless_the_settings_do() {
    let cloud = Form::Cloud { project: None };
    assert_eq!(Form::choose(Log::Auto, true, None), cloud);
    assert_eq!(Form::choose(Log::Json, false, None), cloud);
    assert!(matches!(Form::choose(Log::Auto, false, None), Form::Text { .. }));
    assert!(matches!(Form::choose(Log::Text, true, None), Form::Text { .. }));
}
