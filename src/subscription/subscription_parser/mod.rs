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
    ) -> Result<Vec<Vec<Constraint>>, ItemFault> {
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
    ) -> Result<Vec<Constraint>, ItemFault> {
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
        Ok(constraints)
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
mod tests;
