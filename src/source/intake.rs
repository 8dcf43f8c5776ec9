//! The one door through which records come in.

/// A record of a source topic, borrowed from the Kafka client.
#[derive(Debug, Clone, Copy)]
pub struct SourceRecord<'a> {
    /// The topic, as its index in the configured order.
    pub topic: u16,
    /// The partition.
    pub partition: u32,
    /// The offset in the partition.
    pub offset: i64,
    /// Kafka's timestamp in Unix milliseconds; 0 where it has none.
    pub timestamp_ms: i64,
    /// The headers in order, without those whose name is not UTF-8.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// What takes the records, called from the source's polling thread only.
pub trait Intake: Send + 'static {
    /// Says that the next record of a partition has at least `next_offset`.
    ///
    /// Comes before the first record of the partition, and again when its topic was deleted and
    /// made anew; then `next_offset` is lower than what was accepted before.
    fn assign(&mut self, topic: u16, partition: u32, next_offset: i64);

    /// Takes one record. Offsets of a partition rise from one record to the next.
    fn accept(&mut self, record: SourceRecord<'_>);

    /// Hands on what was accepted; blocks while the receivers are behind.
    ///
    /// Afterwards the offsets of the accepted records may be committed.
    fn flush(&mut self);

    /// Says that everything that was in the topics at start was accepted and flushed.
    fn open(&mut self);
}
