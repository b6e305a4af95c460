//! Who is logged in, and how long it is kept who changed what.

use backstay_model::access::{Role, Token};
use backstay_model::clock::Clock as _;
use backstay_model::settings::SessionSettings;
use backstay_model::span::Span;
use jiff::SignedDuration;

use crate::fixtures::{Lab, at, lab};

const LIMITS: SessionSettings = SessionSettings {
    idle: Span::seconds(3600),
    absolute: Span::seconds(5 * 3600),
};

async fn begin(lab: &Lab, token: &Token) -> String {
    let begun = lab
        .store
        .begin_session(token, &LIMITS, "192.0.2.1", Some("a browser"))
        .await;
    begun.unwrap().1
}

fn set(lab: &Lab, now: &str) {
    lab.clock.advance(at(now).duration_since(lab.clock.now()));
}

async fn is_good(lab: &Lab, text: &str) -> bool {
    let found = lab.store.session_of(text, &LIMITS).await.unwrap();
    let listed = lab.store.sessions(&LIMITS).await.unwrap();
    if let Some((session, token)) = &found {
        assert!(listed.contains(session), "it is not listed");
        assert_eq!((&session.token, session.role), (&token.name, token.role));
    }
    found.is_some()
}

#[tokio::test]
async fn a_session_ends_by_its_age_and_when_it_isnt_used() {
    let lab = lab().await;
    let (token, _) = lab.store.add_token("ann", Role::Operator, None).await.unwrap();
    let (used, unused) = (begin(&lab, &token).await, begin(&lab, &token).await);
    for minutes in [50, 50, 50, 50, 50] {
        lab.clock.advance(SignedDuration::from_mins(minutes));
        assert!(is_good(&lab, &used).await);
        let (session, _) = lab.store.session_of(&used, &LIMITS).await.unwrap().unwrap();
        lab.store.see_session(session.id).await.unwrap();
    }
    assert!(!is_good(&lab, &unused).await);
    assert_eq!(lab.store.sessions(&LIMITS).await.unwrap().len(), 1);
    // Used to its last minute, it is over after five hours.
    lab.clock.advance(SignedDuration::from_mins(49));
    assert!(is_good(&lab, &used).await);
    lab.clock.advance(SignedDuration::from_mins(1));
    assert!(!is_good(&lab, &used).await);
    assert!(!is_good(&lab, "bss_0").await);
}

#[tokio::test]
async fn a_session_ends_with_its_token_or_alone() {
    let lab = lab().await;
    let soon = lab.clock.now().checked_add(SignedDuration::from_mins(30)).ok();
    let (short, _) = lab.store.add_token("short", Role::Viewer, soon).await.unwrap();
    let (long, _) = lab.store.add_token("long", Role::Viewer, None).await.unwrap();
    let [first, second, third] = [
        begin(&lab, &short).await,
        begin(&lab, &long).await,
        begin(&lab, &long).await,
    ];
    let (ended, _) = lab.store.session_of(&second, &LIMITS).await.unwrap().unwrap();
    assert!(lab.store.end_session(ended.id).await.unwrap());
    assert!(!lab.store.end_session(ended.id).await.unwrap());
    assert!(!is_good(&lab, &second).await);
    lab.clock.advance(SignedDuration::from_mins(30));
    assert!(!is_good(&lab, &first).await);
    assert!(is_good(&lab, &third).await);
    lab.store.remove_token("long").await.unwrap();
    assert!(!is_good(&lab, &third).await);
}

#[tokio::test]
async fn shorter_limits_hold_at_once_and_longer_ones_bring_nobody_back() {
    let lab = lab().await;
    let (token, _) = lab.store.add_token("ann", Role::Viewer, None).await.unwrap();
    let (old, young) = (begin(&lab, &token).await, {
        lab.clock.advance(SignedDuration::from_mins(40));
        begin(&lab, &token).await
    });
    let limits = |idle: u64, absolute: u64| SessionSettings {
        idle: Span::seconds(idle * 60),
        absolute: Span::seconds(absolute * 60),
    };
    for (shorter, name) in [(limits(30, 300), "idle"), (limits(39, 39), "absolute")] {
        let found = lab.store.session_of(&old, &shorter).await.unwrap();
        assert!(found.is_none(), "{name}");
        assert!(
            lab.store.session_of(&young, &shorter).await.unwrap().is_some(),
            "{name}"
        );
    }
    let (session, _) = lab
        .store
        .session_of(&young, &limits(39, 39))
        .await
        .unwrap()
        .unwrap();
    let lasts = session.expires_at.duration_since(session.created_at);
    assert_eq!(lasts, SignedDuration::from_mins(39));
    assert_eq!(
        lab.store.remove_ended_sessions(&limits(30, 300)).await.unwrap(),
        1
    );
    assert!(!is_good(&lab, &old).await);
    assert!(is_good(&lab, &young).await);
}

#[tokio::test]
async fn a_token_has_so_many_sessions_and_the_one_used_longest_ago_gives_way() {
    let lab = lab().await;
    let (token, _) = lab.store.add_token("ann", Role::Viewer, None).await.unwrap();
    let mut all = Vec::new();
    for _ in 0..21 {
        lab.clock.advance(SignedDuration::from_secs(1));
        all.push(begin(&lab, &token).await);
    }
    assert_eq!(lab.store.sessions(&LIMITS).await.unwrap().len(), 20);
    assert!(!is_good(&lab, &all[0]).await);
    assert!(is_good(&lab, &all[1]).await);
}

#[tokio::test]
async fn what_is_too_old_of_who_changed_what_is_removed_and_that_is_written_down() {
    let lab = lab().await;
    let keep = Span::seconds(30 * 86_400);
    let expire = || lab.store.expire_audit("host", keep);
    assert_eq!(expire().await.unwrap(), 0);
    for day in 1..=3 {
        set(&lab, &format!("2026-03-{day:02}T00:00:00Z"));
        lab.store
            .begin_audit("token:ann", "job.run", &format!("{day}"))
            .await
            .unwrap();
    }
    set(&lab, "2026-03-30T12:00:00Z");
    assert_eq!(expire().await.unwrap(), 0);
    // A clock that runs years ahead: nothing is as old as it says.
    set(&lab, "2031-01-01T00:00:00Z");
    assert_eq!(expire().await.unwrap(), 0);
    set(&lab, "2026-04-01T12:00:00Z");
    lab.store
        .begin_audit("token:ann", "job.run", "now")
        .await
        .unwrap();
    assert_eq!(expire().await.unwrap(), 2);
    assert_eq!(expire().await.unwrap(), 0);
    let left = lab.store.audit(None, 10).await.unwrap();
    let left: Vec<String> = left
        .iter()
        .map(|e| format!("{} {} {}", e.actor, e.action, e.subject))
        .collect();
    assert_eq!(
        left,
        [
            "host audit.expire 2 entries from before 2026-03-02T12:00:00Z",
            "token:ann job.run now",
            "token:ann job.run 3",
        ]
    );
}
