use super::*;

fn connection(transport: &str, poll: Option<&str>) -> OpenConnection {
    OpenConnection {
        transport: transport.to_owned(),
        since_ms: 1,
        expires_ms: 2,
        instance: String::new(),
        poll: poll.map(str::to_owned),
    }
}

fn session(name: &str, user: Option<&str>, connections: Vec<OpenConnection>) -> OpenSession {
    OpenSession {
        session: name.to_owned(),
        user: user.map(str::to_owned),
        count: connections.len(),
        connections,
    }
}

fn joined(answers: Vec<(Vec<OpenSession>, [usize; 3])>) -> Joined {
    let mut joined = Joined::default();
    for (sessions, [sse, ws, longpolling]) in answers {
        let counts = Counts {
            sse,
            ws,
            longpolling,
        };
        joined.add(Answer {
            sessions,
            cut_after: None,
            counts,
            open: Counts::default(),
        });
    }
    joined
}

fn counts(joined: &Joined) -> [usize; 3] {
    [
        joined.counts.sse,
        joined.counts.ws,
        joined.counts.longpolling,
    ]
}

#[test]
fn an_answer_that_is_too_long_is_cut_and_the_list_goes_on_after_it() {
    let names = ["a", "b", "c", "d"];
    let mut long = Answer {
        sessions: names.map(|name| session(name, None, Vec::new())).into(),
        cut_after: None,
        counts: Counts::default(),
        open: Counts::default(),
    };
    let one = serde_json::to_string(&long.sessions[0]).unwrap().len();
    long.shorten(4 * one);
    assert_eq!((long.sessions.len(), &long.cut_after), (4, &None));
    long.shorten(2 * one);
    assert_eq!(
        (long.sessions.len(), long.cut_after.as_deref()),
        (2, Some("b"))
    );
    let mut joined = joined(vec![(vec![session("c", None, Vec::new())], [0; 3])]);
    joined.add(long);
    joined.cut();
    let names: Vec<&str> = joined.sessions.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["a", "b"],
        "c is left for the next page: the other may have more before it"
    );
}

#[test]
fn a_session_at_two_instances_is_one() {
    let here = session("a", None, vec![connection("sse", None)]);
    let there = session("a", Some("alice"), vec![connection("ws", None)]);
    let other = session("b", None, vec![connection("ws", None)]);
    let joined = joined(vec![
        (vec![here], [1, 0, 0]),
        (vec![there, other], [0, 2, 0]),
    ]);
    assert_eq!(counts(&joined), [1, 2, 0]);
    let names: Vec<&str> = joined.sessions.keys().map(String::as_str).collect();
    assert_eq!(names, ["a", "b"]);
    let both = &joined.sessions["a"];
    assert_eq!((both.count, both.connections.len()), (2, 2));
    assert_eq!(both.user.as_deref(), Some("alice"));
}

#[test]
fn somebody_who_polls_at_two_instances_is_one() {
    let seen = || session("a", None, vec![connection("longpolling", Some("p"))]);
    let other = session("b", None, vec![connection("longpolling", Some("q"))]);
    let joined = joined(vec![
        (vec![seen()], [0, 0, 1]),
        (vec![seen(), other], [0, 0, 2]),
    ]);
    assert_eq!(counts(&joined), [0, 0, 2]);
    assert_eq!(joined.sessions["a"].count, 1);
    assert_eq!(joined.sessions["b"].count, 1);
}

#[test]
fn somebody_who_polls_with_two_tokens_is_one_of_both_sessions() {
    let seen = |name| session(name, None, vec![connection("longpolling", Some("p"))]);
    let once = joined(vec![(vec![seen("a"), seen("b")], [0, 0, 1])]);
    assert_eq!(counts(&once), [0, 0, 1]);
    assert_eq!(once.sessions["a"].count, 1);
    assert_eq!(once.sessions["b"].count, 1);
    let answer = || (vec![seen("a"), seen("b")], [0, 0, 1]);
    let twice = joined(vec![answer(), answer()]);
    assert_eq!(counts(&twice), [0, 0, 1]);
    assert_eq!(twice.sessions["b"].count, 1);
}
