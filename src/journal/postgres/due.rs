//! Which runs a claim takes, when many replicas claim at once.

use std::sync::LazyLock;

use crate::journal::sql::ITS_TURN;

/// Two statements, one after the other.
pub(super) struct Due {
    /// `$1` now, `$2` how many.
    pub candidates: String,
    /// `$1` candidates in the order of their turns, `$2` now, `$3` how many.
    pub take: String,
}

/// From one share to the next in the index, however many runs each has: whoever has fewest at work comes first, then who waits longest.
/// Rows cannot be locked in the same breath, because they are numbered; so more are looked for than are wanted, and of these those are
/// taken that no other replica is taking.
pub(super) static DUE_RUNS: LazyLock<Due> = LazyLock::new(|| {
    Due {
    candidates: format!(
        "WITH RECURSIVE shares (share) AS (
            (SELECT share FROM runs WHERE next_at IS NOT NULL ORDER BY share LIMIT 1)
            UNION ALL
            SELECT (SELECT n.share FROM runs n WHERE n.next_at IS NOT NULL AND n.share > s.share ORDER BY n.share LIMIT 1)
              FROM shares s WHERE s.share IS NOT NULL)
         SELECT due.seq, s.share FROM shares s
          CROSS JOIN LATERAL (SELECT count(*) AS busy FROM runs WHERE share = s.share AND next_at > $1 AND state = 'running') at_work
          CROSS JOIN LATERAL (
            SELECT seq, next_at, row_number() OVER (ORDER BY next_at, seq) AS place FROM (
                SELECT seq, next_at FROM runs AS r WHERE share = s.share AND next_at <= $1 AND {ITS_TURN} ORDER BY next_at, seq LIMIT $2
            ) AS first) due
          WHERE s.share IS NOT NULL ORDER BY at_work.busy + due.place, due.next_at, due.seq LIMIT $2"
    ),
    take: format!(
        "SELECT r.seq, r.share FROM runs AS r JOIN unnest($1::bigint[]) WITH ORDINALITY AS c (seq, place) ON c.seq = r.seq
          WHERE r.next_at <= $2 AND {ITS_TURN} ORDER BY c.place LIMIT $3 FOR UPDATE OF r SKIP LOCKED"
    ),
}
});
