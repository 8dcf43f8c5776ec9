//! Finds out who wants an event.

mod index;

pub use index::{Index, Slot};
