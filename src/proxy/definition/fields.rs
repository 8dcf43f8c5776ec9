//! Reads members of an object, and notes what is wrong with them.

use serde_json::{Map, Value};

use super::faults::Fault;

/// An object that is read. `null` counts as nothing, as in RIG.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    object: Option<&'a Map<String, Value>>,
    faults: Vec<Fault>,
}

impl<'a> Fields<'a> {
    /// Reads `value`; what is no object has no members.
    pub(super) fn of(value: &'a Value) -> Self {
        Self {
            object: value.as_object(),
            faults: Vec::new(),
        }
    }

    /// Returns what is wrong so far.
    pub(super) fn into_faults(self) -> Vec<Fault> {
        self.faults
    }

    /// Notes what is wrong with a member.
    pub(super) fn fault(&mut self, field: &str, reason: impl Into<Box<str>>) {
        self.faults.push((field.into(), reason.into()));
    }

    /// Notes what is wrong with members within this one.
    pub(super) fn faults(&mut self, faults: Vec<Fault>) {
        self.faults.extend(faults);
    }

    /// Returns a member that is not `null`.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.object?.get(name).filter(|value| !value.is_null())
    }

    /// Returns a text that has to be there.
    pub(super) fn required_text(&mut self, name: &str) -> Option<&'a str> {
        let value = self.get(name);
        let text = value.and_then(Value::as_str);
        if text.is_none() {
            self.fault(name, "must be string");
        }
        // RIG says both of a member that is not there.
        if value.is_none() || text == Some("") {
            self.fault(name, "must have a length of at least 1");
        }
        text.filter(|text| !text.is_empty())
    }

    /// Returns a text that may be left out or empty.
    pub(super) fn text(&mut self, name: &str) -> Option<&'a str> {
        let value = self.get(name)?;
        let text = value.as_str();
        if text.is_none() {
            self.fault(name, "must be string");
        }
        text.filter(|text| !text.is_empty())
    }

    /// Returns a boolean, false where it is left out.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// Returns a boolean, `default` where it is left out.
    pub(super) fn flag_or(&mut self, name: &str, default: bool) -> bool {
        match self.get(name) {
            None => default,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.fault(name, "must be boolean");
                default
            }
        }
    }

    /// Returns a member that is an object, `Null` where it is left out.
    pub(super) fn object(&mut self, name: &str) -> &'a Value {
        match self.get(name) {
            Some(value) if value.is_object() => value,
            None => &Value::Null,
            Some(_) => {
                self.fault(name, "must be an object");
                &Value::Null
            }
        }
    }

    /// Returns the elements of a list that has to be there.
    pub(super) fn required_list(&mut self, name: &str) -> &'a [Value] {
        if let Some(list) = self.get(name).and_then(Value::as_array) {
            return list;
        }
        self.fault(name, "must be list");
        &[]
    }
}

/// Says which texts are good, as RIG does.
pub(super) fn one_of(texts: &[&str]) -> Box<str> {
    let quoted: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
    format!("must be one of [{}]", quoted.join(", ")).into()
}
