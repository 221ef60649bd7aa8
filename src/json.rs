//! Strict JSON: duplicate keys, too deep, too many nodes and numbers that would lose digits are errors.
