//! The digest of the image, waited for where the rule says so; whoever waits is told for what.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::action::{Context, Failure};
use crate::kinds::cloud_run_deploy::plan::Plan;
use crate::registry::{Found, look_up};

const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Failed looks in a row that are borne: a registry that stumbles must not end a wait of minutes.
const FAILED_LOOKS: u32 = 3;
/// After "waiting" was told, it is told again this much later, and then at intervals that double.
const FIRST_REMINDER: Duration = Duration::from_secs(10);
const WAITING: &str = "waiting for image";

/// The digest that the image's name means now. A missing image is waited for as long as the plan says and `until` allows.
pub(super) async fn resolve(context: &Context<'_>, plan: &Plan, until: Instant) -> Result<String, Failure> {
    let begun = Instant::now();
    let patience = until.min(begun + plan.wait);
    let account = plan.target.deploy_as.as_deref();
    let (mut looks, mut failed) = (0, 0);
    let mut reminders = Reminders { next: begun, interval: FIRST_REMINDER };
    loop {
        let mut asked = Duration::ZERO;
        match look_up(context, account, &plan.image, until).await {
            Ok(Found::Digest(digest)) => return Ok(digest),
            Ok(Found::Missing) if Instant::now() >= patience => return Err(missing(plan)),
            Ok(Found::Missing) => {
                failed = 0;
                if reminders.due(Instant::now()) {
                    let left = patience.saturating_duration_since(Instant::now()).as_secs();
                    let image = plan.image.reference();
                    context.progress.stage(WAITING, &format!("{image} is not in the registry yet; waiting up to {left} s more"));
                }
            }
            Err(failure @ (Failure::Final { .. } | Failure::NotYet { .. })) => return Err(failure),
            Err(failure) if failed >= FAILED_LOOKS || Instant::now() >= patience => return Err(failure),
            Err(Failure::Retry { after, why }) => {
                failed += 1;
                asked = after.unwrap_or_default();
                context.progress.stage(WAITING, &format!("failed look {failed} of {}: {}", FAILED_LOOKS + 1, why.message));
            }
        }
        looks += 1;
        let pause = Duration::from_millis(100).saturating_mul(1 << looks.min(8)).min(LONGEST_PAUSE).max(asked);
        sleep(pause.min(patience.saturating_duration_since(Instant::now()))).await;
    }
}

fn missing(plan: &Plan) -> Failure {
    let image = format!("{} ({})", plan.image.name(), plan.image.reference());
    let message = if plan.wait.is_zero() {
        format!("The image {image} does not exist; if it is still being built, set `wait-for-image`")
    } else {
        format!("The image {image} did not appear within {} s", plan.wait.as_secs())
    };
    Failure::last("image-missing", message)
}

/// When to say again that one waits: at once, and then ever less often.
struct Reminders {
    next: Instant,
    interval: Duration,
}

impl Reminders {
    fn due(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + self.interval;
        self.interval = self.interval.saturating_mul(2);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reminders_come_at_once_and_then_ever_less_often() {
        let begun = Instant::now();
        let mut reminders = Reminders { next: begun, interval: FIRST_REMINDER };
        let told: Vec<u64> = (0..=150).filter(|second| reminders.due(begun + Duration::from_secs(*second))).collect();
        assert_eq!(told, [0, 10, 30, 70, 150]);
    }
}
