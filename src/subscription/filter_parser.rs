//! Reads filters of the CloudEvents Subscriptions API from JSON.

use super::filter::{Filter, Pairs};
use super::subscription_error::{FilterFault, ItemFault};
use crate::event::{Members, MembersFault, parse_list, shorten, string_value};

/// Reads filters and counts their expressions.
pub(super) struct FilterParser {
    /// The deepest nesting allowed; also the bound of the recursion.
    pub(super) max_depth: usize,
    /// How many expressions were read.
    pub(super) count: usize,
}

/// Where a filter stands, as the path that leads to it.
type Place<'a> = &'a str;

impl FilterParser {
    /// Reads the member `filters` of a subscription; the result is sorted and has no filter twice.
    pub(super) fn read_all(&mut self, raw: &str) -> Result<Box<[Filter]>, ItemFault> {
        self.read_list(raw, "", 1)
    }

    fn read_list(
        &mut self,
        raw: &str,
        at: Place<'_>,
        depth: usize,
    ) -> Result<Box<[Filter]>, ItemFault> {
        let elements = parse_list(raw)
            .map_err(|error| fault(at, MembersFault::from(error).into()))?
            .ok_or_else(|| fault(at, FilterFault::NotAList))?;
        let mut filters = Vec::with_capacity(elements.len());
        for (position, element) in elements.into_iter().enumerate() {
            filters.push(self.read(element, &format!("{at}/{position}"), depth)?);
        }
        filters.sort();
        filters.dedup();
        Ok(filters.into_boxed_slice())
    }

    fn read(&mut self, raw: &str, at: Place<'_>, depth: usize) -> Result<Filter, ItemFault> {
        if depth > self.max_depth {
            return Err(fault(
                at,
                FilterFault::TooDeep {
                    limit: self.max_depth,
                },
            ));
        }
        self.count += 1;
        let members = Members::parse(raw).map_err(|error| fault(at, error.into()))?;
        let mut members = members.iter();
        let (Some((dialect, raw)), None) = (members.next(), members.next()) else {
            return Err(fault(at, FilterFault::NotOneDialect));
        };
        let inner = format!("{at}/{}", shorten(dialect).escape_debug());
        match dialect {
            "exact" => self.read_pairs(raw, &inner).map(Filter::Exact),
            "prefix" => self.read_pairs(raw, &inner).map(Filter::Prefix),
            "suffix" => self.read_pairs(raw, &inner).map(Filter::Suffix),
            "all" => self.read_some(raw, &inner, depth).map(Filter::All),
            "any" => self.read_some(raw, &inner, depth).map(Filter::Any),
            "not" => self.read(raw, &inner, depth + 1).map(Filter::negate),
            _ => Err(fault(
                at,
                FilterFault::UnknownDialect {
                    dialect: shorten(dialect),
                },
            )),
        }
    }

    fn read_some(
        &mut self,
        raw: &str,
        at: Place<'_>,
        depth: usize,
    ) -> Result<Box<[Filter]>, ItemFault> {
        let filters = self.read_list(raw, at, depth + 1)?;
        if filters.is_empty() {
            Err(fault(at, FilterFault::EmptyList))
        } else {
            Ok(filters)
        }
    }

    fn read_pairs(&mut self, raw: &str, at: Place<'_>) -> Result<Pairs, ItemFault> {
        let members = Members::parse(raw).map_err(|error| fault(at, error.into()))?;
        if members.is_empty() {
            return Err(fault(at, FilterFault::NoAttributes));
        }
        // Each pair is one comparison, as if it were an expression of its own.
        self.count += members.len() - 1;
        let mut pairs = Vec::with_capacity(members.len());
        for (name, raw) in members.iter() {
            if name.is_empty() {
                return Err(fault(at, FilterFault::EmptyName));
            }
            let value = string_value(raw)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| {
                    fault(
                        at,
                        FilterFault::BadValue {
                            attribute: shorten(name),
                        },
                    )
                })?;
            pairs.push((name.into(), value.into()));
        }
        pairs.sort();
        Ok(pairs.into_boxed_slice())
    }
}

fn fault(at: Place<'_>, fault: FilterFault) -> ItemFault {
    ItemFault::Filter {
        at: at.into(),
        fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::CloudEvent;
    use crate::subscription::{EventView, Fields};

    fn read(json: &str) -> Result<Box<[Filter]>, ItemFault> {
        FilterParser {
            max_depth: 16,
            count: 0,
        }
        .read_all(json)
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of cases")]
    fn dialects_compare_as_the_subscriptions_api_says() {
        let json = r#"{"specversion":"1.0","type":"com.example.created","id":"1","source":"/s","subject":"a/b","n":5,"z":null}"#;
        let event = CloudEvent::from_structured(json.into()).unwrap();
        let fields = Fields::default();
        let view = EventView::new(&event, &fields);
        for (filter, passes) in [
            (r#"{"exact":{"type":"com.example.created"}}"#, true),
            (r#"{"exact":{"type":"com.example.Created"}}"#, false),
            (
                r#"{"exact":{"source":"/s","type":"com.example.created"}}"#,
                true,
            ),
            (
                r#"{"exact":{"source":"/t","type":"com.example.created"}}"#,
                false,
            ),
            (r#"{"exact":{"n":"5"}}"#, true),
            (r#"{"exact":{"missing":"x"}}"#, false),
            (r#"{"exact":{"z":"null"}}"#, false),
            (r#"{"prefix":{"type":"com.example."}}"#, true),
            (r#"{"prefix":{"subject":"b","type":"com.example."}}"#, false),
            (r#"{"prefix":{"missing":"x"}}"#, false),
            (r#"{"suffix":{"type":".created"}}"#, true),
            (r#"{"suffix":{"type":".updated"}}"#, false),
            (r#"{"suffix":{"missing":"x"}}"#, false),
            (r#"{"not":{"exact":{"missing":"x"}}}"#, true),
            (r#"{"not":{"suffix":{"type":".created"}}}"#, false),
            (
                r#"{"all":[{"exact":{"id":"1"}},{"prefix":{"type":"com"}}]}"#,
                true,
            ),
            (
                r#"{"all":[{"exact":{"id":"1"}},{"prefix":{"type":"org"}}]}"#,
                false,
            ),
            (
                r#"{"any":[{"exact":{"id":"2"}},{"prefix":{"type":"com"}}]}"#,
                true,
            ),
            (
                r#"{"any":[{"exact":{"id":"2"}},{"prefix":{"type":"org"}}]}"#,
                false,
            ),
            (r#"{"any":[{"not":{"all":[{"exact":{"id":"2"}}]}}]}"#, true),
            (r#"{"exact":{"source":"/s"}}"#, true),
            (r#"{"exact":{"source":"/t"}}"#, false),
            (r#"{"not":{"exact":{"type":"com.example.created"}}}"#, false),
            (r#"{"not":{"exact":{"type":"com.example"}}}"#, true),
            (
                r#"{"not":{"exact":{"source":"/s","type":"com.example"}}}"#,
                true,
            ),
            (
                r#"{"not":{"any":[{"exact":{"type":"a"}},{"exact":{"type":"com.example.created"}}]}}"#,
                false,
            ),
            (
                r#"{"not":{"any":[{"exact":{"type":"a"}},{"exact":{"type":"b"}}]}}"#,
                true,
            ),
            (
                r#"{"not":{"any":[{"exact":{"type":"a"}},{"prefix":{"type":"com."}}]}}"#,
                false,
            ),
        ] {
            let parsed = read(&format!("[{filter}]")).unwrap();
            assert_eq!(parsed.len(), 1);
            assert_eq!(parsed[0].passes(&view), passes, "{filter}");
            assert_eq!(parsed[0].to_string(), filter);
        }
    }

    #[test]
    fn equal_filters_are_equal_in_any_order() {
        let one = r#"[{"any":[{"exact":{"a":"1","b":"2"}},{"suffix":{"c":"3"}}]},{"not":{"exact":{"x":"y"}}}]"#;
        let two = r#"[{"not":{"exact":{"x":"y"}}},{"any":[{"suffix":{"c":"3"}},{"exact":{"b":"2","a":"1"}},{"suffix":{"c":"3"}}]},{"not":{"exact":{"x":"y"}}}]"#;
        assert_eq!(read(one).unwrap(), read(two).unwrap());
        let one = r#"[{"not":{"exact":{"type":"a"}}}]"#;
        let two = r#"[{"not":{"any":[{"exact":{"type":"a"}},{"exact":{"type":"a"}}]}}]"#;
        assert_eq!(read(one).unwrap(), read(two).unwrap());
        assert!(read("[]").unwrap().is_empty());
    }

    #[test]
    fn faults_are_named_with_their_place() {
        let dialects = "\"exact\", \"prefix\", \"suffix\", \"all\", \"any\"";
        for (json, message) in [
            ("{}", "filters: not a list".to_owned()),
            ("[1]", "filters/0: not an object".to_owned()),
            ("[{}]", format!("filters/0: expected an object with exactly one of {dialects} and \"not\"")),
            (r#"[{"exact":{"a":"b"},"prefix":{"a":"b"}}]"#, format!("filters/0: expected an object with exactly one of {dialects} and \"not\"")),
            (r#"[{"sql":"x"}]"#, format!("filters/0: dialect \"sql\" is not supported, expected {dialects} or \"not\"")),
            (r#"[{"exact":{}}]"#, "filters/0/exact: no attribute is named".to_owned()),
            (r#"[{"exact":[]}]"#, "filters/0/exact: not an object".to_owned()),
            (r#"[{"exact":{"":"x"}}]"#, "filters/0/exact: the name of an attribute is empty".to_owned()),
            (r#"[{"suffix":{"a":""}}]"#, "filters/0/suffix: the value of attribute \"a\" is not a string with at least one character".to_owned()),
            (r#"[{"prefix":{"a":1}}]"#, "filters/0/prefix: the value of attribute \"a\" is not a string with at least one character".to_owned()),
            (r#"[{"exact":{"a":"b","a":"c"}}]"#, "filters/0/exact: \"a\" is given more than once".to_owned()),
            (r#"[{"exact":{"a":"b"}},{"all":[]}]"#, "filters/1/all: the list is empty".to_owned()),
            (r#"[{"any":{}}]"#, "filters/0/any: not a list".to_owned()),
            (r#"[{"any":[{"not":[]}]}]"#, "filters/0/any/0/not: not an object".to_owned()),
        ] {
            assert_eq!(read(json).unwrap_err().to_string(), message, "{json}");
        }
    }

    #[test]
    fn depth_is_limited_and_expressions_are_counted() {
        let nested = |depth: usize| {
            format!(
                "[{}{{\"exact\":{{\"a\":\"b\"}}}}{}]",
                "{\"not\":".repeat(depth - 1),
                "}".repeat(depth - 1)
            )
        };
        assert!(read(&nested(16)).is_ok());
        assert!(
            read(&nested(17))
                .unwrap_err()
                .to_string()
                .ends_with("nested deeper than the 16 levels allowed")
        );
        let mut parser = FilterParser {
            max_depth: 16,
            count: 0,
        };
        parser
            .read_all(r#"[{"any":[{"exact":{"a":"1","b":"2"}},{"not":{"suffix":{"c":"3"}}}]}]"#)
            .unwrap();
        assert_eq!(parser.count, 5);
    }
}
