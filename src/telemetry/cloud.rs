//! Cloud Logging's structured lines: `severity`, `message`, `time`, fields, and the trace of the delivery.

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::write_line;
use crate::clock::Timestamp;

/// Writes every event as one JSON object with the fields of its spans.
pub(super) struct Layer<W> {
    writer: W,
    project: Option<String>,
}

impl<W> Layer<W> {
    pub(super) fn new(writer: W, project: Option<String>) -> Self {
        Self { writer, project }
    }

    fn line(&self, level: Level, target: &str, mut fields: Map<String, Value>) -> String {
        let mut line = Map::new();
        line.insert("severity".to_owned(), Value::from(severity(level)));
        line.insert("message".to_owned(), fields.remove("message").unwrap_or_default());
        line.insert("time".to_owned(), Value::from(Timestamp::now().rfc3339()));
        line.insert("target".to_owned(), Value::from(target));
        if let Some(Value::String(trace)) = fields.get("trace") {
            let name =
                self.project.as_ref().map_or_else(|| trace.clone(), |project| format!("projects/{project}/traces/{trace}"));
            line.insert("logging.googleapis.com/trace".to_owned(), Value::from(name));
        }
        // A field cannot replace one of the names above: it would disguise a line.
        for (name, value) in fields {
            line.entry(name).or_insert(value);
        }
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        text
    }
}

fn severity(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG | Level::TRACE => "DEBUG",
    }
}

/// The fields of a span or event.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), Value::from(format!("{value:?}")));
    }
}

impl<S, W> tracing_subscriber::Layer<S> for Layer<W>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(Fields(of_span)) = span.extensions().get::<Fields>() {
                fields.0.extend(of_span.clone());
            }
        }
        event.record(&mut fields);
        let metadata = event.metadata();
        write_line(&self.writer, &self.line(*metadata.level(), metadata.target(), fields.0));
    }
}
