//! Histories for the tests of the rules.

mod examples;
mod properties;

use super::*;

const HERE: Uuid = Uuid::from_u128(1);
const ELSEWHERE: Uuid = Uuid::from_u128(2);
const JOB: Uuid = Uuid::from_u128(3);
const OTHER_JOB: Uuid = Uuid::from_u128(4);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-11-21T12:00:00Z")
}

fn good(number: u128, created_at: Timestamp) -> Candidate {
    Candidate {
        id: Uuid::from_u128(1000 + number),
        instance_id: HERE,
        job_id: JOB,
        created_at,
        base: None,
        verified: None,
    }
}

fn terms<'a>(policy: &'a Retention, zone: &'a TimeZone) -> Terms<'a> {
    Terms {
        instance_id: HERE,
        job_id: JOB,
        policy: Some(policy),
        verification: false,
        hold: None,
        after_gap: true,
        zone,
        now: now(),
    }
}
