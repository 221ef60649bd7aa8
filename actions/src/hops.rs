//! Against loops: the marks by which our own effects are told when they come back as events, and how many hops one cause may make.

use crate::action::{Call, Why};

/// What the last line of every comment of ours begins with; the call's key and ` -->` follow.
pub const COMMENT: &str = "<!-- declic:call:";
/// Key in a deployment's payload that holds the run.
pub const RUN: &str = "declic_run";
/// Property of a dispatch's payload that holds the call's key.
pub const KEY: &str = "declic_key";
/// Property of a dispatch's payload, or input of a workflow, that holds the number of hops.
pub const HOPS: &str = "declic_hops";
/// The same in a request to an HTTP API.
pub const HEADER: &str = "declic-hops";
/// So many effects may follow from one another before the next is refused.
pub const MOST: u32 = 5;

/// What a comment ends with, so that it is found again and told from other people's.
pub fn comment(key: &str) -> String {
    format!("{COMMENT}{key} -->")
}

/// The number of hops that an effect of this call carries. Refused once the event of its run came over [`MOST`] already.
pub fn next(call: &Call) -> Result<u32, Why> {
    let hops = call.origin.hops;
    if hops < MOST {
        return Ok(hops.saturating_add(1));
    }
    let message = format!(
        "this run follows from {hops} effects of Declic in a row, and {MOST} are the most: the rules start each other in a loop; \
         take `own-events: true` away, or narrow the event in `on:`"
    );
    Err(Why::new("loop", message))
}
