//! Claims that are over: under which nothing is sent any more, or was.

use super::super::super::attempt::{Attempt, Claim};
use super::super::super::attempts::Claimed;
use super::*;

/// Written by `by` a second ago.
fn claim(by: u64) -> String {
    let now_ms = crate::telemetry::now_ms();
    serde_json::json!({
        "print": "same", "by": by, "number": 1_000_000, "at_ms": now_ms - 1_000,
        "made_by": by, "expires_ms": now_ms + 60_000,
    })
    .to_string()
}

/// A claim that Kafka has though it did not say so, while nothing was sent: the instance whose claim it is knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_claim_under_which_nothing_is_sent_holds_nobody_up() {
    let cluster = Cluster::start().await;
    let (one, two) = cluster.pair(&[]).await;
    let target = Target::default();
    let own = claim(one.answers.desk.own(0).by.0);
    let written = one.state.put("command-claim", "k.1", own.as_bytes());
    written.await.expect("written");
    for instance in [&one, &two] {
        let run = instance.done(keyed(AnswerFrom::Target, "k"), &target, "x");
        assert_eq!(run.await.text(), (202, "x"));
    }
    assert_eq!(target.sent().len(), 1);
    let over = one
        .state
        .get("command-over", "k")
        .expect("the first is over");
    let over: Value = serde_json::from_slice(&over).expect("JSON");
    assert_eq!(over["attempts"], 1);
    one.stop().await;
    two.stop().await;
}

/// A claim that another instance writes once more, as it had not read yet that it was over, counts no more anywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_is_written_back_after_its_end_holds_nobody_up() {
    let cluster = Cluster::start().await;
    let (one, two) = cluster.pair(&[]).await;
    let target = Target::default();
    target.failures.store(1, Ordering::Relaxed);
    let failed = one.done(keyed(AnswerFrom::Target, "k"), &target, "x").await;
    assert_eq!(failed.status, 404);
    let released = async {
        while two.state.get("command-over", "k").is_none()
            || two.state.get("command-claim", "k.1").is_some()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let released = tokio::time::timeout(SOON, released).await;
    released.expect("released in time");
    let back = claim(one.answers.desk.own(0).by.0);
    let written = two.state.put("command-claim", "k.1", back.as_bytes());
    written.await.expect("written");
    let again = two.done(keyed(AnswerFrom::Target, "k"), &target, "x").await;
    assert_eq!(again.text(), (202, "x"));
    assert_eq!(target.sent().len(), 2);
    one.stop().await;
    two.stop().await;
}

/// An attempt of which it is not known whose it is ends for all instances if it is ours, and only then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_own_attempt_is_released() {
    let cluster = Cluster::start().await;
    let (one, two) = cluster.pair(&[]).await;
    let stopping = one.tasks.stopping();
    let key = key("k", "same").expect("a key");
    let attempt = |instance: &Instance| Attempt {
        key: key.clone(),
        number: 1,
        claim: Claim {
            print: "same".to_owned(),
            by: instance.answers.desk.own(0).by.0,
            number: 1_000_000,
            at_ms: crate::telemetry::now_ms(),
        },
        place: places().take(&key.party).expect("there is one"),
    };
    one.answers.attempts.release(attempt(&one), &stopping).await;
    let claimed = two.answers.attempts.claim(&key, 7, |_| true, || true).await;
    let Ok(Claimed::Won(won)) = claimed else {
        panic!("{claimed:?}");
    };
    assert_eq!(won.attempt().number, 2);
    let late = Attempt {
        number: 2,
        ..attempt(&one)
    };
    one.answers.attempts.release(late, &stopping).await;
    let claimed = one
        .answers
        .attempts
        .claim(&key, 8, |_| true, || false)
        .await;
    assert_eq!(claimed.unwrap_err().code(), "command_in_progress");
    one.stop().await;
    two.stop().await;
}
