//! Messages on their way: each is made once, waits for its time, goes in order, and has one end.

use std::collections::{BTreeMap, BTreeSet};
use std::slice;

use backstay_model::run::RunStatus;
use backstay_store::{Delivery, DeliveryState, Store, TroubleChange, What};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::fixtures::{Lab, at, begun, ended, event, job, lab, open};

const NOBODY: BTreeSet<String> = BTreeSet::new();

fn noon() -> Timestamp {
    at("2026-03-01T12:00:00Z")
}

fn after(seconds: i64) -> Timestamp {
    noon() + SignedDuration::from_secs(seconds)
}

/// A message made at noon that is due some seconds later.
fn message(channel: &str, due: i64) -> Delivery {
    Delivery {
        id: Uuid::now_v7(),
        channel: channel.to_owned(),
        job_name: "flash".to_owned(),
        event: "failure".to_owned(),
        payload: "{}".to_owned(),
        created_at: noon(),
        state: DeliveryState::Waiting,
        attempts: 0,
        at: after(due),
        error: None,
    }
}

/// Has something happen, and returns the number of its notice.
async fn notice(store: &Store, name: &str) -> i64 {
    let unable = BTreeMap::from([(name.to_owned(), Uuid::now_v7().to_string())]);
    store.set_unable(&unable).await.unwrap();
    store.notices(500).await.unwrap().last().unwrap().0
}

/// Makes messages of something that happened.
async fn make(store: &Store, messages: &[Delivery]) {
    let notice = notice(store, "flash").await;
    assert!(store.settle_notice(notice, None, messages).await.unwrap());
}

/// The ids of what is due some seconds after noon, on a clock that was not put back.
async fn due(lab: &Lab, seconds: i64, busy: &[&str]) -> Vec<Uuid> {
    let busy = busy.iter().map(|name| (*name).to_owned()).collect();
    let due = lab
        .store
        .due_deliveries(after(seconds), Timestamp::MAX, &busy, 100)
        .await;
    due.unwrap().iter().map(|delivery| delivery.id).collect()
}

async fn one(store: &Store, id: Uuid) -> Delivery {
    let all = store.deliveries(100).await.unwrap();
    all.into_iter().find(|delivery| delivery.id == id).unwrap()
}

#[tokio::test]
async fn what_happens_to_a_run_is_noted_in_order_and_settled_once_or_not_at_all() {
    let lab = lab().await;
    let job = job(&lab.store, "flash").await;
    let first = begun(&lab.store, &job).await;
    assert!(
        lab.store.notices(10).await.unwrap().is_empty(),
        "it only waits for its turn"
    );
    assert!(lab.store.take_run(first.id, noon()).await.unwrap());
    let end = ended(&first, RunStatus::Failed);
    lab.store
        .finish_run(&end, &[event(&first, "failed")])
        .await
        .unwrap();
    let notices = lab.store.notices(10).await.unwrap();
    let told: Vec<What> = notices
        .iter()
        .map(|(_, what)| what.as_ref().unwrap().clone())
        .collect();
    assert_eq!(
        told,
        [
            What::Began(first.id),
            What::Ended(first.id, Some(RunStatus::Preparing))
        ]
    );
    let [begin, end] = [notices[0].0, notices[1].0];
    assert_eq!(
        lab.store.notices(1).await.unwrap()[0].0,
        begin,
        "the oldest first"
    );
    let messages = [message("ops", 0), message("phone", 0)];
    let trouble = Some(TroubleChange::Since(job.id, noon()));
    assert!(lab.store.settle_notice(end, trouble, &messages).await.unwrap());
    // Another process that looked at the same moment.
    let doubled = [message("ops", 0)];
    assert!(!lab.store.settle_notice(end, trouble, &doubled).await.unwrap());
    assert_eq!(lab.store.deliveries(10).await.unwrap().len(), 2);
    assert_eq!(lab.store.trouble(job.id).await.unwrap(), Some(noon()));

    // One that is there already: nothing of this is kept, and it is done again later.
    let half = [message("ops", 0), messages[0].clone()];
    let over = Some(TroubleChange::Over(job.id));
    assert!(lab.store.settle_notice(begin, over, &half).await.is_err());
    assert_eq!(lab.store.deliveries(10).await.unwrap().len(), 2);
    assert_eq!(lab.store.trouble(job.id).await.unwrap(), Some(noon()));
    assert_eq!(lab.store.notices(10).await.unwrap()[0].0, begin);
    assert!(lab.store.settle_notice(begin, over, &[]).await.unwrap());
    assert_eq!(lab.store.trouble(job.id).await.unwrap(), None);
    assert_eq!(lab.store.outbox_state().await.unwrap(), (false, Some(noon())));
}

#[tokio::test]
async fn since_when_a_job_is_in_trouble_is_when_it_began() {
    let lab = lab().await;
    let job = job(&lab.store, "flash").await;
    for seconds in [0, 60, 120] {
        let notice = notice(&lab.store, "flash").await;
        let trouble = Some(TroubleChange::Since(job.id, after(seconds)));
        assert!(lab.store.settle_notice(notice, trouble, &[]).await.unwrap());
    }
    assert_eq!(lab.store.trouble(job.id).await.unwrap(), Some(noon()));
}

#[tokio::test]
async fn what_is_due_longest_goes_first_and_what_was_made_first_before_others() {
    let lab = lab().await;
    let [late, first, second, later] = [
        message("ops", 5),
        message("ops", 0),
        message("phone", 0),
        message("ops", 60),
    ];
    make(
        &lab.store,
        &[late.clone(), second.clone(), first.clone(), later.clone()],
    )
    .await;
    assert!(due(&lab, -1, &[]).await.is_empty(), "nothing before its time");
    assert_eq!(due(&lab, 10, &[]).await, [first.id, second.id, late.id]);
    assert_eq!(
        due(&lab, 10, &["ops"]).await,
        [second.id],
        "something is being sent to it"
    );
    assert_eq!(due(&lab, 60, &["phone"]).await, [first.id, late.id, later.id]);
    let few = lab
        .store
        .due_deliveries(after(60), Timestamp::MAX, &NOBODY, 2)
        .await;
    let few: Vec<Uuid> = few.unwrap().iter().map(|delivery| delivery.id).collect();
    assert_eq!(few, [first.id, second.id]);
    assert_eq!(lab.store.outbox_state().await.unwrap(), (false, Some(noon())));
}

#[tokio::test]
async fn what_was_not_taken_waits_for_its_next_time_and_keeps_none_behind_it_waiting() {
    let lab = lab().await;
    let [failing, other] = [message("ops", 0), message("ops", 1)];
    make(&lab.store, &[failing.clone(), other.clone()]).await;
    for (attempt, next) in [(1, 10), (2, 30), (3, 70)] {
        let why = format!("attempt {attempt} failed");
        let state = DeliveryState::Waiting;
        lab.store
            .record_attempt(failing.id, state, after(next), Some(&why))
            .await
            .unwrap();
        assert_eq!(due(&lab, next - 1, &[]).await, [other.id]);
        assert_eq!(due(&lab, next, &[]).await, [other.id, failing.id]);
        let kept = one(&lab.store, failing.id).await;
        assert_eq!((kept.attempts, kept.error), (attempt, Some(why)));
        assert_eq!(kept.payload, "{}", "it is still to be sent");
    }
    // A crash in between changes nothing.
    let again = open(lab.dir.path()).await.unwrap();
    assert_eq!(one(&again, failing.id).await, one(&lab.store, failing.id).await);
    let sent = DeliveryState::Sent;
    again
        .record_attempt(failing.id, sent, after(71), None)
        .await
        .unwrap();
    assert_eq!(due(&lab, 3_600, &[]).await, [other.id]);
    let kept = one(&lab.store, failing.id).await;
    assert_eq!((kept.state, kept.attempts, kept.error), (sent, 4, None));
    assert_eq!(kept.payload, "", "what was sent isn't kept");
}

#[tokio::test]
async fn what_has_an_end_keeps_it() {
    let lab = lab().await;
    let [sent, lost] = [message("ops", 0), message("ops", 0)];
    make(&lab.store, &[sent.clone(), lost.clone()]).await;
    let record = async |id, state, seconds, error: Option<&str>| {
        let done = lab.store.record_attempt(id, state, after(seconds), error).await;
        done.unwrap();
    };
    record(sent.id, DeliveryState::Sent, 1, None).await;
    record(lost.id, DeliveryState::GivenUp, 2, Some("refused")).await;
    let before = lab.store.deliveries(10).await.unwrap();
    // The answer to an earlier attempt, which came too late.
    record(sent.id, DeliveryState::Waiting, 9, Some("too late")).await;
    record(lost.id, DeliveryState::Sent, 9, None).await;
    assert_eq!(lab.store.deliveries(10).await.unwrap(), before);
    assert!(due(&lab, 3_600, &[]).await.is_empty());
    assert_eq!(lab.store.outbox_state().await.unwrap(), (false, None));
    let states = lab.store.channel_states().await.unwrap();
    let ops = &states["ops"];
    assert_eq!((ops.waiting, ops.given_up), (0, 1));
    assert_eq!(ops.last_sent_at, Some(after(1)));
    assert_eq!(ops.last_error.as_deref(), Some("refused"));
}

#[tokio::test]
async fn the_error_of_what_still_waits_is_shown_before_that_of_what_was_given_up() {
    let lab = lab().await;
    let [lost, waiting] = [message("ops", 0), message("ops", 0)];
    make(&lab.store, &[lost.clone(), waiting.clone()]).await;
    let store = &lab.store;
    let given_up = DeliveryState::GivenUp;
    store
        .record_attempt(lost.id, given_up, after(5), Some("old"))
        .await
        .unwrap();
    let state = DeliveryState::Waiting;
    store
        .record_attempt(waiting.id, state, after(3), Some("new"))
        .await
        .unwrap();
    let states = store.channel_states().await.unwrap();
    assert_eq!(states["ops"].last_error.as_deref(), Some("new"));
}

#[tokio::test]
async fn on_a_clock_that_was_put_back_nothing_waits_for_years() {
    let lab = lab().await;
    let [far, near] = [message("ops", 86_400 * 365), message("ops", 60)];
    make(&lab.store, &[far.clone(), near.clone()]).await;
    let due = lab.store.due_deliveries(noon(), after(7_200), &NOBODY, 10).await;
    let due: Vec<Uuid> = due.unwrap().iter().map(|delivery| delivery.id).collect();
    assert_eq!(due, [far.id], "what waits for a minute is not due");
}

#[tokio::test]
async fn a_newer_ping_takes_the_place_of_one_that_could_not_be_sent() {
    let lab = lab().await;
    let [tried, untried] = [message("ping/1", 0), message("ping/1", 0)];
    let others = [message("ping/2", 0), message("ops", 0)];
    make(&lab.store, slice::from_ref(&tried)).await;
    make(&lab.store, &others).await;
    let failed = DeliveryState::Waiting;
    for id in [tried.id, others[0].id, others[1].id] {
        lab.store
            .record_attempt(id, failed, after(10), Some("down"))
            .await
            .unwrap();
    }
    make(&lab.store, slice::from_ref(&untried)).await;
    make(&lab.store, &[message("ops", 20)]).await;
    let replaced = one(&lab.store, tried.id).await;
    assert_eq!(
        (replaced.state, replaced.payload.as_str()),
        (DeliveryState::Replaced, "")
    );
    assert_eq!(
        due(&lab, 15, &[]).await,
        [untried.id, others[0].id, others[1].id],
        "a ping of another job, and messages, are all told"
    );
    // A third comes while the second is being sent for the first time, in vain.
    let newest = message("ping/1", 1);
    make(&lab.store, slice::from_ref(&newest)).await;
    assert_eq!(one(&lab.store, untried.id).await.state, DeliveryState::Waiting);
    lab.store
        .record_attempt(untried.id, failed, after(60), Some("down"))
        .await
        .unwrap();
    let replaced = one(&lab.store, untried.id).await;
    assert_eq!(
        (replaced.state, replaced.payload.as_str()),
        (DeliveryState::Replaced, "")
    );
    assert_eq!(due(&lab, 5, &[]).await, [newest.id], "the last word is the last");
}

#[tokio::test]
async fn what_is_old_is_forgotten_but_not_what_waits() {
    let lab = lab().await;
    let messages = [message("ops", 0), message("ops", 0), message("ping/1", 0)];
    make(&lab.store, &messages).await;
    let sent = DeliveryState::Sent;
    lab.store
        .record_attempt(messages[0].id, sent, after(1), None)
        .await
        .unwrap();
    let given_up = DeliveryState::GivenUp;
    lab.store
        .record_attempt(messages[2].id, given_up, after(1), Some("x"))
        .await
        .unwrap();
    lab.store.forget_deliveries(noon()).await.unwrap();
    assert_eq!(lab.store.deliveries(10).await.unwrap().len(), 3, "none is older");
    lab.store.forget_deliveries(after(1)).await.unwrap();
    let kept = lab.store.deliveries(10).await.unwrap();
    assert_eq!(kept, [messages[1].clone()]);
}

#[tokio::test]
async fn a_job_that_cant_be_started_is_noted_once_for_each_reason_and_when_it_is_over() {
    let lab = lab().await;
    let unable = |why: &str| BTreeMap::from([("flash".to_owned(), why.to_owned())]);
    for why in ["no zone", "no zone", "no plugin"] {
        lab.store.set_unable(&unable(why)).await.unwrap();
    }
    for _ in 0..2 {
        lab.store.set_unable(&BTreeMap::new()).await.unwrap();
    }
    let told: Vec<String> = lab
        .store
        .notices(10)
        .await
        .unwrap()
        .into_iter()
        .map(|(_, what)| match what.unwrap() {
            What::Unable { job, message, .. } => format!("{job}: {message}"),
            What::Able { job, .. } => format!("{job} again"),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(told, ["flash: no zone", "flash: no plugin", "flash again"]);
}
