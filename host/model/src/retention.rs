//! Which backups of a job at one destination are kept, and why. A decision only: nothing is deleted here.
//!
//! The rules look from the newest backup back. `keepDaily: 14` keeps the newest backup of each of the last 14 days
//! *that have one*, so a host that was off for a month loses nothing by it; weeks are those of ISO 8601, and days
//! begin at midnight in the job's time zone. A backup that any rule takes is kept. Whatever the rules say, these stay:
//!
//! - what another installation wrote, or this one for another job;
//! - the newest good backup and whatever is newer than it;
//! - each backup that a kept one builds on, however far back;
//! - what is dated in the future: when the clock was wrong, nobody knows how old anything is;
//! - what `maxAge` lets go only since a gap of more than that between two backups, unless somebody looked at it: either
//!   the clock is wrong, or the host was off for as long;
//! - everything, while retention is frozen or something else holds it.
//!
//! A backup that is known to be damaged, builds on one that is damaged or missing, or has not been verified where
//! verification is asked for, takes nobody's place: rules count only good ones. It is deleted only if it would be
//! deleted even if it were good.

mod chain;
mod periods;
mod reason;

#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::job::Retention;
use chain::{Chains, Grade};
use periods::Rules;
pub use reason::{Period, Reason};

/// What has to be known about a backup.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub id: Uuid,
    /// The installation that wrote it.
    pub instance_id: Uuid,
    /// The job that it was written for.
    pub job_id: Uuid,
    /// When its source was opened.
    pub created_at: Timestamp,
    /// The backup that it builds on.
    pub base: Option<Uuid>,
    /// The outcome of its last check, if there was one.
    pub verified: Option<bool>,
}

/// What the decision goes by.
#[derive(Debug, Clone)]
pub struct Terms<'a> {
    /// This installation.
    pub instance_id: Uuid,
    /// The job.
    pub job_id: Uuid,
    /// Its policy; without one everything is kept.
    pub policy: Option<&'a Retention>,
    /// Only what passed a check counts as kept.
    pub verification: bool,
    /// Why nothing may be deleted now, whatever the rules say.
    pub hold: Option<Reason>,
    /// Somebody looked at it: what became too old by a gap between two backups may go.
    pub after_gap: bool,
    /// The zone that days begin in.
    pub zone: &'a TimeZone,
    /// The present.
    pub now: Timestamp,
}

/// What becomes of one backup, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it stays.
    pub keep: bool,
    /// Why, the most important first; at least one.
    pub reasons: Vec<Reason>,
}

/// What becomes of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// One for each candidate, in their order.
    pub verdicts: Vec<Verdict>,
    /// Positions of the candidates to delete, in an order in which each step is safe: what builds on another goes
    /// before it, else the oldest first.
    pub deletions: Vec<usize>,
}

impl Retention {
    /// Whether it has a rule that keeps for reasons other than age.
    pub fn has_keep_rule(&self) -> bool {
        [
            self.keep_last,
            self.keep_daily,
            self.keep_weekly,
            self.keep_monthly,
            self.keep_yearly,
        ]
        .iter()
        .any(|count| count.is_some_and(|n| n > 0))
    }

    /// Whether anything can ever be deleted by it.
    pub fn has_rule(&self) -> bool {
        self.has_keep_rule() || self.max_age.is_some()
    }
}

/// Decides what becomes of the backups of a job at one destination. Their order doesn't matter.
pub fn decide(candidates: &[Candidate], terms: &Terms<'_>) -> Decision {
    let chains = Chains::new(candidates, terms.verification);
    let policy = terms.policy.filter(|policy| policy.has_rule());
    let mut verdicts = match (terms.hold, policy) {
        (Some(reason), _) => vec![keep(reason); candidates.len()],
        (None, None) => vec![keep(Reason::NoPolicy); candidates.len()],
        (None, Some(policy)) => by_rules(candidates, &chains, policy, terms),
    };
    keep_bases(candidates, &chains, &mut verdicts);
    let mut deletions: Vec<usize> = (0..candidates.len()).filter(|i| !verdicts[*i].keep).collect();
    deletions.sort_by_key(|i| {
        let candidate = &candidates[*i];
        (Reverse(chains.depth(*i)), candidate.created_at, candidate.id)
    });
    Decision { verdicts, deletions }
}

fn keep(reason: Reason) -> Verdict {
    Verdict {
        keep: true,
        reasons: vec![reason],
    }
}

/// What is not for the rules to judge stays.
fn exempt(candidate: &Candidate, terms: &Terms<'_>) -> Option<Reason> {
    if candidate.instance_id != terms.instance_id {
        Some(Reason::OtherInstance)
    } else if candidate.job_id != terms.job_id {
        Some(Reason::OtherJob)
    } else if candidate.created_at > terms.now {
        Some(Reason::Future)
    } else {
        None
    }
}

fn by_rules(
    candidates: &[Candidate],
    chains: &Chains,
    policy: &Retention,
    terms: &Terms<'_>,
) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(candidates.len());
    let mut judged = Vec::with_capacity(candidates.len());
    for (index, candidate) in candidates.iter().enumerate() {
        let exempt = exempt(candidate, terms);
        if exempt.is_none() {
            judged.push(index);
        }
        verdicts.push(Verdict {
            keep: exempt.is_some(),
            reasons: exempt.into_iter().collect(),
        });
    }
    judged.sort_by_key(|i| Reverse((candidates[*i].created_at, candidates[*i].id)));
    // Among the best of them, the newest: the first of these in the order.
    let last_good = judged.iter().copied().min_by_key(|i| Reverse(chains.grade(*i)));
    let max_age = policy.max_age.map(|span| {
        let age = SignedDuration::try_from(span.duration()).unwrap_or(SignedDuration::MAX);
        (span, age)
    });
    let times: Vec<Timestamp> = judged.iter().map(|i| candidates[*i].created_at).collect();
    let gap = max_age.filter(|(_, age)| !terms.after_gap && has_gap(&times, terms.now, *age));
    let mut rules = Rules::new(policy);
    let mut after_last_good = true;
    for index in judged {
        let candidate = &candidates[index];
        let grade = chains.grade(index);
        let too_old = max_age.filter(|(_, age)| terms.now.duration_since(candidate.created_at) > *age);
        let mut reasons = match (too_old, max_age) {
            (Some(_), _) => gap.map(|(span, _)| Reason::Gap(span)).into_iter().collect(),
            (None, Some((span, _))) if !policy.has_keep_rule() => vec![Reason::Younger(span)],
            (None, _) => {
                let date = terms.zone.to_datetime(candidate.created_at).date();
                rules.judge(date, grade == Grade::Good)
            }
        };
        let is_last_good = Some(index) == last_good;
        if reasons.is_empty() && is_last_good {
            reasons.push(match grade {
                Grade::Good => Reason::LastGood,
                Grade::Unverified | Grade::Broken => Reason::BestLeft,
            });
        } else if reasons.is_empty() && after_last_good {
            reasons.push(Reason::NewerThanLastGood);
        }
        after_last_good &= !is_last_good;
        let verdict = &mut verdicts[index];
        verdict.keep = !reasons.is_empty();
        if !verdict.keep {
            reasons.push(too_old.map_or(Reason::NoRule, |(span, _)| Reason::Older(span)));
        }
        match grade {
            Grade::Good => {}
            _ if candidate.verified == Some(false) => reasons.push(Reason::Damaged),
            Grade::Broken => reasons.push(Reason::BrokenChain),
            Grade::Unverified => reasons.push(Reason::Unverified),
        }
        verdict.reasons = reasons;
    }
    verdicts
}

/// Whether what is too old is so by a single step: the newest of it is older than the next backup by more than the age
/// itself.
fn has_gap(newest_first: &[Timestamp], now: Timestamp, age: SignedDuration) -> bool {
    let is_old = |time: &Timestamp| now.duration_since(*time) > age;
    newest_first
        .windows(2)
        .any(|pair| !is_old(&pair[0]) && is_old(&pair[1]) && pair[0].duration_since(pair[1]) > age)
}

/// Keeps what kept ones build on, and what that builds on.
fn keep_bases(candidates: &[Candidate], chains: &Chains, verdicts: &mut [Verdict]) {
    for index in 0..candidates.len() {
        let mut dependent = index;
        while verdicts[dependent].keep
            && let Some(base) = chains.base(dependent)
            && !verdicts[base].keep
        {
            verdicts[base] = keep(Reason::BaseOf(candidates[dependent].id));
            dependent = base;
        }
    }
}
