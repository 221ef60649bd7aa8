//! Against loops: the marks by which our own effects are told when they come back as events, and how many hops one cause may make.

use crate::action::{Call, Why};

/// What the last line of every comment of ours begins with; the call's key, the number of hops and ` -->` follow.
pub const COMMENT: &str = "<!-- declic:call:";
/// What stands before the number of hops in it.
const COMMENT_HOPS: &str = " hops:";
/// What the `external_id` of every check run of ours begins with; it ends with `:` and the number of hops.
pub const CHECK_RUN: &str = "declic:";
/// Attribute of a message of Pub/Sub that holds the number of hops.
pub const ATTRIBUTE: &str = "declic-hops";
/// Key in a deployment's payload that holds the run; [`HOPS`] is beside it.
pub const RUN: &str = "declic_run";
/// Property of a dispatch's payload that holds the call's key.
pub const KEY: &str = "declic_key";
/// Property of a dispatch's payload, or input of a workflow, that holds the number of hops.
pub const HOPS: &str = "declic_hops";
/// The same in a request to an HTTP API, and in the request that a task of Cloud Tasks makes.
pub const HEADER: &str = "declic-hops";
/// So many effects may follow from one another before the next is refused.
pub const MOST: u32 = 5;

/// What a comment ends with, so that it is found again and told from other people's.
pub fn comment(key: &str, hops: u32) -> String {
    format!("{COMMENT}{key}{COMMENT_HOPS}{hops} -->")
}

/// The number of hops in the last mark of a text; 0 if there is none.
pub fn of_comment(text: &str) -> u64 {
    let mark = text.rsplit_once(COMMENT).and_then(|(_, mark)| mark.split_once(" -->"));
    let hops = mark.and_then(|(mark, _)| mark.split_once(COMMENT_HOPS));
    hops.and_then(|(_, hops)| hops.parse().ok()).unwrap_or(0)
}

/// The number of hops in a check run's `external_id`; 0 if it is not of ours.
pub fn of_check_run(external_id: &str) -> u64 {
    let hops = external_id.strip_prefix(CHECK_RUN).and_then(|rest| rest.rsplit_once(':'));
    hops.and_then(|(_, hops)| hops.parse().ok()).unwrap_or(0)
}

/// The number of hops that what only reports carries: never refused.
pub fn carried(call: &Call) -> u32 {
    call.origin.hops.saturating_add(1)
}

/// The number of hops that an effect of this call carries. Refused once the event of its run came over [`MOST`] already.
pub fn next(call: &Call) -> Result<u32, Why> {
    let hops = call.origin.hops;
    if hops < MOST {
        return Ok(carried(call));
    }
    let message = format!(
        "this run follows from {hops} effects of Declic in a row, and {MOST} are the most: the rules start each other in a loop; \
         take `own-events: true` away, or narrow the event in `on:`"
    );
    Err(Why::new("loop", message))
}
