//! From times on a wall clock to instants: what a crontab expression means when clocks are put forward or back.
//!
//! As in the cron of Vixie there are two kinds of expressions:
//!
//! - One whose second, minute or hour begins with `*` **follows the clock**, as in `*/5 * * * *` or `0 * * * *`. A time that the
//!   clock doesn't show has no start; one that it shows twice has two. Starts stay evenly spaced.
//! - All others name **fixed times**, as in `30 2 * * *`. Each comes once: a time that the clock skips starts as the
//!   clock goes on (02:30 becomes 03:00 where the clock goes from 02:00 to 03:00), and one that it shows twice starts the
//!   first time. Several that fall onto one instant are one start.

use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::cron::Cron;

/// The first instant after another at which an expression is due in a zone.
pub(super) fn next_after(cron: &Cron, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    if cron.follows_the_clock() {
        next_by_the_clock(cron, zone, after)
    } else {
        next_fixed(cron, zone, after)
    }
}

/// Between two changes of its offset a clock just runs: look in each such stretch in turn.
fn next_by_the_clock(cron: &Cron, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let mut offset = zone.to_offset(after);
    let mut local = offset.to_datetime(after);
    let mut changes = zone.following(after);
    loop {
        let candidate = cron.next_local(local)?;
        let instant = offset.to_timestamp(candidate).ok();
        let change = changes.next();
        match (instant, change) {
            (Some(instant), None) => return Some(instant),
            (Some(instant), Some(change)) if instant < change.timestamp() => return Some(instant),
            (None, None) => return None,
            (_, Some(change)) => {
                offset = change.offset();
                // One second back, because the first second of the stretch counts.
                let start = change.timestamp().as_second().checked_sub(1)?;
                local = offset.to_datetime(Timestamp::from_second(start).ok()?);
            }
        }
    }
}

/// Wall-clock times in their order give instants in the same order, some of them equal.
fn next_fixed(cron: &Cron, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let mut local = zone.to_datetime(after);
    loop {
        local = cron.next_local(local)?;
        let instant = match zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok()?,
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok()?,
            AmbiguousOffset::Gap { after: later, .. } => {
                // Read with the later offset, a skipped time lies before the change.
                let too_early = later.to_timestamp(local).ok()?;
                let mut changes = zone.following(too_early);
                changes.find(|change| change.offset() == later)?.timestamp()
            }
        };
        if instant > after {
            return Some(instant);
        }
    }
}
