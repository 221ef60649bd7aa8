//! YAML into a tree with byte spans; anchors, aliases, tags, merge keys and duplicate keys are faults.
