//! Reads lists of subscriptions from JSON.

use super::extractor::Extractors;
use super::filter_parser::FilterParser;
use super::limits::SubscriptionLimits;
use super::pattern::TypePattern;
use super::subscription_error::{ItemFault, SubscriptionError};
use super::subscriptions::{Constraint, Subscription, Subscriptions};
use crate::event::{
    JsonFault, Members, MembersFault, NESTING_LIMIT, Scalar, check_text, parse_list, shorten,
    string_value,
};

impl Subscriptions {
    /// Reads a JSON list of subscriptions, such as
    /// `[{"eventType":"orders.*","oneOf":[{"name":"alice"}],"filters":[{"prefix":{"source":"/eu"}}]}]`.
    ///
    /// `oneOf` is any-of of all-of; empty or absent means no constraint. All `filters` have to hold. `eventType` may be left
    /// out beside `filters`. `event_type`, `one_of` and `constraints` are other names for the same members.
    ///
    /// # Errors
    /// [`SubscriptionError`], which says what is wrong and where. Nothing is taken then.
    pub fn parse(
        json: &[u8],
        extractors: &Extractors,
        limits: &SubscriptionLimits,
    ) -> Result<Self, SubscriptionError> {
        Self::parse_text(checked(json, limits)?, extractors, limits)
    }

    /// Reads a JSON object whose member `subscriptions` is a list as for [`Self::parse`]; other members do not matter.
    ///
    /// # Errors
    /// As [`Self::parse`], and [`SubscriptionError::NoSubscriptions`].
    pub fn parse_request(
        json: &[u8],
        extractors: &Extractors,
        limits: &SubscriptionLimits,
    ) -> Result<Self, SubscriptionError> {
        let members = Members::parse(checked(json, limits)?).map_err(|fault| match fault {
            MembersFault::Syntax(error) => SubscriptionError::NotJson(error.into()),
            fault => SubscriptionError::BadRequest(fault),
        })?;
        let list = members
            .get("subscriptions")
            .ok_or(SubscriptionError::NoSubscriptions)?;
        Self::parse_text(list, extractors, limits)
    }

    fn parse_text(
        text: &str,
        extractors: &Extractors,
        limits: &SubscriptionLimits,
    ) -> Result<Self, SubscriptionError> {
        let elements = parse_list(text)
            .map_err(JsonFault::from)?
            .ok_or(SubscriptionError::NotAList)?;
        let count = elements.len();
        if count > limits.max_subscriptions {
            return Err(SubscriptionError::TooMany {
                count,
                limit: limits.max_subscriptions,
            });
        }
        let mut parser = ItemParser {
            extractors,
            filters: FilterParser {
                max_depth: limits.max_filter_depth,
                count: 0,
            },
            constraints: 0,
        };
        let mut items = Vec::with_capacity(count);
        for (index, element) in elements.into_iter().enumerate() {
            let item = parser
                .read(element)
                .map_err(|fault| SubscriptionError::Item { index, fault })?;
            parser.check(limits)?;
            items.push(item);
        }
        Ok(Self::new(items, extractors))
    }
}

fn checked<'a>(json: &'a [u8], limits: &SubscriptionLimits) -> Result<&'a str, SubscriptionError> {
    if json.len() > limits.max_bytes {
        return Err(SubscriptionError::TooLarge {
            bytes: json.len(),
            limit: limits.max_bytes,
        });
    }
    Ok(check_text(json, NESTING_LIMIT)?)
}

/// Reads the elements of one list and counts what they are made of.
struct ItemParser<'a> {
    extractors: &'a Extractors,
    filters: FilterParser,
    constraints: usize,
}

/// The members of one element by their meaning.
#[derive(Default)]
struct Item<'a> {
    event_type: Option<&'a str>,
    one_of: Option<&'a str>,
    filters: Option<&'a str>,
}

impl<'a> Item<'a> {
    fn read(raw: &'a str) -> Result<Self, ItemFault> {
        let mut item = Self::default();
        for (name, raw) in Members::parse(raw)?.iter() {
            let (name, place) = match name {
                "eventType" | "event_type" => ("eventType", &mut item.event_type),
                "oneOf" | "one_of" | "constraints" => ("oneOf", &mut item.one_of),
                "filters" => ("filters", &mut item.filters),
                _ => {
                    return Err(ItemFault::UnknownMember {
                        name: shorten(name),
                    });
                }
            };
            if place.replace(raw).is_some() {
                return Err(ItemFault::TwoNames { name });
            }
        }
        Ok(item)
    }
}

impl ItemParser<'_> {
    fn read(&mut self, raw: &str) -> Result<Subscription, ItemFault> {
        let item = Item::read(raw)?;
        let pattern = match (item.event_type, item.filters) {
            (Some(raw), _) => read_pattern(raw)?,
            (None, Some(_)) => TypePattern::All,
            (None, None) => return Err(ItemFault::NoEventType),
        };
        let one_of = item
            .one_of
            .map_or(Ok(Vec::new()), |raw| self.read_one_of(raw, &pattern))?;
        let filters = item
            .filters
            .map_or(Ok(Box::default()), |raw| self.filters.read_all(raw))?;
        Ok(Subscription::new(
            self.extractors.share(pattern),
            one_of,
            filters,
        ))
    }

    fn read_one_of(
        &mut self,
        raw: &str,
        pattern: &TypePattern,
    ) -> Result<Vec<Box<[Constraint]>>, ItemFault> {
        let elements = parse_list(raw)
            .map_err(MembersFault::from)?
            .ok_or(ItemFault::OneOfNotAList)?;
        // An alternative without constraints costs as much as one with.
        self.constraints += elements.len();
        elements
            .into_iter()
            .enumerate()
            .map(|(position, element)| self.read_constraints(element, position, pattern))
            .collect()
    }

    fn read_constraints(
        &mut self,
        raw: &str,
        position: usize,
        pattern: &TypePattern,
    ) -> Result<Box<[Constraint]>, ItemFault> {
        let members = Members::parse(raw).map_err(|fault| ItemFault::OneOf { position, fault })?;
        self.constraints += members.len().saturating_sub(1);
        let mut constraints = Vec::with_capacity(members.len());
        for (name, raw) in members.iter() {
            if name.is_empty() {
                return Err(ItemFault::EmptyFieldName { position });
            }
            let event_type = || pattern.to_string().into_boxed_str();
            let field =
                self.extractors
                    .field(name, pattern)
                    .ok_or_else(|| ItemFault::UndeclaredField {
                        field: shorten(name),
                        event_type: event_type(),
                    })?;
            let value = Scalar::from_json(raw).ok_or_else(|| ItemFault::NotAScalar {
                field: shorten(name),
                event_type: event_type(),
            })?;
            constraints.push((field, value));
        }
        constraints.sort();
        Ok(constraints.into_boxed_slice())
    }

    fn check(&self, limits: &SubscriptionLimits) -> Result<(), SubscriptionError> {
        if self.constraints > limits.max_constraints {
            return Err(SubscriptionError::TooManyConstraints {
                limit: limits.max_constraints,
            });
        }
        if self.filters.count > limits.max_filters {
            return Err(SubscriptionError::TooManyFilters {
                limit: limits.max_filters,
            });
        }
        Ok(())
    }
}

fn read_pattern(raw: &str) -> Result<TypePattern, ItemFault> {
    let text = string_value(raw).ok_or(ItemFault::EventTypeNotAString)?;
    TypePattern::parse(&text).map_err(|error| ItemFault::EventType {
        event_type: shorten(&text),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTRACTORS: &str = r#"{
        "greeting": {"name": {"event": {"json_pointer": "/data/name"}}, "age": {"event": {"json_pointer": "/data/age"}}},
        "orders.created": {"name": {"event": {"json_pointer": "/data/customer"}}}
    }"#;

    fn parse(json: &str) -> Result<Subscriptions, SubscriptionError> {
        let extractors = Extractors::parse(EXTRACTORS).unwrap();
        Subscriptions::parse(json.as_bytes(), &extractors, &SubscriptionLimits::default())
    }

    fn parse_within(
        json: &str,
        limits: &SubscriptionLimits,
    ) -> Result<Subscriptions, SubscriptionError> {
        Subscriptions::parse(
            json.as_bytes(),
            &Extractors::parse(EXTRACTORS).unwrap(),
            limits,
        )
    }

    #[test]
    fn lists_are_read_and_written_in_the_form_of_rig() {
        for (json, written) in [
            ("[]", "[]"),
            (
                r#"[{"eventType":"x"}]"#,
                r#"[{"eventType":"x","oneOf":[]}]"#,
            ),
            (
                r#"[{"event_type":"greeting","one_of":[{"name":"alice"}]}]"#,
                r#"[{"eventType":"greeting","oneOf":[{"name":"alice"}]}]"#,
            ),
            (
                r#"[{"eventType":"greeting","constraints":[{"age":30.0,"name":"b"},{"age":null}]}]"#,
                r#"[{"eventType":"greeting","oneOf":[{"name":"b","age":30},{"age":null}]}]"#,
            ),
            (
                r#"[{"eventType":"greeting","oneOf":[{"age":true},{}]}]"#,
                r#"[{"eventType":"greeting","oneOf":[]}]"#,
            ),
            (
                r#"[{"eventType":"*"},{"eventType":"orders.*","oneOf":[{"name":"q\"\n"}]}]"#,
                r#"[{"eventType":"*","oneOf":[]},{"eventType":"orders.*","oneOf":[{"name":"q\"\n"}]}]"#,
            ),
            (
                r#"[{"filters":[{"exact":{"type":"x"}}]}]"#,
                r#"[{"eventType":"*","oneOf":[],"filters":[{"exact":{"type":"x"}}]}]"#,
            ),
            (
                r#"[{"eventType":"x"},{"eventType":"x","oneOf":[],"filters":[]}]"#,
                r#"[{"eventType":"x","oneOf":[]}]"#,
            ),
        ] {
            let parsed = parse(json).unwrap();
            assert_eq!(parsed.to_json(), written, "{json}");
            assert_eq!(parse(written).unwrap(), parsed, "{json}");
        }
    }

    #[test]
    fn equal_subscriptions_are_equal_in_any_order() {
        let one = parse(r#"[{"eventType":"greeting","oneOf":[{"name":"a","age":1},{"age":2}]}]"#)
            .unwrap();
        let two = parse(r#"[{"oneOf":[{"age":2.0},{"age":1e0,"name":"\u0061"},{"age":2}],"eventType":"greeting"}]"#).unwrap();
        assert_eq!(one, two);
        assert_ne!(
            one,
            parse(r#"[{"eventType":"greeting","oneOf":[{"name":"a","age":1}]}]"#).unwrap()
        );
    }

    #[test]
    fn faults_are_named_with_their_place() {
        for (json, message) in [
            (
                "",
                "the subscriptions are not JSON: EOF while parsing a value at line 1 column 0",
            ),
            ("{}", "the subscriptions are not a list"),
            ("null", "the subscriptions are not a list"),
            ("[1]", "subscription 0: not an object"),
            (r#"[{"eventType":"a"},[]]"#, "subscription 1: not an object"),
            (
                "[{}]",
                "subscription 0: \"eventType\" is missing, which is allowed with \"filters\" only",
            ),
            (
                r#"[{"oneOf":[]}]"#,
                "subscription 0: \"eventType\" is missing, which is allowed with \"filters\" only",
            ),
            (
                r#"[{"eventType":5}]"#,
                "subscription 0: \"eventType\" is not a string",
            ),
            (
                r#"[{"eventType":""}]"#,
                "subscription 0: eventType \"\": the event type is empty",
            ),
            (
                r#"[{"eventType":"a*"}]"#,
                "subscription 0: eventType \"a*\": \"*\" may only stand alone or at the end after a dot, as in \"orders.*\"",
            ),
            (
                r#"[{"eventType":"a","eventType":"b"}]"#,
                "subscription 0: \"eventType\" is given more than once",
            ),
            (
                r#"[{"eventType":"a","event_type":"b"}]"#,
                "subscription 0: \"eventType\" is given under two names",
            ),
            (
                r#"[{"eventType":"a","oneof":[]}]"#,
                "subscription 0: unknown member \"oneof\", expected \"eventType\", \"oneOf\" or \"filters\"",
            ),
            (
                r#"[{"eventType":"a","oneOf":{}}]"#,
                "subscription 0: \"oneOf\" is not a list of objects",
            ),
            (
                r#"[{"eventType":"a","oneOf":[{},"x"]}]"#,
                "subscription 0: oneOf 1: not an object",
            ),
            (
                r#"[{"eventType":"greeting","oneOf":[{"name":1,"name":2}]}]"#,
                "subscription 0: oneOf 0: \"name\" is given more than once",
            ),
            (
                r#"[{"eventType":"greeting","oneOf":[{"":1}]}]"#,
                "subscription 0: oneOf 0: the name of a field is empty",
            ),
            (
                r#"[{"eventType":"greeting","oneOf":[{"x":1}]}]"#,
                "subscription 0: field \"x\" is not declared by an extractor for event type \"greeting\"",
            ),
            (
                r#"[{"eventType":"x"},{"eventType":"orders.*","oneOf":[{"age":1}]}]"#,
                "subscription 1: field \"age\" is not declared by an extractor for event type \"orders.*\"",
            ),
            (
                r#"[{"eventType":"x","oneOf":[{"name":1}]}]"#,
                "subscription 0: field \"name\" is not declared by an extractor for event type \"x\"",
            ),
            (
                r#"[{"eventType":"greeting","oneOf":[{"name":["a"]}]}]"#,
                "subscription 0: field \"name\" of event type \"greeting\": the value is not a string, number, boolean or null",
            ),
            (
                r#"[{"eventType":"a","filters":{}}]"#,
                "subscription 0: filters: not a list",
            ),
        ] {
            assert_eq!(parse(json).unwrap_err().to_string(), message, "{json}");
        }
    }

    #[test]
    fn requests_carry_their_list_in_a_member() {
        let extractors = Extractors::none();
        let parse = |json: &str| {
            Subscriptions::parse_request(
                json.as_bytes(),
                &extractors,
                &SubscriptionLimits::default(),
            )
        };
        let list = parse(r#"{"type":"rig.subscriptions_set","subscriptions":[{"eventType":"x"}]}"#)
            .unwrap();
        assert_eq!(list.len(), 1);
        assert!(matches!(
            parse("{}"),
            Err(SubscriptionError::NoSubscriptions)
        ));
        assert!(matches!(
            parse("[]"),
            Err(SubscriptionError::BadRequest(MembersFault::NotAnObject))
        ));
        assert!(matches!(
            parse(r#"{"subscriptions":{}}"#),
            Err(SubscriptionError::NotAList)
        ));
        assert!(matches!(parse("{"), Err(SubscriptionError::NotJson(_))));
        assert!(matches!(
            parse(r#"{"subscriptions":[],"subscriptions":[]}"#),
            Err(SubscriptionError::BadRequest(_))
        ));
    }

    #[test]
    fn limits_refuse_the_whole_list() {
        let limits = SubscriptionLimits {
            max_subscriptions: 2,
            max_bytes: 300,
            max_constraints: 3,
            max_filters: 2,
            max_filter_depth: 2,
        };
        for (json, message) in [
            (
                format!("[{}]", vec![r#"{"eventType":"x"}"#; 3].join(",")),
                "3 subscriptions are more than the 2 allowed",
            ),
            (
                format!("[{}]", " ".repeat(300)),
                "the subscriptions have 302 bytes, more than the 300 allowed",
            ),
            (
                r#"[{"eventType":"greeting","oneOf":[{"name":1},{"name":2},{"name":3,"age":4}]}]"#
                    .to_owned(),
                "the subscriptions have more than the 3 constraints allowed",
            ),
            (
                r#"[{"filters":[{"exact":{"a":"1","b":"2","c":"3"}}]}]"#.to_owned(),
                "the subscriptions have more than the 2 filters allowed",
            ),
        ] {
            let error = parse_within(&json, &limits).unwrap_err();
            assert_eq!(error.to_string(), message);
            assert!(error.is_over_limit());
        }
        assert!(
            parse_within(
                r#"[{"eventType":"greeting","oneOf":[{"name":1},{"name":3,"age":4}]}]"#,
                &limits
            )
            .is_ok()
        );
    }

    #[test]
    fn hostile_texts_end_in_an_error() {
        let deep_filter = format!("[{{\"filters\":[{}", "{\"not\":".repeat(30_000));
        for json in ["[".repeat(100_000), "{\"a\":".repeat(40_000), deep_filter] {
            assert!(matches!(
                parse(&json),
                Err(SubscriptionError::NotJson(JsonFault::TooDeep { .. }))
            ));
        }
        assert!(matches!(
            Subscriptions::parse(
                b"[\"\xff\"]",
                &Extractors::none(),
                &SubscriptionLimits::default()
            ),
            Err(SubscriptionError::NotJson(JsonFault::NotUtf8 { .. }))
        ));
        let many = format!("[{}]", vec![r#"{"eventType":"x"}"#; 10_000].join(","));
        assert!(parse(&many).unwrap_err().is_over_limit());
    }
}
