//! Which of two runs is the newer one: by the pushes that are journaled, by what GitHub said, and else by arrival.

use super::identity;
use super::store::{Database, Fault, Session};
use super::value::{Row, params};
use crate::journal::record::{Line, Order, order::by_pushes};

/// Pushes of a reference that are looked through, newest first.
const PUSHES: i64 = 1000;

/// Names of a repository and a reference together, in bytes: longer than any that exist, and short enough for an index. What is longer is
/// ordered by arrival.
const LONGEST: usize = 1000;

/// A run to be compared with.
pub(super) struct Rival {
    /// Its id, for the one it covers.
    pub id: String,
    /// The number of its delivery: later ones have greater ones.
    pub delivery: i64,
    pub line: Option<Line>,
}

/// How one run stands to another, and how that is known.
pub(super) struct Found {
    pub order: Order,
    /// For people; none where nothing needs to be said.
    pub note: Option<String>,
}

pub(super) fn keep(session: &Session<'_>, delivery: i64, line: &Line) -> Result<(), Fault> {
    if line.repository.len() + line.reference.len() > LONGEST {
        return Ok(());
    }
    session.connection.execute(
        "INSERT INTO lines (delivery, repository, reference, before_sha, after_sha, forced) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (delivery) DO NOTHING",
        params![delivery, line.repository, line.reference, line.before, line.after, line.forced],
    )?;
    Ok(())
}

pub(super) fn line(connection: &dyn Database, delivery: i64) -> Result<Option<Line>, Fault> {
    let line = connection.optional(
        "SELECT repository, reference, before_sha, after_sha, forced FROM lines WHERE delivery = ?1",
        params![delivery],
        |row| read(row, 0),
    )?;
    Ok(line)
}

/// From five columns.
pub(super) fn read(row: &Row<'_>, at: usize) -> Result<Line, Fault> {
    Ok(Line {
        repository: row.get(at)?,
        reference: row.get(at + 1)?,
        before: row.get(at + 2)?,
        after: row.get(at + 3)?,
        forced: row.get(at + 4)?,
    })
}

/// By commits alone.
fn by_commits(connection: &dyn Database, line: &Line, other: &Line) -> Result<Order, Fault> {
    let pushes = connection.rows(
        "SELECT repository, reference, before_sha, after_sha, forced FROM lines
         WHERE repository = ?1 AND reference = ?2 ORDER BY delivery DESC LIMIT ?3",
        params![line.repository, line.reference, PUSHES],
        |row| read(row, 0),
    )?;
    Ok(match by_pushes(line, other, &pushes) {
        Order::Unknown => match fact(connection, line, other)? {
            Some(Order::Unknown) | None if line.forced != other.forced => {
                // Not on one line: the push that left it begins the new one.
                match fact(connection, line, other)? {
                    Some(_) if line.forced => Order::Newer,
                    Some(_) => Order::Older,
                    None => Order::Unknown,
                }
            }
            known => known.unwrap_or(Order::Unknown),
        },
        known => known,
    })
}

/// What GitHub said of two commits.
fn fact(connection: &dyn Database, line: &Line, other: &Line) -> Result<Option<Order>, Fault> {
    let ask = |line: &str, of: &str, repository: &str| {
        let sql = "SELECT known FROM ancestry WHERE repository = ?1 AND line = ?2 AND other = ?3";
        connection.optional(sql, params![repository, line, of], |row| row.get::<String>(0))
    };
    let there = ask(&line.after, &other.after, &line.repository)?.and_then(|word| Order::of_word(&word));
    let back = ask(&other.after, &line.after, &line.repository)?.and_then(|word| Order::of_word(&word));
    Ok(there.or_else(|| back.map(Order::reversed)))
}

/// Of the same reference, so that their commits can be compared.
fn comparable(line: &Line, other: &Line) -> bool {
    line.repository == other.repository && line.reference == other.reference
}

/// Could GitHub say more about the two than we know?
pub(super) fn is_open(connection: &dyn Database, line: &Line, other: &Line) -> Result<bool, Fault> {
    Ok(comparable(line, other)
        && by_commits(connection, line, other)? == Order::Unknown
        && fact(connection, line, other)?.is_none())
}

pub(super) fn learn(session: &Session<'_>, line: &Line, other: &Line, order: Order) -> Result<(), Fault> {
    session.connection.execute(
        "INSERT INTO ancestry (repository, line, other, known, kept_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (repository, line, other) DO UPDATE SET known = excluded.known, kept_at = excluded.kept_at",
        params![line.repository, line.after, other.after, order.word(), session.now.0],
    )?;
    Ok(())
}

/// How the run of `delivery` stands to a rival. Never `Unknown`: arrival decides where nothing else does, and the note says so.
pub(super) fn stands(connection: &dyn Database, delivery: i64, line: Option<&Line>, rival: &Rival) -> Result<Found, Fault> {
    let by_arrival = match delivery.cmp(&rival.delivery) {
        std::cmp::Ordering::Less => Order::Older,
        std::cmp::Ordering::Equal => Order::Same,
        std::cmp::Ordering::Greater => Order::Newer,
    };
    let (Some(line), Some(other)) = (line, &rival.line) else {
        return Ok(Found { order: by_arrival, note: arrived(by_arrival, &rival.id) });
    };
    if !comparable(line, other) {
        return Ok(Found { order: by_arrival, note: arrived(by_arrival, &rival.id) });
    }
    Ok(match by_commits(connection, line, other)? {
        Order::Unknown => {
            let note = format!(
                "ordered by arrival against {}: how {} and {} follow each other is not known",
                rival.id,
                short(&line.after),
                short(&other.after)
            );
            Found { order: by_arrival, note: Some(note) }
        }
        Order::Older => {
            let note = format!("{} is older than {} of {}", short(&line.after), short(&other.after), rival.id);
            Found { order: Order::Older, note: Some(note) }
        }
        order => Found { order, note: None },
    })
}

fn arrived(order: Order, rival: &str) -> Option<String> {
    (order == Order::Older).then(|| format!("its delivery came before that of {rival}"))
}

fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// The open runs of a group, but for one.
pub(super) fn of_group(connection: &dyn Database, key: &str, but: i64) -> Result<Vec<(i64, String, Rival)>, Fault> {
    let open = connection.rows(
        "SELECT r.seq, r.state, r.delivery, r.number FROM runs r WHERE r.group_key = ?1 AND r.next_at IS NOT NULL AND r.seq <> ?2",
        params![key, but], |row| Ok((row.get::<i64>(0)?, row.get::<String>(1)?, row.get::<i64>(2)?, row.get::<i64>(3)?)))?;
    let rival = |(seq, state, delivery, number): (i64, String, i64, i64)| -> Result<_, Fault> {
        let rival = Rival { id: identity::run(delivery, number), delivery, line: line(connection, delivery)? };
        Ok((seq, state, rival))
    };
    open.into_iter().map(rival).collect()
}

/// Those whose order to `line` only GitHub can say: of the open runs of these groups, and what was last done under a name.
pub(super) fn rivals(
    connection: &dyn Database,
    line: &Line,
    groups: &[String],
    exclusive: Option<&str>,
) -> Result<Vec<Line>, Fault> {
    let mut rivals = Vec::new();
    for key in groups {
        rivals.extend(of_group(connection, key, 0)?.into_iter().filter_map(|(_, _, rival)| rival.line));
    }
    if let Some(name) = exclusive {
        rivals.extend(super::exclusive::last(connection, name)?.and_then(|last| last.rival.line));
    }
    let mut open: Vec<Line> = Vec::new();
    for rival in rivals {
        if !open.iter().any(|known| known.after == rival.after) && is_open(connection, line, &rival)? {
            open.push(rival);
        }
    }
    Ok(open)
}
