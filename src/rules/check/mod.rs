//! The checker: a tree against the registry, every fault in one pass.
