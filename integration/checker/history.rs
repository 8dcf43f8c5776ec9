//! What one client did and got.

use std::time::Instant;

use super::event::EventId;
use super::findings::Finding;
use super::wish::Wish;

/// The history of a client, oldest first.
#[derive(Debug)]
pub struct History {
    /// Who, for the report: `client 7 (sse)`.
    pub client: String,
    /// The events that it got whole.
    pub receipts: Vec<EventId>,
    pub connections: Vec<Connection>,
    /// What it wanted, from which offset of each partition on.
    pub wishes: Vec<(Vec<i64>, Wish)>,
    /// Where it began in each partition; none if it never got a cursor.
    pub start: Option<Vec<i64>>,
    /// When its first subscriptions were in force: whatever was sent later belongs to it.
    pub subscribed: Option<Instant>,
    /// What was wrong at first sight.
    pub findings: Vec<Finding>,
    pub is_finished: bool,
}

/// One connection, or one poll.
#[derive(Debug)]
pub struct Connection {
    pub instance: usize,
    /// The cursor that the client came with; empty for none.
    pub handed_back: String,
    /// The number of receipts before it.
    pub first_receipt: usize,
    /// The cursor of the last whole frame.
    pub left_with: String,
}

impl History {
    pub fn new(client: String, wish: Wish) -> Self {
        Self {
            client,
            receipts: Vec::new(),
            connections: Vec::new(),
            wishes: vec![(Vec::new(), wish)],
            start: None,
            subscribed: None,
            findings: Vec::new(),
            is_finished: false,
        }
    }

    /// Returns what the client wanted of a partition at an offset.
    pub fn wish_at(&self, partition: usize, offset: i64) -> &Wish {
        let begun = |from: &Vec<i64>| from.get(partition).copied().unwrap_or(0) <= offset;
        let found = self.wishes.iter().rev().find(|(from, _)| begun(from));
        &found.unwrap_or(&self.wishes[0]).1
    }

    /// Returns the number of the connection that brought a receipt.
    fn connection_of(&self, receipt: usize) -> usize {
        let after = self
            .connections
            .partition_point(|connection| connection.first_receipt <= receipt);
        after.saturating_sub(1)
    }

    /// Says which connections brought two receipts, and the cursors between them.
    pub fn between(&self, before: Option<usize>, after: Option<usize>) -> String {
        if self.connections.is_empty() {
            return "never connected".to_owned();
        }
        let last = self.connections.len() - 1;
        let from = before.map_or(0, |receipt| self.connection_of(receipt));
        let to = after.map_or(last, |receipt| self.connection_of(receipt));
        if from == to {
            let one = &self.connections[from];
            return format!(
                "within connection {from} (instance {}), begun with {:?}",
                one.instance, one.handed_back
            );
        }
        let (left, come) = (&self.connections[from], &self.connections[to]);
        format!(
            "between connection {from} (instance {}), left with {:?}, and connection {to} (instance {}), begun with {:?}",
            left.instance, left.left_with, come.instance, come.handed_back
        )
    }
}
