//! What a run tells once: the count for the message, and what the message leaves to the next.

use declic_actions::action::{self, Action, Intent};

use super::{Execution, label};
use crate::journal::record::{Change, Place};
use crate::rules::model::{Repeats, Step};
use crate::run::attempt::Came;
use crate::run::plan::called;

impl Execution {
    /// As the action is shown it. Messages that are not edited say nothing of others.
    pub(super) fn streak(&self, place: Place, step: &Step) -> Option<action::Streak> {
        let streak = self.streak.as_ref().filter(|_| self.edits())?;
        // `2026-11-24T14:02:31.000Z` to the minute.
        let since = streak.since.rfc3339();
        let since = since.get(..16).map_or_else(|| since.clone(), |minute| format!("{} UTC", minute.replace('T', " ")));
        let kept = streak.kept.get(&words(place, step)).cloned();
        Some(action::Streak { count: streak.count, since, is_newest: streak.is_newest, kept })
    }

    /// What a step that ended well leaves. The words of an older delivery are not put in the place of newer ones.
    pub(super) fn leaves(&self, place: Place, step: &Step, action: &dyn Action, intent: &Intent, came: &Came) -> Option<Change> {
        let streak = self.streak.as_ref().filter(|_| self.edits())?;
        let (Came::Done(outcome) | Came::Found(outcome)) = came else { return None };
        let words = words(place, step);
        if !streak.is_newest && streak.kept.contains_key(&words) {
            return None;
        }
        action.keeps(intent, outcome).map(|value| Change::Kept { step: words, value })
    }

    fn edits(&self) -> bool {
        self.rule.collapse.as_ref().is_some_and(|collapse| collapse.repeats == Repeats::Edit)
    }
}

/// Which step, also in a later version of the rule: what one left is not given to another.
fn words(place: Place, step: &Step) -> String {
    format!("{} {} {}", place.phase.word(), called(&label(step), place), step.uses)
}
