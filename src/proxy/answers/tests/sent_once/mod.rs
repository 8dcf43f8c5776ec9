//! Commands that come again under the same `Idempotency-Key`.

mod over;

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::attempts::Attempts;
use super::super::key::IdempotencyKey;
use super::super::places::Places;
use super::*;

/// What a target was sent.
#[derive(Clone, Default)]
struct Target {
    sent: Arc<Mutex<Vec<Sending>>>,
    /// How many sendings fail first.
    failures: Arc<AtomicUsize>,
}

impl Target {
    async fn take(self, sending: Sending, made: Sent) -> Result<Sent, HttpError> {
        self.sent.lock().push(sending);
        let failures = self.failures.load(Ordering::Relaxed);
        if failures > 0 {
            self.failures.store(failures - 1, Ordering::Relaxed);
            return Err(HttpError::not_found());
        }
        Ok(made)
    }

    fn sent(&self) -> Vec<Sending> {
        self.sent.lock().clone()
    }
}

fn key(name: &str, fingerprint: &str) -> Option<IdempotencyKey> {
    Some(IdempotencyKey {
        name: name.to_owned(),
        fingerprint: fingerprint.to_owned(),
        event_id: uuid::Uuid::from_u128(7),
        party: Party::Address(HERE),
    })
}

fn keyed(from: AnswerFrom, name: &str) -> Command {
    Command {
        key: key(name, "same"),
        ..command(from)
    }
}

fn places() -> Places {
    Places::new(10, Metrics::new().proxy.idempotency_keys)
}

impl Instance {
    /// Runs a command whose target is done with it.
    async fn done(&self, command: Command, target: &Target, body: &'static str) -> Came {
        let target = target.clone();
        let reply = self.answers.run_once(command, move |sending| {
            target.take(sending, Sent::Done(answer(202, body)))
        });
        came(reply.await).await
    }

    async fn waits(&self, command: Command, target: &Target) -> Result<Reply, HttpError> {
        let target = target.clone();
        self.answers
            .run_once(command, move |sending| target.take(sending, Sent::Waits))
            .await
    }
}

/// However often and wherever a command comes, at once or later, it is sent once and answered alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_command_is_sent_once() {
    let cluster = Cluster::start().await;
    let (one, two) = cluster.pair(&[]).await;
    let target = Target::default();
    let run = |instance, body| {
        let command = keyed(AnswerFrom::Target, "k");
        Instance::done(instance, command, &target, body)
    };
    let all = tokio::join!(
        run(&one, "a"),
        run(&two, "b"),
        run(&one, "c"),
        run(&two, "d")
    );
    let first = &all.0;
    assert_eq!(first.status, 202);
    for other in [&all.1, &all.2, &all.3] {
        assert_eq!(other.text(), first.text());
    }
    let later = run(&two, "e").await;
    assert_eq!(later.text(), first.text());
    assert_eq!(target.sent().len(), 1);
    let other = Command {
        key: key("k", "different"),
        ..command(AnswerFrom::Target)
    };
    let refused = two.done(other, &target, "f").await;
    assert_eq!(refused.code(), (422, "idempotency_key_reused".to_owned()));
    let another = two
        .done(keyed(AnswerFrom::Target, "k2"), &target, "g")
        .await;
    assert_eq!(another.text(), (202, "g"));
    assert_eq!(target.sent().len(), 2);
    // Also after a restart.
    one.stop().await;
    two.stop().await;
    let three = cluster.instance("three", &[]).await;
    let restarted = three
        .done(keyed(AnswerFrom::Target, "k"), &target, "h")
        .await;
    assert_eq!(restarted.text(), all.0.text());
    assert_eq!(target.sent().len(), 2);
    three.stop().await;
}

/// Who sends a command again while its answer is awaited gets the same answer, at any instance, and so does who sends
/// it after that, even if the first client is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_command_waits_for_the_same_answer() {
    let cluster = Cluster::start().await;
    let (one, two) = cluster.pair(&[]).await;
    let target = Target::default();
    let command = || keyed(AnswerFrom::Callback, "k");
    let first = one.waits(command(), &target).await;
    let (second, third) = (
        one.waits(command(), &target).await,
        two.waits(command(), &target).await,
    );
    drop(first);
    let sent = target.sent();
    assert_eq!(sent.len(), 1);
    let delivered = two.answers.deliver(&sent[0].correlation, answer(200, "x"));
    assert_eq!(delivered.await, Delivered::Forwarded);
    assert_eq!(came(second).await.text(), (200, "x"));
    assert_eq!(came(third).await.text(), (200, "x"));
    for instance in [&one, &two] {
        let again = instance.waits(command(), &target).await;
        assert_eq!(came(again).await.text(), (200, "x"));
    }
    let asynchronous = Command {
        prefers_async: true,
        ..command()
    };
    let accepted = came(two.waits(asynchronous, &target).await).await;
    let asked = accepted.asked_at();
    let asked = one
        .answers
        .ask(&asked, &Caller::default(), HERE, None)
        .await;
    assert_eq!(came(asked).await.text(), (200, "x"));
    assert_eq!(target.sent().len(), 1);
    one.stop().await;
    loop {
        let gone = came(two.waits(command(), &target).await).await;
        // It may take a while until it is noticed.
        if gone.status != 503 {
            assert_eq!(gone.code(), (410, "answer_gone".to_owned()));
            break;
        }
    }
    two.stop().await;
}

/// A command that could not be sent is sent when it comes again, under the same event id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_failed_can_be_tried_again() {
    let cluster = Cluster::start().await;
    let (one, two) = cluster.pair(&[]).await;
    let target = Target::default();
    target.failures.store(1, Ordering::Relaxed);
    let command = || keyed(AnswerFrom::Callback, "k");
    let failed = came(one.waits(command(), &target).await).await;
    assert_eq!(failed.status, 404);
    assert_eq!(one.answers.desk.table().waiting(), 0);
    let tried = two.waits(command(), &target).await;
    let sent = target.sent();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].event_id, sent[1].event_id);
    assert_ne!(sent[0].correlation, sent[1].correlation);
    two.answers
        .deliver(&sent[1].correlation, answer(200, "x"))
        .await;
    assert_eq!(came(tried).await.text(), (200, "x"));
    one.stop().await;
    two.stop().await;
}

/// A client that goes away while its command is being sent does not stop it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_sent_though_its_client_is_gone() {
    let cluster = Cluster::start().await;
    let one = cluster.instance("one", &[]).await;
    let (begun, has_begun) = oneshot::channel();
    let (go_on, may_go_on) = oneshot::channel::<()>();
    let target = Target::default();
    let slow = target.clone();
    let command = || keyed(AnswerFrom::Target, "k");
    let running = one.answers.run_once(command(), move |sending| async move {
        begun.send(()).expect("somebody listens");
        may_go_on.await.expect("somebody says so");
        slow.take(sending, Sent::Done(answer(202, "done"))).await
    });
    tokio::select! {
        _ = running => panic!("too soon"),
        begun = has_begun => begun.expect("it begins"),
    }
    let again = one.done(command(), &target, "again");
    let (again, ()) = tokio::join!(again, async {
        go_on.send(()).expect("it waits");
    });
    assert_eq!(again.text(), (202, "done"));
    assert_eq!(target.sent().len(), 1);
    one.stop().await;
}

/// A client that goes away while its command is being claimed does not stop it, and leaves no claim under which nobody
/// sends: for two minutes, the same key was refused then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_sent_though_its_client_is_gone_before_it_was_claimed() {
    let cluster = Cluster::start().await;
    let (one, two) = cluster.pair(&[]).await;
    let target = Target::default();
    for name in ["k1", "k2", "k3"] {
        let mut begun = Box::pin(one.done(keyed(AnswerFrom::Target, name), &target, "x"));
        assert!(futures_util::poll!(&mut begun).is_pending());
        drop(begun);
        let again = two.done(keyed(AnswerFrom::Target, name), &target, "x");
        assert_eq!(again.await.text(), (202, "x"));
    }
    assert_eq!(target.sent().len(), 3);
    one.stop().await;
    two.stop().await;
}

/// A claim whose instance died before it said that the command was sent counts for a while only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_whose_instance_died_is_sent_by_another_after_a_while() {
    let cluster = Cluster::start().await;
    let one = cluster.instance("one", &[]).await;
    let claim = |age_ms: i64| {
        let now_ms = crate::telemetry::now_ms();
        serde_json::json!({
            "print": "same", "by": 1, "number": 1, "at_ms": now_ms - age_ms,
            "made_by": 1, "expires_ms": now_ms + 60_000,
        })
        .to_string()
    };
    let target = Target::default();
    for (name, age_ms) in [("fresh.1", 1_000), ("old.1", 20_000), ("old.2", 19_000)] {
        let claim = claim(age_ms);
        let written = one.state.put("command-claim", name, claim.as_bytes());
        written.await.expect("written");
    }
    let waited = one
        .done(keyed(AnswerFrom::Target, "fresh"), &target, "x")
        .await;
    assert_eq!(waited.code(), (409, "command_in_progress".to_owned()));
    assert_eq!(waited.headers["retry-after"], "1");
    let taken_over = one
        .done(keyed(AnswerFrom::Target, "old"), &target, "x")
        .await;
    assert_eq!(taken_over.text(), (202, "x"));
    assert_eq!(target.sent().len(), 1);
    assert!(one.state.get("command-claim", "old.3").is_some());
    one.stop().await;
}

/// An answer that is too large for the shared state is kept by the instance that got it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_answer_is_repeated_as_well() {
    let cluster = Cluster::start().await;
    let (one, two) = cluster.pair(&[]).await;
    let large = "x".repeat(100_000);
    let run = |instance: &Instance| {
        let (answers, body) = (instance.answers.clone(), large.clone());
        async move {
            let send = move |_| async move { Ok(Sent::Done(Answer::new(StatusCode::OK, body))) };
            let reply = answers.run_once(keyed(AnswerFrom::Target, "k"), send).await;
            came(reply).await
        }
    };
    let first = run(&one).await;
    let second = run(&two).await;
    assert_eq!(first.text(), (200, large.as_str()));
    assert_eq!(second.text(), first.text());
    one.stop().await;
    two.stop().await;
}

/// One client could take all keys, for an hour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_all_keys() {
    let cluster = Cluster::start().await;
    let one = cluster
        .instance("one", &["--max-idempotency-keys", "4"])
        .await;
    let target = Target::default();
    let run = |name: &'static str, party: &str| {
        let mut command = keyed(AnswerFrom::Target, name);
        if let Some(key) = &mut command.key {
            key.party = Party::User(party.into());
        }
        one.done(command, &target, "x")
    };
    for (name, party, status) in [
        ("a", "one", 202),
        ("b", "one", 202),
        ("c", "one", 429),
        ("a", "one", 202),
        ("d", "two", 202),
        ("e", "two", 429),
        ("f", "three", 202),
        ("g", "four", 503),
    ] {
        let came = run(name, party).await;
        assert_eq!(came.status, status, "{name} of {party}");
        if status != 202 {
            assert_eq!(came.code().1, "too_many_keys");
        }
    }
    assert_eq!(one.metrics.proxy.idempotency_keys.get(), 4);
    one.stop().await;
}

/// When Kafka is away at the start, a command with a key is refused and not sent twice.
#[tokio::test]
async fn without_the_shared_state_no_command_with_a_key_is_sent() {
    let mut settings = Settings::parse_from(["test"]);
    settings.kafka = settings.kafka.with_embedded(([127, 0, 0, 1], 9).into());
    let producer = Producer::new(&settings.kafka).expect("a producer");
    let state = StateLog::start(&settings.kafka, producer, Readiness::new());
    let state = Arc::new(state.expect("the state starts"));
    let attempts = Attempts::new(state, SOON, places(), Incarnation(1));
    let key = key("k", "same").expect("a key");
    let refused = attempts
        .claim(&key, 1, |_| true, || true)
        .await
        .unwrap_err();
    assert_eq!(
        (refused.status().as_u16(), refused.code()),
        (503, "not_ready")
    );
}
