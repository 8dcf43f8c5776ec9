//! Looks whether JSON is as a JSON Schema says, for tests of schemas. It knows just the keywords that ours have.

use regex::Regex;
use serde_json::{Value, json};

/// Returns whether `value` is as `schema` says.
///
/// # Panics
/// For a keyword that is not known here.
pub(crate) fn is_valid(value: &Value, schema: &Value) -> bool {
    is_as(value, schema, schema)
}

fn is_as(value: &Value, schema: &Value, root: &Value) -> bool {
    let rules = schema.as_object().unwrap();
    rules.iter().all(|(keyword, wants)| match keyword.as_str() {
        "$schema" | "$defs" | "title" | "description" | "default" | "examples" => true,
        // They belong to "if".
        "then" | "else" => true,
        "$ref" => {
            let pointer = wants.as_str().unwrap().trim_start_matches('#');
            is_as(value, root.pointer(pointer).unwrap(), root)
        }
        "anyOf" => elements(wants).any(|schema| is_as(value, schema, root)),
        "allOf" => elements(wants).all(|schema| is_as(value, schema, root)),
        "not" => !is_as(value, wants, root),
        "if" => {
            let holds = is_as(value, wants, root);
            let schema = rules.get(if holds { "then" } else { "else" });
            schema.is_none_or(|schema| is_as(value, schema, root))
        }
        "required" => elements(wants).all(|name| {
            let member = value.get(name.as_str().unwrap());
            member.is_some() || !value.is_object()
        }),
        "properties" => members(wants).all(|(name, schema)| {
            let member = value.get(name);
            member.is_none_or(|member| is_as(member, schema, root))
        }),
        "additionalProperties" => members(value)
            .filter(|(name, _)| schema["properties"].get(name).is_none())
            .all(|(_, member)| match wants {
                Value::Bool(is_allowed) => *is_allowed,
                schema => is_as(member, schema, root),
            }),
        "propertyNames" => members(value).all(|(name, _)| is_as(&json!(name), wants, root)),
        "items" => elements(value).all(|element| is_as(element, wants, root)),
        "contains" => {
            elements(value).any(|element| is_as(element, wants, root)) || !value.is_array()
        }
        _ => is_within(value, keyword, wants),
    })
}

/// Looks at the keywords that need no other schema.
fn is_within(value: &Value, keyword: &str, wants: &Value) -> bool {
    let count = || usize::try_from(wants.as_u64().unwrap()).unwrap();
    let chars = || value.as_str().map(|text| text.chars().count());
    match keyword {
        "type" => match wants {
            Value::Array(types) => types.iter().any(|one| is_of_type(value, one)),
            one => is_of_type(value, one),
        },
        "enum" => elements(wants).any(|one| one == value),
        "const" => value == wants,
        "minItems" => elements(value).count() >= count() || !value.is_array(),
        "maxItems" => elements(value).count() <= count(),
        "minProperties" => members(value).count() >= count() || !value.is_object(),
        "maxProperties" => members(value).count() <= count(),
        "minLength" => chars().is_none_or(|chars| chars >= count()),
        "maxLength" => chars().is_none_or(|chars| chars <= count()),
        "minimum" => value
            .as_f64()
            .is_none_or(|number| number >= wants.as_f64().unwrap()),
        "maximum" => value
            .as_f64()
            .is_none_or(|number| number <= wants.as_f64().unwrap()),
        "pattern" => {
            let regex = Regex::new(wants.as_str().unwrap()).unwrap();
            value.as_str().is_none_or(|text| regex.is_match(text))
        }
        other => panic!("the keyword {other} is not known"),
    }
}

fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn is_of_type(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the type {other} is not known"),
    }
}
