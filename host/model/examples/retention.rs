//! Decides over a long history again and again, and prints what each decision took, in nanoseconds, one a line.
//!
//! `cargo xtask bench retention` runs it. The history: a backup each hour, most of them increments, some damaged or not
//! verified; the policy has all rules.

use std::io::Write as _;
use std::time::Instant;

use backstay_model::job::Retention;
use backstay_model::retention::{Candidate, Terms, decide};
use backstay_model::span::Span;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// Increments between two whole backups.
const CHAIN: usize = 24;

fn history(count: usize, terms: &Terms<'_>) -> Vec<Candidate> {
    let mut all: Vec<Candidate> = Vec::with_capacity(count);
    for number in 0..count {
        let hours = i64::try_from(count - number).unwrap_or(i64::MAX);
        all.push(Candidate {
            id: Uuid::from_u64_pair(number as u64, number as u64 ^ 0x9e37_79b9_7f4a_7c15),
            instance_id: terms.instance_id,
            job_id: terms.job_id,
            created_at: terms.now - SignedDuration::from_hours(hours),
            base: (number % CHAIN != 0).then(|| all.last().map(|c| c.id)).flatten(),
            verified: match number % 1000 {
                0 => Some(false),
                1 => None,
                _ => Some(true),
            },
        });
    }
    all
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let count = args.next().ok_or("say how many backups")?.parse()?;
    let times: u32 = args.next().ok_or("say how often")?.parse()?;
    let policy = Retention {
        keep_last: Some(100),
        keep_daily: Some(3_000),
        keep_weekly: Some(500),
        keep_monthly: Some(120),
        keep_yearly: Some(20),
        max_age: Some(Span::seconds(4_000 * 86_400)),
    };
    let zone = TimeZone::get("Europe/Berlin")?;
    let now: Timestamp = "2026-11-21T12:00:00Z".parse()?;
    let terms = Terms {
        instance_id: Uuid::from_u128(1),
        job_id: Uuid::from_u128(2),
        policy: Some(&policy),
        verification: true,
        hold: None,
        after_gap: false,
        zone: &zone,
        now,
    };
    let all = history(count, &terms);
    let mut out = std::io::stdout().lock();
    for _ in 0..times {
        let started = Instant::now();
        let decision = std::hint::black_box(decide(&all, &terms));
        let took = started.elapsed();
        if decision.deletions.is_empty() || decision.deletions.len() == count {
            return Err("a policy that decides nothing measures nothing".into());
        }
        writeln!(out, "{}", took.as_nanos())?;
    }
    Ok(())
}
