//! Pages of the past: events read again from Kafka, kept for whoever needs the same ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::log::LoggedEvent;

/// The events of a piece of a partition.
#[derive(Debug)]
pub struct Page {
    /// The topic's index in the configured order.
    pub topic: u16,
    /// The partition of the topic.
    pub partition: u32,
    /// The first offset of the piece.
    pub from: i64,
    /// The offset after the piece; more than `from`.
    pub next: i64,
    /// The events of the piece, oldest first; what is no event is left out, so it may be empty.
    pub events: Vec<LoggedEvent>,
}

impl Page {
    /// Returns the events from `offset` on.
    #[must_use]
    pub fn events_from(&self, offset: i64) -> &[LoggedEvent] {
        let before = self.events.partition_point(|event| event.offset < offset);
        self.events.get(before..).unwrap_or_default()
    }

    fn size_bytes(&self) -> usize {
        let events = self.events.iter().map(LoggedEvent::size_bytes);
        events.sum::<usize>() + size_of::<Self>()
    }
}

/// A topic's index, a partition and an offset.
type Place = (u16, u32, i64);

/// The pages that were used last; bounded in bytes.
#[derive(Debug)]
pub(super) struct Pages {
    kept: BTreeMap<Place, Kept>,
    bytes: usize,
    limit_bytes: usize,
    /// Counts the uses.
    clock: u64,
}

#[derive(Debug)]
struct Kept {
    page: Arc<Page>,
    bytes: usize,
    used: u64,
}

impl Pages {
    pub(super) const fn new(limit_bytes: usize) -> Self {
        Self {
            kept: BTreeMap::new(),
            bytes: 0,
            limit_bytes,
            clock: 0,
        }
    }

    /// Returns the page with the record at `offset`.
    pub(super) fn get(&mut self, topic: u16, partition: u32, offset: i64) -> Option<Arc<Page>> {
        self.clock += 1;
        let place = (topic, partition, offset);
        let (_, kept) = self.kept.range_mut(..=place).next_back()?;
        let page = &kept.page;
        let is_of_it = (page.topic, page.partition) == (topic, partition) && offset < page.next;
        is_of_it.then(|| {
            kept.used = self.clock;
            Arc::clone(page)
        })
    }

    /// Returns where the first page begins that lies behind `offset`.
    pub(super) fn next_begin(&self, topic: u16, partition: u32, offset: i64) -> Option<i64> {
        let behind = (topic, partition, offset + 1)..=(topic, partition, i64::MAX);
        self.kept
            .range(behind)
            .next()
            .map(|((_, _, from), _)| *from)
    }

    /// Keeps a page, and drops those not used for longest over the limit; the new one is kept in any
    /// case.
    pub(super) fn insert(&mut self, page: Arc<Page>) {
        self.clock += 1;
        let bytes = page.size_bytes();
        let place = (page.topic, page.partition, page.from);
        let kept = Kept {
            page,
            bytes,
            used: self.clock,
        };
        self.bytes += bytes;
        if let Some(replaced) = self.kept.insert(place, kept) {
            self.bytes -= replaced.bytes;
        }
        while self.bytes > self.limit_bytes && self.kept.len() > 1 {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used);
            let Some(oldest) = oldest.map(|(place, _)| *place) else {
                return;
            };
            self.remove(oldest);
        }
    }

    /// Forgets the pages of a topic.
    pub(super) fn forget(&mut self, topic: u16) {
        let of_topic = (topic, 0, i64::MIN)..=(topic, u32::MAX, i64::MAX);
        let places: Vec<Place> = self.kept.range(of_topic).map(|(place, _)| *place).collect();
        for place in places {
            self.remove(place);
        }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn remove(&mut self, place: Place) {
        if let Some(removed) = self.kept.remove(&place) {
            self.bytes -= removed.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(partition: u32, from: i64, next: i64) -> Arc<Page> {
        Arc::new(Page {
            topic: 0,
            partition,
            from,
            next,
            events: Vec::new(),
        })
    }

    fn found(pages: &mut Pages, partition: u32, offset: i64) -> Option<(i64, i64)> {
        pages
            .get(0, partition, offset)
            .map(|page| (page.from, page.next))
    }

    #[test]
    fn a_page_is_found_by_any_offset_in_it() {
        let mut pages = Pages::new(usize::MAX);
        pages.insert(page(0, 10, 20));
        pages.insert(page(0, 30, 40));
        pages.insert(page(1, 0, 99));
        for (offset, expected) in [
            (9, None),
            (10, Some((10, 20))),
            (19, Some((10, 20))),
            (20, None),
            (35, Some((30, 40))),
            (40, None),
        ] {
            assert_eq!(found(&mut pages, 0, offset), expected, "{offset}");
        }
        assert_eq!(pages.next_begin(0, 0, 10), Some(30));
        assert_eq!(pages.next_begin(0, 0, 30), None);
        pages.forget(0);
        assert_eq!((found(&mut pages, 1, 5), pages.bytes()), (None, 0));
    }

    #[test]
    fn those_not_used_for_longest_go_first() {
        let size_bytes = page(0, 0, 1).size_bytes();
        let mut pages = Pages::new(2 * size_bytes);
        pages.insert(page(0, 0, 10));
        pages.insert(page(0, 10, 20));
        assert!(found(&mut pages, 0, 5).is_some());
        pages.insert(page(0, 20, 30));
        assert_eq!(found(&mut pages, 0, 15), None);
        assert!(found(&mut pages, 0, 5).is_some() && found(&mut pages, 0, 25).is_some());
        assert_eq!(pages.bytes(), 2 * size_bytes);
    }
}
