//! One event as matching sees it.

use std::cell::OnceCell;

use super::fields::Fields;
use crate::event::{Attributes, CloudEvent};

/// An event as matching sees it; the attributes are read when the first filter asks, and then once.
#[derive(Debug)]
pub struct EventView<'a> {
    event: &'a CloudEvent,
    fields: &'a Fields,
    attributes: OnceCell<Attributes<'a>>,
}

impl<'a> EventView<'a> {
    /// Puts an event and its extracted fields together.
    #[must_use]
    pub fn new(event: &'a CloudEvent, fields: &'a Fields) -> Self {
        Self {
            event,
            fields,
            attributes: OnceCell::new(),
        }
    }

    /// Returns the type of the event.
    #[must_use]
    pub fn event_type(&self) -> &'a str {
        self.event.event_type()
    }

    /// Returns the extracted fields.
    #[must_use]
    pub fn fields(&self) -> &'a Fields {
        self.fields
    }

    /// Returns the attributes, which are read at the first call.
    #[must_use]
    pub fn attributes(&self) -> &Attributes<'a> {
        self.attributes.get_or_init(|| self.event.attributes())
    }

    /// Returns one attribute, as [`Attributes::get`] does; `type` and `source` need no reading.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        match name {
            "type" => Some(self.event_type()),
            "source" if !self.event.source().is_empty() => Some(self.event.source()),
            _ => self.attributes().get(name),
        }
    }
}
