//! Who wants which of several events.

use super::Slot;

/// The slots that want each of several events, in the order of the events. Keeps its memory from one use to the next.
#[derive(Debug, Default)]
pub struct Hits {
    pub(super) slots: Vec<Slot>,
    /// Where the slots of each event end.
    ends: Vec<usize>,
}

impl Hits {
    /// Returns how many events were looked up.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether no event was looked up.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Goes over the events: for each the slots that want it, each once, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &[Slot]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| self.slots.get(start..*end).unwrap_or_default())
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.ends.clear();
    }

    /// Ends the slots of one event.
    pub(super) fn end_event(&mut self) {
        self.ends.push(self.slots.len());
    }
}
