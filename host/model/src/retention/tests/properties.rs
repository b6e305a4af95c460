//! What holds for every history and every policy.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::span::Span;

/// Some backups of two installations and two jobs over three years, some of them after `now`, some increments.
fn histories() -> impl Strategy<Value = Vec<Candidate>> {
    let one = (
        -26_000_i64..400,
        prop::option::weighted(0.4, any::<prop::sample::Index>()),
        prop::option::of(prop::bool::weighted(0.8)),
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.9),
    );
    prop::collection::vec(one, 0..40).prop_map(|all| {
        let mut candidates: Vec<Candidate> = Vec::new();
        for (number, (hours, base, verified, here, this_job)) in (0..).zip(all) {
            let created_at = now() + SignedDuration::from_hours(hours);
            let mut candidate = good(number, created_at);
            candidate.verified = verified;
            candidate.instance_id = if here { HERE } else { ELSEWHERE };
            candidate.job_id = if this_job { JOB } else { OTHER_JOB };
            if !candidates.is_empty() {
                candidate.base = base.map(|index| index.get(&candidates).id);
            }
            candidates.push(candidate);
        }
        candidates
    })
}

fn policies() -> impl Strategy<Value = Retention> {
    let count = || prop::option::of(0_u32..6);
    let age = prop::option::of((1_u64..900).prop_map(|days| Span::seconds(days * 86_400)));
    (count(), count(), count(), count(), count(), age).prop_map(
        |(last, daily, weekly, monthly, yearly, age)| Retention {
            keep_last: last,
            keep_daily: daily,
            keep_weekly: weekly,
            keep_monthly: monthly,
            keep_yearly: yearly,
            max_age: age,
        },
    )
}

fn zones() -> impl Strategy<Value = TimeZone> {
    prop::sample::select(vec!["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia"])
        .prop_map(|name| TimeZone::get(name).unwrap())
}

fn kept(candidates: &[Candidate], decision: &Decision) -> Vec<Candidate> {
    let pairs = candidates.iter().zip(&decision.verdicts);
    pairs
        .filter(|(_, verdict)| verdict.keep)
        .map(|(candidate, _)| candidate.clone())
        .collect()
}

proptest! {
    #[test]
    fn what_somebody_needs_stays(
        all in histories(), policy in policies(), zone in zones(), verification: bool
    ) {
        let terms = Terms { verification, ..terms(&policy, &zone) };
        let decision = decide(&all, &terms);
        prop_assert_eq!(decision.verdicts.len(), all.len());
        for verdict in &decision.verdicts {
            prop_assert!(!verdict.reasons.is_empty());
        }
        let left = kept(&all, &decision);
        let ids: HashSet<Uuid> = left.iter().map(|c| c.id).collect();
        let existed: HashSet<Uuid> = all.iter().map(|c| c.id).collect();
        for candidate in &left {
            if let Some(base) = candidate.base.filter(|base| existed.contains(base)) {
                prop_assert!(ids.contains(&base), "the base of a kept one is gone");
            }
        }
        for candidate in &all {
            if candidate.instance_id != HERE || candidate.job_id != JOB || candidate.created_at > now() {
                prop_assert!(ids.contains(&candidate.id), "it is not for these rules");
            }
        }
        // The newest good one, found by looking at nothing but the chain of each.
        let is_good = |candidate: &Candidate| {
            let mut next = Some(candidate.clone());
            while let Some(link) = next {
                if link.verified == Some(false) || (verification && link.verified.is_none()) {
                    return false;
                }
                next = link.base.map(|id| all.iter().find(|c| c.id == id).unwrap().clone());
            }
            candidate.instance_id == HERE && candidate.job_id == JOB && candidate.created_at <= now()
        };
        if let Some(newest) = all.iter().filter(|c| is_good(c)).max_by_key(|c| (c.created_at, c.id)) {
            prop_assert!(ids.contains(&newest.id), "the last good one is gone");
        } else if let Some(newest) = all
            .iter()
            .filter(|c| c.instance_id == HERE && c.job_id == JOB && c.created_at <= now())
            .max_by_key(|c| (c.created_at, c.id))
        {
            prop_assert!(ids.contains(&newest.id), "without a good one, nothing newer than the best goes");
        }
    }

    #[test]
    fn every_prefix_of_the_deletions_is_safe(all in histories(), policy in policies(), zone in zones()) {
        let decision = decide(&all, &terms(&policy, &zone));
        let mut left: HashSet<Uuid> = all.iter().map(|c| c.id).collect();
        for index in &decision.deletions {
            prop_assert!(!decision.verdicts[*index].keep);
            left.remove(&all[*index].id);
            for candidate in all.iter().filter(|c| left.contains(&c.id)) {
                prop_assert!(candidate.base.is_none_or(|base| left.contains(&base)));
            }
        }
        prop_assert_eq!(left.len(), kept(&all, &decision).len());
    }

    #[test]
    fn doing_it_twice_deletes_nothing_more(
        all in histories(), policy in policies(), zone in zones(), verification: bool
    ) {
        let terms = Terms { verification, ..terms(&policy, &zone) };
        let left = kept(&all, &decide(&all, &terms));
        prop_assert_eq!(decide(&left, &terms).deletions, Vec::<usize>::new());
    }

    #[test]
    fn a_newer_backup_brings_none_back(
        all in histories(), policy in policies(), zone in zones(), verification: bool, verified: Option<bool>
    ) {
        let terms = Terms { verification, ..terms(&policy, &zone) };
        let before = decide(&all, &terms);
        let mut more = all.clone();
        more.push(Candidate { verified, ..good(999, now()) });
        let after = decide(&more, &terms);
        for index in before.deletions {
            prop_assert!(!after.verdicts[index].keep);
        }
    }

    #[test]
    fn the_order_of_the_list_does_not_matter(
        (all, mixed) in histories().prop_flat_map(|all| {
            let shuffled = Just(all.clone()).prop_shuffle();
            (Just(all), shuffled)
        }),
        policy in policies(), zone in zones()
    ) {
        let terms = terms(&policy, &zone);
        let ids = |list: &[Candidate]| -> Vec<Uuid> {
            decide(list, &terms).deletions.iter().map(|i| list[*i].id).collect()
        };
        prop_assert_eq!(ids(&all), ids(&mixed));
    }

    #[test]
    fn nothing_is_deleted_without_a_rule_or_while_frozen(
        all in histories(), policy in policies(), zone in zones()
    ) {
        let frozen = Terms { hold: Some(Reason::Frozen), ..terms(&policy, &zone) };
        prop_assert!(decide(&all, &frozen).deletions.is_empty());
        for nothing in [None, Some(&Retention::default())] {
            let terms = Terms { policy: nothing, ..terms(&policy, &zone) };
            prop_assert!(decide(&all, &terms).deletions.is_empty());
        }
        let zeros = Retention { keep_last: Some(0), keep_yearly: Some(0), ..Retention::default() };
        let terms = Terms { policy: Some(&zeros), ..terms(&policy, &zone) };
        prop_assert!(decide(&all, &terms).deletions.is_empty());
    }

    #[test]
    fn a_looser_policy_keeps_more(all in histories(), policy in policies(), zone in zones(), more in 0_u32..4) {
        let strict = decide(&all, &terms(&policy, &zone));
        let mut looser = policy.clone();
        if policy.has_keep_rule() {
            looser.keep_daily = Some(policy.keep_daily.unwrap_or(0) + more);
            looser.max_age = None;
        }
        let loose = decide(&all, &terms(&looser, &zone));
        for index in loose.deletions {
            prop_assert!(!strict.verdicts[index].keep);
        }
    }
}
