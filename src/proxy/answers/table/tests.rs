use bytes::Bytes;
use http::StatusCode;

use super::*;

const TTL: Duration = Duration::from_secs(60);

fn places(limit: usize) -> Places {
    Places::new(limit, prometheus::IntGauge::new("taken", "taken").unwrap())
}

fn limits() -> Limits {
    Limits {
        waiting: places(1_000),
        kept: places(1_000),
        kept_bytes: 10_000,
        ttl: TTL,
    }
}

fn party() -> Party {
    Party::User("u".into())
}

fn table(limits: Limits) -> Arc<Table> {
    Arc::new(Table::new(limits))
}

fn answer(text: impl Into<Bytes>) -> Answer {
    Answer::new(StatusCode::OK, text)
}

fn soon() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(30)
}

fn nobody() -> Caller {
    Caller::default()
}

/// Of ten thousand that wait at once each gets its own answer, in whatever order and from wherever they come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_ten_thousand_gets_its_own_answer() {
    const COUNT: u64 = 10_000;
    let table = table(Limits {
        waiting: places(10_000),
        ..limits()
    });
    let waiters: Vec<Waiter> = (0..COUNT)
        .map(|number| {
            let party = Party::User(number.to_string().into());
            table.wait(&party).unwrap()
        })
        .collect();
    assert_eq!(table.waiting(), 10_000);
    assert_eq!(table.wait(&party()).unwrap_err(), NoPlace::Full);
    // 7919 and 10,000 have no common divisor, so each number comes once.
    let answerers: Vec<_> = (0..2)
        .map(|half| {
            let table = Arc::clone(&table);
            std::thread::spawn(move || {
                for step in (half..COUNT).step_by(2) {
                    let number = step * 7919 % COUNT;
                    let (delivered, _) = table.deliver(number, answer(number.to_string()));
                    assert_eq!(delivered, Delivered::Here);
                }
            })
        })
        .collect();
    for waiter in waiters {
        let number = waiter.number().to_string();
        let answer = waiter.answer(soon()).await.unwrap();
        assert_eq!(answer.body, number);
    }
    for answerer in answerers {
        answerer.join().unwrap();
    }
    assert_eq!(table.waiting(), 0);
    for number in 0..COUNT {
        let (delivered, _) = table.deliver(number, answer("again"));
        assert_eq!(delivered, Delivered::Second);
    }
}

#[tokio::test]
async fn an_answer_nobody_waits_for_is_late_second_or_forged() {
    let table = table(limits());
    let (first, second) = (table.wait(&party()).unwrap(), table.wait(&party()).unwrap());
    let (one, two) = (first.number(), second.number());
    drop(first);
    assert_eq!(table.waiting(), 1);
    assert_eq!(table.deliver(one, answer("1")).0, Delivered::Late);
    assert_eq!(table.deliver(two, answer("2")).0, Delivered::Here);
    assert_eq!(table.deliver(two, answer("3")).0, Delivered::Second);
    assert_eq!(table.deliver(99, answer("4")).0, Delivered::Forged);
    assert_eq!(second.answer(soon()).await.unwrap().body, "2");
    let unasked = table.number();
    assert_eq!(table.deliver(unasked, answer("5")).0, Delivered::Late);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_ends_or_is_dropped_makes_its_place_free() {
    let table = table(Limits {
        waiting: places(2),
        ..limits()
    });
    let other = Party::Session("s".into());
    let (first, second) = (table.wait(&party()).unwrap(), table.wait(&other).unwrap());
    assert_eq!(table.wait(&party()).unwrap_err(), NoPlace::Full);
    let deadline = tokio::time::Instant::now() + Duration::from_millis(5);
    assert_eq!(first.answer(deadline).await, Err(Unanswered::TooLate));
    assert_eq!(table.waiting(), 1);
    let mut waiting = Box::pin(second.answer(soon()));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop(waiting);
    assert_eq!(table.waiting(), 0);
}

#[tokio::test]
async fn whoever_waits_at_the_end_is_told() {
    let table = table(limits());
    let waiting = table.wait(&party()).unwrap();
    let mut waiting = Box::pin(waiting.answer(soon()));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    table.close();
    assert_eq!(waiting.await, Err(Unanswered::Closed));
    let too_late = table.wait(&party()).unwrap();
    assert_eq!(too_late.answer(soon()).await, Err(Unanswered::Closed));
}

#[tokio::test]
async fn a_kept_answer_is_for_all_who_ask_before_and_after_it_came() {
    let (table, now) = (table(limits()), Instant::now());
    let number = table.keep(nobody(), &party(), now).unwrap();
    let waiter = table.wait(&party()).unwrap();
    let here = Some(Joined::Here(waiter.number()));
    let later = Instant::now() + TTL;
    let there = Some(Joined::There("id".into(), later));
    let gone = Some(Joined::There("gone".into(), now));
    assert_eq!(table.look(number, &nobody(), here, now), Seen::Waiting);
    assert_eq!(table.look(number, &nobody(), there, now), Seen::Waiting);
    assert_eq!(table.look(number, &nobody(), gone, now), Seen::Waiting);
    assert_eq!(table.waiting(), 2);
    let others = Some((vec!["id".into()], answer("x")));
    let delivered = table.deliver(number, answer("x"));
    assert_eq!(delivered, (Delivered::Here, others));
    assert_eq!(waiter.answer(soon()).await, Ok(answer("x")));
    let seen = table.look(number, &nobody(), None, now);
    assert_eq!(seen, Seen::Answered(answer("x")));
    assert_eq!(table.deliver(number, answer("y")).0, Delivered::Second);
    assert_eq!(table.waiting(), 0);
}

#[test]
fn a_kept_answer_is_gone_after_its_time() {
    let (table, now) = (table(limits()), Instant::now());
    let (first, second) = (
        table.keep(nobody(), &party(), now).unwrap(),
        table.keep(nobody(), &party(), now).unwrap(),
    );
    table.deliver(first, answer("x"));
    let end = now + TTL;
    assert_eq!(
        table.look(second, &nobody(), None, end - Duration::from_millis(1)),
        Seen::Waiting
    );
    for number in [first, second] {
        assert_eq!(table.look(number, &nobody(), None, end), Seen::Gone);
    }
    assert_eq!(table.deliver(first, answer("y")).0, Delivered::Second);
    assert_eq!(table.deliver(second, answer("y")).0, Delivered::Late);
    let entries = table.entries.lock();
    assert_eq!((entries.kept_bytes, entries.answered.len()), (0, 0));
}

#[test]
fn the_oldest_answers_make_room_for_new_ones() {
    let limits = Limits {
        kept_bytes: 3 * (KEPT_OVERHEAD_BYTES + 1_000),
        ..limits()
    };
    let (table, now) = (table(limits), Instant::now());
    let numbers: Vec<u64> = (0..5)
        .map(|_| table.keep(nobody(), &party(), now).unwrap())
        .collect();
    // The first one is still waited for, and stays.
    for number in &numbers[1..] {
        table.deliver(*number, answer(vec![b'x'; 1_000]));
    }
    let seen = |number: u64| match table.look(number, &nobody(), None, now) {
        Seen::Answered(_) => "answered",
        Seen::Waiting => "waiting",
        Seen::Gone => "gone",
        _ => "?",
    };
    let all: Vec<&str> = numbers.iter().map(|number| seen(*number)).collect();
    assert_eq!(all, ["waiting", "gone", "answered", "answered", "answered"]);
    let huge = table.keep(nobody(), &party(), now).unwrap();
    assert_eq!(
        table.deliver(huge, answer(vec![b'x'; 100_000])).0,
        Delivered::Here
    );
    assert_eq!(seen(huge), "gone");
    assert_eq!(table.entries.lock().kept_bytes, 0);
}

#[test]
fn only_who_began_a_command_gets_its_answer() {
    let (table, now) = (table(limits()), Instant::now());
    let caller = |sessions: &[&str], user: Option<&str>| Caller {
        sessions: sessions.iter().map(|session| (*session).into()).collect(),
        user: user.map(Into::into),
    };
    let number = table
        .keep(caller(&["a", "b"], Some("u")), &party(), now)
        .unwrap();
    for (asking, expected) in [
        (caller(&["b"], None), Seen::Waiting),
        (caller(&["c", "a"], Some("other")), Seen::Waiting),
        (caller(&["c"], Some("u")), Seen::Waiting),
        (caller(&["c"], Some("other")), Seen::Foreign),
        (caller(&["c"], None), Seen::Foreign),
        (nobody(), Seen::Foreign),
    ] {
        assert_eq!(
            table.look(number, &asking, None, now),
            expected,
            "{asking:?}"
        );
    }
    let open = table.keep(nobody(), &party(), now).unwrap();
    let anybody = caller(&["x"], None);
    assert_eq!(table.look(open, &anybody, None, now), Seen::Waiting);
}

#[test]
fn those_who_wait_for_one_answer_are_bounded() {
    let (table, now) = (table(limits()), Instant::now());
    let number = table.keep(nobody(), &party(), now).unwrap();
    let join = || Some(Joined::There("id".into(), now + TTL / 2));
    for _ in 0..MAX_JOINED {
        assert_eq!(table.look(number, &nobody(), join(), now), Seen::Waiting);
    }
    assert_eq!(table.look(number, &nobody(), join(), now), Seen::Crowded);
    table.forget(number);
    assert_eq!(table.look(number, &nobody(), None, now), Seen::Gone);
}

/// Who asked again and again was refused from the 65th time on, though nobody waited any more.
#[test]
fn who_has_waited_for_an_answer_before_is_in_nobodys_way() {
    let (table, now) = (table(limits()), Instant::now());
    let number = table.keep(nobody(), &party(), now).unwrap();
    for _ in 0..3 * MAX_JOINED {
        let waiter = table.wait(&party()).unwrap();
        let here = Some(Joined::Here(waiter.number()));
        assert_eq!(table.look(number, &nobody(), here, now), Seen::Waiting);
    }
    let there = |until| Some(Joined::There("id".into(), until));
    let soon = now + TTL / 2;
    for _ in 0..MAX_JOINED {
        let seen = table.look(number, &nobody(), there(soon), now);
        assert_eq!(seen, Seen::Waiting);
    }
    let seen = table.look(number, &nobody(), there(soon + TTL), soon);
    assert_eq!(seen, Seen::Waiting);
}

/// Commands for whose answers nobody waits took the places of those who do.
#[test]
fn who_does_not_wait_takes_no_place_of_those_who_do() {
    let table = table(Limits {
        waiting: places(2),
        kept: places(2),
        ..limits()
    });
    let (now, other) = (Instant::now(), Party::User("other".into()));
    let kept = table.keep(nobody(), &party(), now).unwrap();
    let again = table.keep(nobody(), &party(), now);
    assert_eq!(again.unwrap_err(), NoPlace::Share);
    table.keep(nobody(), &other, now).unwrap();
    let more = table.keep(nobody(), &other, now);
    assert_eq!(more.unwrap_err(), NoPlace::Full);
    let waiters = (table.wait(&party()).unwrap(), table.wait(&other).unwrap());
    assert_eq!(table.waiting(), 4);
    table.deliver(kept, answer("x"));
    drop(waiters);
    assert_eq!(table.waiting(), 1);
    table.remove_ended(now + TTL);
    assert_eq!(table.waiting(), 0);
}
