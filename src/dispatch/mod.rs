//! Who wakes the worker. The journal is the truth; a wake-up only says that looking is worth it now.

pub mod local;
pub mod queue;
