use super::*;

fn reader() -> (Reader, Arc<Held>) {
    let held = Arc::new(Held::new(Readiness::new()));
    (Reader(Arc::clone(&held)), held)
}

fn value(held: &Held, kind: &str, key: &str) -> Option<(Bytes, Bytes)> {
    let entries = held.entries.lock();
    let entry = entries.by_kind.get(kind)?.get(key)?;
    Some((entry.first.clone(), entry.last.clone()))
}

#[test]
fn the_last_record_is_the_value_and_the_first_is_remembered() {
    let (mut reader, held) = reader();
    for (offset, text) in [(0, "a"), (1, "b"), (5, "c")] {
        reader.record(offset, Some(b"kind/a/key"), Some(text.as_bytes()));
    }
    assert_eq!(
        value(&held, "kind", "a/key"),
        Some(("a".into(), "c".into()))
    );
    assert_eq!(held.read.borrow().next_offset, 6);
    reader.record(6, Some(b"kind/a/key"), None);
    assert_eq!(value(&held, "kind", "a/key"), None);
    reader.record(7, Some(b"kind/a/key"), Some(b"d"));
    assert_eq!(
        value(&held, "kind", "a/key"),
        Some(("d".into(), "d".into()))
    );
}

#[test]
fn foreign_records_are_passed_over() {
    let (mut reader, held) = reader();
    for (offset, key) in [(0, None), (1, Some(&b"no-slash"[..])), (2, Some(b"\xff/x"))] {
        reader.record(offset, key, Some(b"x"));
    }
    assert!(held.entries.lock().by_kind.is_empty());
    assert_eq!(held.read.borrow().next_offset, 3);
}

#[test]
fn changes_are_announced_to_the_subscribers_of_their_kind() {
    let (mut reader, held) = reader();
    let sender = broadcast::Sender::new(4);
    let mut changes = sender.subscribe();
    held.entries.lock().changes.insert("kind".into(), sender);
    reader.record(0, Some(b"kind/x"), Some(b"1"));
    reader.record(1, Some(b"other/x"), Some(b"1"));
    reader.record(2, Some(b"kind/x"), None);
    let change = |value: Option<&'static str>| Change {
        key: "x".into(),
        value: value.map(Bytes::from),
    };
    assert_eq!(changes.try_recv().unwrap(), change(Some("1")));
    assert_eq!(changes.try_recv().unwrap(), change(None));
    assert!(changes.try_recv().is_err());
}

#[test]
fn a_topic_made_anew_removes_what_it_does_not_have() {
    let (mut reader, held) = reader();
    reader.record(8, Some(b"kind/x"), Some(b"1"));
    let sender = broadcast::Sender::new(4);
    let mut changes = sender.subscribe();
    held.entries.lock().changes.insert("kind".into(), sender);
    reader.restarted();
    assert_eq!(value(&held, "kind", "x"), None);
    assert_eq!(
        changes.try_recv().unwrap(),
        Change {
            key: "x".into(),
            value: None
        }
    );
    assert_eq!(held.read.borrow().next_offset, 0);
}

#[test]
fn being_caught_up_is_the_condition_for_readiness() {
    let (mut reader, held) = reader();
    assert!(!held.readiness.holds(Condition::StateLoaded));
    reader.caught_up();
    reader.caught_up();
    assert!(held.readiness.holds(Condition::StateLoaded));
    assert!(held.read.borrow().is_loaded);
}

#[test]
fn whoever_watches_learns_what_each_record_replaced() {
    let (mut reader, held) = reader();
    reader.record(0, Some(b"kind/x"), Some(b"a"));
    let watch = Watch::begin(&held.watched, "kind", "x");
    let other = Watch::begin(&held.watched, "kind", "x");
    reader.record(1, Some(b"kind/x"), Some(b"b"));
    reader.record(2, Some(b"kind/y"), Some(b"c"));
    reader.record(3, Some(b"kind/x"), None);
    reader.record(4, Some(b"kind/x"), Some(b"d"));
    drop(other);
    assert_eq!(watch.replaced_at(1), Some(Some("a".into())));
    assert_eq!(watch.replaced_at(2), None);
    assert_eq!(watch.replaced_at(3), Some(Some("b".into())));
    assert_eq!(watch.replaced_at(4), Some(None));
    drop(watch);
    assert!(held.watched.is_empty());
}
