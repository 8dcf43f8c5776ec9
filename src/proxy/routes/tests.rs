use std::sync::Arc;

use http::Method;
use proptest::prelude::*;
use regex::RegexBuilder;

use super::*;
use crate::proxy::route::{AnswerFrom, KafkaTarget, KeyRule, Route, Target};

fn candidate(
    number: usize,
    method: &str,
    pattern: &str,
    replacement: Option<&str>,
) -> Arc<Candidate> {
    let mut compiled = Pattern::read(pattern).unwrap();
    if let Some(text) = replacement {
        compiled.replace_by(text).unwrap();
    }
    let route = Route {
        api: "api".into(),
        endpoint: number.to_string().into(),
        method: method.parse().unwrap(),
        path_regex: pattern.into(),
        is_secured: false,
        tokens: None,
        add_headers: Box::default(),
        target: Target::Kafka(KafkaTarget {
            topic: "t".into(),
            schema: None,
            key: KeyRule::Path(1),
        }),
        answer_from: AnswerFrom::Target,
    };
    Arc::new(Candidate {
        route: Arc::new(route),
        pattern: compiled,
    })
}

fn routes(list: &[(&str, &str)]) -> Routes {
    let candidates = list.iter().enumerate();
    let candidates =
        candidates.map(|(number, (method, pattern))| candidate(number, method, pattern, None));
    Routes::compile(candidates.collect()).unwrap()
}

/// Returns the number of the route, or what else was found.
fn found(routes: &Routes, method: &str, path: &str) -> String {
    match routes.find(&method.parse().unwrap(), path) {
        Found::Route(matched) => matched.route.endpoint.as_ref().to_owned(),
        Found::MethodNotAllowed(allow) => allow.to_str().unwrap().to_owned(),
        Found::NotFound => "nothing".to_owned(),
        Found::Ambiguous(ambiguity) => format!("{ambiguity:?}"),
    }
}

#[test]
fn the_first_route_that_matches_wins() {
    let routes = routes(&[
        ("GET", "/books/([^/]+)"),
        ("GET", "/books/new"),
        ("POST", "/books/.*"),
        ("GET", "/.*"),
        ("HEAD", "/files/.*"),
        ("OPTIONS", "/files/.*"),
        ("PURGE", "/cache"),
        ("GET", "/b(ü|%)cher"),
    ]);
    for (method, path, expected) in [
        ("GET", "/books/new", "0"),
        ("GET", "/BOOKS/1", "0"),
        ("GET", "/books/1/2", "3"),
        ("GET", "/%62ooks/1", "0"),
        ("GET", "/books/a%20b", "0"),
        ("POST", "/books/1", "2"),
        ("HEAD", "/books/1", "0"),
        ("HEAD", "/files/1", "4"),
        ("OPTIONS", "/files/1", "5"),
        ("OPTIONS", "/books/1", "GET, HEAD, OPTIONS, POST"),
        ("DELETE", "/books/1", "GET, HEAD, OPTIONS, POST"),
        ("DELETE", "/cache", "GET, HEAD, OPTIONS, PURGE"),
        ("PURGE", "/cache", "6"),
        ("GET", "/b%C3%BCcher", "3"),
        ("GET", "*", "nothing"),
        ("OPTIONS", "*", "nothing"),
    ] {
        assert_eq!(found(&routes, method, path), expected, "{method} {path}");
    }
    assert_eq!(found(&self::routes(&[]), "GET", "//a"), "nothing");
    let few = self::routes(&[("GET", "/bücher"), ("POST", "/a")]);
    for (method, path, expected) in [
        ("GET", "/b%C3%BCcher", "0"),
        ("GET", "/b%c3%bccher", "0"),
        ("GET", "/BÜCHER", "0"),
        ("GET", "/other", "nothing"),
        ("GET", "/a", "OPTIONS, POST"),
        ("GET", "/bücher/", "nothing"),
        ("GET", "/b%C3%BCcher%0A", "Control"),
    ] {
        assert_eq!(found(&few, method, path), expected, "{method} {path}");
    }
}

#[test]
fn no_rare_spelling_of_a_path_leads_past_a_token() {
    let secured = |is_first: bool| {
        let mut admin = Arc::into_inner(candidate(0, "GET", "/admin(/.*)?", None)).unwrap();
        Arc::get_mut(&mut admin.route).unwrap().is_secured = true;
        let mut all = Arc::into_inner(candidate(1, "GET", "/.*", None)).unwrap();
        Arc::get_mut(&mut all.route).unwrap().is_secured = !is_first;
        Routes::compile(vec![Arc::new(admin), Arc::new(all)]).unwrap()
    };
    let (admin, both) = (secured(true), secured(false));
    for path in [
        "/admin%3Fx",
        "/admin%23x",
        "/admin%253Fx",
        "/admin%20",
        "/%20admin/x",
        "/admin.",
        "/;x%20/admin.%20;y/%3F",
    ] {
        assert_eq!(found(&admin, "GET", path), "SeveralRoutes", "{path}");
    }
    for (path, expected) in [
        ("/admin%3Fx", "1"),
        ("/admin%20", "1"),
        ("/admin/x%3F", "0"),
    ] {
        assert_eq!(found(&both, "GET", path), expected, "{path}");
    }
    // Titles have question marks.
    for (path, expected) in [
        ("/admin/x%3F.", "0"),
        ("/who%3F", "1"),
        ("/a%20b./c%3Fadmin", "1"),
    ] {
        assert_eq!(found(&admin, "GET", path), expected, "{path}");
    }
}

#[test]
fn pages_that_ask_are_told_the_methods_of_a_path() {
    let routes = routes(&[("POST", "/a/.*"), ("OPTIONS", "/a/.*"), ("GET", "/a/b")]);
    for (path, expected) in [
        ("/a/b", Some("GET, HEAD, OPTIONS, POST")),
        ("/a/%63", Some("OPTIONS, POST")),
        ("/b", None),
        ("/a/..", None),
    ] {
        let allowed = routes.allowed(path);
        let allowed = allowed.as_ref().map(|value| value.to_str().unwrap());
        assert_eq!(allowed, expected, "{path}");
    }
}

#[test]
fn no_spelling_of_a_path_leads_around_its_route() {
    let routes = routes(&[("GET", "/admin(/.*)?"), ("GET", "/.*")]);
    for (path, expected) in [
        ("/admin", "0"),
        ("/ADMIN/x", "0"),
        ("/%61dmin", "0"),
        ("/%41DMIN%2f", "EncodedSlash"),
        ("//admin", "LeadingSlashes"),
        ("/x//admin", "1"),
        ("/x/../admin", "DotSegment"),
        ("/./admin", "DotSegment"),
        ("/admin;x", "SeveralRoutes"),
        ("/admin%3bx=1/y", "SeveralRoutes"),
        ("/;/admin", "SeveralRoutes"),
        ("/;x=1/admin", "SeveralRoutes"),
        ("/%2561dmin", "SeveralRoutes"),
        ("/x/..%20/admin", "DotSegment"),
        ("/a%20b./c%3Fadmin", "1"),
        ("/\\admin", "Backslash"),
        ("/admin%00", "Control"),
        ("/other;x", "1"),
        ("/a//b", "1"),
        ("/a/b;x=1", "1"),
        ("/100%25", "1"),
        ("/a%252Fb", "1"),
    ] {
        assert_eq!(found(&routes, "GET", path), expected, "{path}");
    }
    let merged = self::routes(&[("GET", "/a/admin"), ("GET", "/.*")]);
    assert_eq!(found(&merged, "GET", "/a//admin"), "SeveralRoutes");
    assert_eq!(found(&merged, "GET", "/a;x//admin"), "SeveralRoutes");
}

#[test]
fn the_path_for_the_target_stays_as_it_came_or_is_replaced() {
    let list = vec![
        candidate(0, "GET", "/books/([^/]+)(/x)?", None),
        candidate(1, "GET", "/old/(.*)", Some(r"/new/\1")),
    ];
    let routes = Routes::compile(list).unwrap();
    for (path, target, groups) in [
        ("/Books/%41%20b", "/Books/%41%20b", &["A b", ""][..]),
        ("/old/%61%20b//c", "/new/%61%20b//c", &["a b//c"]),
    ] {
        let Found::Route(matched) = routes.find(&Method::GET, path) else {
            panic!("{path}");
        };
        assert_eq!(matched.target, target);
        let found: Vec<&str> = matched.groups.iter().map(|group| &**group).collect();
        assert_eq!(found, groups);
    }
}

#[test]
fn many_routes_are_compiled_together() {
    let patterns: Vec<String> = (0..2000)
        .map(|number| format!(r"/service{number}/([^/]+)/items/([a-z-]+)"))
        .collect();
    let list: Vec<(&str, &str)> = patterns.iter().map(|pattern| ("GET", &**pattern)).collect();
    let routes = routes(&list);
    assert_eq!(found(&routes, "GET", "/service1999/a/items/b-c"), "1999");
    assert_eq!(found(&routes, "GET", "/service2000/a/items/b"), "nothing");
}

/// Small patterns that overlap often.
fn pattern() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("a"),
        Just("b"),
        Just("/"),
        Just("[^/]"),
        Just("."),
        Just("(a|b)"),
        Just("a?"),
        Just("(.*)"),
        Just("ü"),
    ];
    proptest::collection::vec(piece, 0..5).prop_map(|pieces| format!("/{}", pieces.concat()))
}

fn raw_path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        5 => Just("a".to_owned()),
        3 => Just("B".to_owned()),
        3 => Just("/".to_owned()),
        1 => Just(".".to_owned()),
        1 => Just(";".to_owned()),
        1 => Just("\\".to_owned()),
        1 => Just("%".to_owned()),
        1 => Just("@".to_owned()),
        1 => Just("ü".to_owned()),
        1 => Just("%2e".to_owned()),
        1 => Just("%2f".to_owned()),
        1 => Just("%5C".to_owned()),
        1 => Just("%25".to_owned()),
        3 => Just("%61".to_owned()),
        1 => Just("%C3%BC".to_owned()),
        1 => any::<u8>().prop_map(|byte| format!("%{byte:02x}")),
        1 => any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #[test]
    fn the_set_finds_what_trying_each_pattern_finds(
        patterns in proptest::collection::vec(pattern(), 1..8),
        path in raw_path(),
    ) {
        let list: Vec<(&str, &str)> = patterns.iter().map(|pattern| ("GET", &**pattern)).collect();
        let in_turn = |text: &str| patterns.iter().position(|pattern| {
            let regex = RegexBuilder::new(&format!("^(?:{pattern})$")).case_insensitive(true).build();
            regex.unwrap().is_match(text)
        });
        let result = found(&routes(&list), "GET", &path);
        if let Ok(text) = path::read(&path) {
            match in_turn(&text) {
                Some(first) => prop_assert!(result == first.to_string() || result == "SeveralRoutes"),
                None => prop_assert_eq!(result, "nothing"),
            }
        }
    }

    #[test]
    fn no_path_leads_out_of_the_target(
        path in prop_oneof![raw_path(), any::<String>(), any::<String>().prop_map(|rest| format!("/{rest}"))],
        replacement in proptest::option::of(prop_oneof![
            Just(r"\1"), Just(r"/\1"), Just(r"/x\1/y"), Just(r"/x/.\2"), Just(r"/\2\1"), Just(r"/a\0"),
        ]),
    ) {
        let list = vec![candidate(0, "GET", "(/?a?(.?))?.*|(?s:.*)", replacement)];
        if let Found::Route(matched) = Routes::compile(list).unwrap().find(&Method::GET, &path) {
            let target = matched.target;
            prop_assert!(target.starts_with('/') && !target.starts_with("//"), "{}", target);
            let mut decoded = target.clone();
            for _ in 0..2 {
                decoded = percent_encoding::percent_decode_str(&decoded).decode_utf8_lossy().into_owned();
                prop_assert!(!decoded.contains(['\\', '\r', '\n', '\0']) || decoded.contains('%'), "{}", target);
                let mut segments = decoded.split('/').map(|segment| segment.split(';').next());
                prop_assert!(segments.all(|segment| !matches!(segment, Some("." | ".."))), "{}", target);
            }
            prop_assert!(!target.to_ascii_lowercase().contains("%2f"));
        }
    }
}
