//! Cursors, which are opaque for clients, read and changed for the verdict and for planted bugs.

use sluicegate::event::{Cursor, Positions};

use super::event::PARTITIONS;

/// Returns the next offset of each partition of a topic.
///
/// # Errors
/// Says why this is not a cursor.
pub fn positions(topic: &str, cursor: &str) -> Result<Vec<i64>, String> {
    let positions = resolved(topic, cursor)?;
    let partitions = 0..PARTITIONS;
    Ok(partitions
        .map(|partition| positions.next_offset(0, partition))
        .collect())
}

/// Returns the cursor with one partition moved.
///
/// # Errors
/// Says why this is not a cursor.
pub fn moved(topic: &str, cursor: &str, partition: u32, by: i64) -> Result<String, String> {
    let mut positions = resolved(topic, cursor)?;
    let offset = positions.next_offset(0, partition);
    positions.set(0, partition, offset + by);
    Ok(positions.encode())
}

fn resolved(topic: &str, cursor: &str) -> Result<Positions, String> {
    let parsed: Cursor = cursor
        .parse()
        .map_err(|error| format!("{cursor:?}: {error}"))?;
    Ok(Positions::of_topics([topic]).resolve(&parsed).positions)
}
