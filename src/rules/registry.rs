//! What there is: events with their fields and filters, actions with their parameters. The one list behind checker, schema and reference.
