//! Tables of cases.

use super::*;

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[test]
fn nesting_is_limited_to_the_level_and_not_beyond() {
    assert!(check_text(nested(64).as_bytes(), 64).is_ok());
    assert!(matches!(
        check_text(nested(65).as_bytes(), 64),
        Err(JsonFault::TooDeep { limit: 64 })
    ));
    assert!(matches!(
        check_text("{\"a\":".repeat(100_000).as_bytes(), 64),
        Err(JsonFault::TooDeep { .. })
    ));
}

#[test]
fn brackets_in_strings_and_brackets_side_by_side_do_not_count() {
    let in_string = format!("{{\"a\":\"{}\\\"{}\"}}", "[".repeat(500), "{".repeat(500));
    assert!(check_text(in_string.as_bytes(), 64).is_ok());
    let side_by_side = format!("[{}[]]", "[],".repeat(500));
    assert!(check_text(side_by_side.as_bytes(), 64).is_ok());
}

#[test]
fn a_bracket_after_an_escaped_backslash_counts() {
    let deep = format!(r#"["\\",{}]"#, nested(64));
    assert!(matches!(
        check_text(deep.as_bytes(), 64),
        Err(JsonFault::TooDeep { .. })
    ));
}

#[test]
fn surrogates_are_taken_in_pairs_only() {
    for (text, good) in [
        (r#""\ud83d\ude00""#, true),
        (r#""\uD83D\uDE00x""#, true),
        (r#""\\ud83d""#, true),
        (r#""\u0041\n\/""#, true),
        (r#""\ud83d""#, false),
        (r#""\ud83dx\ude00""#, false),
        (r#""\ude00""#, false),
        (r#""\ude00\ud83d""#, false),
        (r#""\ud83d\ud83d\ude00""#, false),
    ] {
        let checked = check_text(text.as_bytes(), 64);
        assert_eq!(checked.is_ok(), good, "{text}");
        if !good {
            assert!(
                matches!(checked, Err(JsonFault::LoneSurrogate { offset: 1 })),
                "{text}"
            );
        }
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused_with_their_offset() {
    for bad in [
        &b"\"\xC0\xA0\""[..],
        b"\"\xED\xA0\x80\"",
        b"\"\xFF\"",
        b"\"\xF8\x88\x80\x80\x80\"",
    ] {
        assert!(
            matches!(check_text(bad, 64), Err(JsonFault::NotUtf8 { offset: 1 })),
            "{bad:?}"
        );
    }
}

#[test]
fn unfinished_escapes_at_the_end_do_not_panic() {
    for text in [
        r#""\"#,
        r#""\u"#,
        r#""\u12"#,
        r#""\ud83d\"#,
        r#""\ud83d\u"#,
        r#"""#,
    ] {
        drop(check_text(text.as_bytes(), 64));
    }
}

#[test]
fn members_keep_their_order_and_their_text() {
    let members = Members::parse(" {\"a\" : 1E400 , \"\\u0062\":{\"x\":[1, 2]}} ").unwrap();
    let listed: Vec<(&str, &str)> = members.iter().collect();
    assert_eq!(listed, [("a", "1E400"), ("b", "{\"x\":[1, 2]}")]);
    assert_eq!(members.get("b"), Some("{\"x\":[1, 2]}"));
    assert_eq!(members.get("c"), None);
}

#[test]
fn repeated_names_are_found_in_small_and_in_large_objects() {
    assert!(matches!(
        Members::parse(r#"{"a":1,"b":2,"\u0061":3}"#),
        Err(MembersFault::Repeated { name }) if &*name == "a"
    ));
    let many: String = (0..100).map(|i| format!("\"m{i}\":0,")).collect();
    assert!(Members::parse(&format!("{{{many}\"x\":0}}")).is_ok());
    assert!(matches!(
        Members::parse(&format!("{{{many}\"m7\":0}}")),
        Err(MembersFault::Repeated { name }) if &*name == "m7"
    ));
}

#[test]
fn other_values_and_broken_text_are_told_apart() {
    for text in ["[]", "1", "null", "\"{}\"", " true "] {
        assert!(
            matches!(Members::parse(text), Err(MembersFault::NotAnObject)),
            "{text}"
        );
    }
    for text in [
        "",
        "{",
        "{}x",
        "{\"a\":}",
        "{\"a\":1,}",
        "\u{feff}{}",
        "{'a':1}",
        "{\"a\":NaN}",
        "nul",
    ] {
        assert!(
            matches!(Members::parse(text), Err(MembersFault::Syntax(_))),
            "{text}"
        );
    }
}

#[test]
fn lists_are_split_into_their_elements() {
    assert_eq!(
        parse_list(" [1, {\"a\":2} ]").unwrap().unwrap(),
        ["1", "{\"a\":2}"]
    );
    assert!(parse_list("{}").unwrap().is_none());
    assert!(parse_list("[1,]").is_err());
}
