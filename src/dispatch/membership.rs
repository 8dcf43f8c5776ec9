//! How connections come to a shard, begin, and change what they want.

use mio::Interest;
use tokio::sync::oneshot;

use super::connection::{Connection, Life, Reading, Replay, Sink, Start, Waiting};
use super::control::ControlEvent;
use super::messages::{Attach, Gone, Held, Opening};
use super::outbox::{Bytes, Content, Frame};
use super::shard::{Shard, Slot};
use super::token::{ConnectionId, Token};
use super::wire::{CloseReason, Input, Outgoing};
use crate::event::{Positions, Range, Resolved};
use crate::replay::Found;
use crate::subscription::Subscriptions;
use crate::telemetry::Transport;

/// How many changes of subscriptions a connection may make while it catches up.
const MAX_EARLIER_SUBSCRIPTIONS: usize = 16;

impl Shard {
    pub(super) fn attach(&mut self, attach: Attach, reply: Option<oneshot::Sender<ConnectionId>>) {
        let Attach {
            client,
            outlet,
            format,
            subscriptions,
            start,
            held,
        } = attach;
        let transport = self.wire(format).transport();
        let client = (transport == Transport::Ws).then(|| Box::new(client));
        let (sink, head, already_read) = Sink::of(outlet);
        let entry = self.connections.vacant_entry();
        let Ok(slot) = Slot::try_from(entry.key()) else {
            return;
        };
        entry.insert(Connection::new(client, (sink, format), subscriptions, held));
        if self.generations.len() <= slot as usize {
            self.generations.resize(slot as usize + 1, 0);
        }
        let metrics = &self.setup.metrics;
        metrics
            .connections
            .with_label_values(&[transport.as_str()])
            .inc();
        metrics
            .connections_opened
            .with_label_values(&[transport.as_str()])
            .inc();
        if !self.register(slot) {
            return self.remove(slot, CloseReason::ByClient);
        }
        if let Some(reply) = reply
            && reply.send(self.id_of(slot)).is_err()
        {
            return self.remove(slot, CloseReason::ByClient);
        }
        if !head.is_empty() {
            self.push(
                slot,
                Frame {
                    bytes: Bytes::Own(head.into()),
                    content: Content::Control,
                },
            );
        }
        let ending = self.let_held_know(slot);
        let waiting = Waiting::new(start);
        if self.opening.is_some() && waiting.start != Start::Later {
            self.begin(slot, waiting);
        } else if let Some(connection) = self.connections.get_mut(slot as usize) {
            connection.waiting = Some(waiting);
        }
        if !already_read.is_empty() {
            self.on_input(slot, already_read);
        }
        if let Some(reason) = ending {
            self.close(slot, reason);
        }
    }

    /// Has a connection hold something more.
    pub(super) fn hold(&mut self, slot: Slot, held: Box<dyn Held>) {
        let ending = held.attached(self.id_of(slot));
        if let Some(connection) = self.connections.get_mut(slot as usize) {
            connection.hold(held);
        }
        if let Some(reason) = ending {
            self.close(slot, reason);
        }
    }

    /// Tells what a connection holds which one it is; returns why that is to end at once, if it is.
    fn let_held_know(&self, slot: Slot) -> Option<CloseReason> {
        let connection = self.connections.get(slot as usize)?;
        connection.held()?.attached(self.id_of(slot))
    }

    fn register(&mut self, slot: Slot) -> bool {
        let (bell, id) = (self.bell(), self.id_of(slot));
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return false;
        };
        let stream = match &mut connection.sink {
            Sink::Socket(stream) => stream,
            Sink::Pipe(pipe) => {
                pipe.belongs_to(bell, id);
                return true;
            }
            Sink::Poll(_) => return true,
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self
            .poll
            .registry()
            .register(stream, mio::Token(slot as usize), interest);
        if let Err(error) = &registered {
            tracing::warn!(%error, "could not watch a socket; its connection is closed");
        }
        registered.is_ok()
    }

    /// Lets the streams begin that wait for the shard to be open.
    pub(super) fn open(&mut self, opening: Opening) {
        self.positions = opening.positions.clone();
        self.opening = Some(opening);
        let waiting: Vec<(Slot, Box<Waiting>)> = self
            .connections
            .iter_mut()
            .filter_map(|(slot, connection)| {
                let is_known = |waiting: &mut Box<Waiting>| waiting.start != Start::Later;
                let waiting = connection.waiting.take_if(is_known)?;
                Some((Slot::try_from(slot).ok()?, waiting))
            })
            .collect();
        for (slot, waiting) in waiting {
            self.begin(slot, waiting);
        }
    }

    /// Lets a connection begin that waited to be told where.
    pub(super) fn begin_at(&mut self, slot: Slot, places: Vec<(u16, u32, i64)>) {
        let is_open = self.opening.is_some();
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let waits_for_it = |waiting: &mut Box<Waiting>| waiting.start == Start::Later;
        let Some(mut waiting) = connection.waiting.take_if(waits_for_it) else {
            return;
        };
        waiting.start = Start::At(places);
        if is_open {
            self.begin(slot, waiting);
        } else {
            connection.waiting = Some(waiting);
        }
    }

    /// Puts a connection in force, now or once it is sure that its cursor is of an older topic.
    fn begin(&mut self, slot: Slot, waiting: Box<Waiting>) {
        if !self.has_to_wait(slot, &waiting.start) {
            self.begin_now(slot, *waiting);
        } else if let Some(connection) = self.connections.get_mut(slot as usize) {
            connection.waiting = Some(waiting);
        }
    }

    /// Puts a connection in force: its first events, its place in the index, its replay.
    pub(super) fn begin_now(&mut self, slot: Slot, mut waiting: Waiting) {
        let Some(connection) = self.connections.get(slot as usize) else {
            return;
        };
        if connection.life != Life::Open {
            return;
        }
        let is_stream = connection.sink.is_stream();
        let subscriptions = connection.subscriptions.clone();
        let told = waiting.take_told();
        let missed = self.set_position(slot, waiting.start);
        if is_stream && let Some(opening) = &self.opening {
            let token = Token::Connection(self.setup.incarnation, self.id_of(slot));
            let token = opening.token_key.seal(token);
            self.tell(slot, &ControlEvent::connection_created(&token));
            self.tell(
                slot,
                &ControlEvent::subscriptions_set(&subscriptions.to_json()),
            );
        }
        for event in told {
            self.tell(slot, &event);
        }
        if !missed.is_empty() {
            self.tell_gap(slot, &missed);
        }
        self.index.insert(slot, &subscriptions);
        self.count_subscriptions(0, subscriptions.len());
        // A poll that wants nothing asks where it stands; to read on would move it.
        if is_stream || !subscriptions.is_empty() {
            self.mark_catching_up(slot);
        }
        self.mark_dirty(slot);
    }

    /// Finds out from where the connection reads; returns what of it is gone.
    fn set_position(&mut self, slot: Slot, start: Start) -> Vec<Range> {
        let (position, made_anew) = match start {
            Start::Live | Start::Later => return Vec::new(),
            Start::After(cursor) => {
                let Resolved {
                    positions,
                    made_anew,
                } = self.positions.resolve(&cursor);
                (positions, made_anew)
            }
            Start::At(places) => {
                let mut position = self.positions.clone();
                for (topic, partition, offset) in places {
                    position.set(topic, partition, offset);
                }
                (position, Vec::new())
            }
        };
        let (source, reading) = match self.setup.log.find(&position) {
            Found::Here(sequence) => ("ring", Reading::Ring(sequence.min(self.next))),
            Found::Before(_) => ("kafka", Reading::Kafka(Vec::new())),
        };
        let resumes = &self.setup.metrics.resumes;
        resumes.with_label_values(&[source]).inc();
        if position == self.positions {
            return made_anew;
        }
        if let Some(connection) = self.connections.get_mut(slot as usize) {
            connection.replay = Some(Box::new(Replay::new(reading, position)));
        }
        made_anew
    }

    /// Tells a connection what of its events is gone.
    pub(super) fn tell_gap(&mut self, slot: Slot, missed: &[Range]) {
        let topics = self.setup.topics.clone();
        let named = missed.iter().filter_map(|range| {
            let topic = topics.get(usize::from(range.topic))?.as_str();
            Some((topic, range.partition, range.from, range.to))
        });
        let gap = ControlEvent::resume_gap(named);
        let records: i64 = missed
            .iter()
            .map(|range| (range.to - range.from).max(0))
            .sum();
        let metrics = &self.setup.metrics;
        metrics.resume_gaps.inc();
        metrics
            .missed_records
            .inc_by(u64::try_from(records).unwrap_or(0));
        self.tell(slot, &gap);
    }

    /// Replaces what a connection wants, from the next event on.
    pub(super) fn replace(&mut self, slot: Slot, wanted: &Subscriptions) -> Result<(), Gone> {
        let here = self.positions.clone();
        let connection = self.connections.get_mut(slot as usize).ok_or(Gone)?;
        let before = std::mem::replace(&mut connection.subscriptions, wanted.clone());
        if connection.waiting.is_some() {
            return Ok(());
        }
        let count_before = before.len();
        if let Some(replay) = &mut connection.replay {
            replay.earlier.push_back((here, before));
            if replay.earlier.len() > MAX_EARLIER_SUBSCRIPTIONS {
                self.close(slot, CloseReason::Flooding);
                return Err(Gone);
            }
        }
        self.index.remove(slot);
        self.index.insert(slot, wanted);
        self.count_subscriptions(count_before, wanted.len());
        self.tell(slot, &ControlEvent::subscriptions_set(&wanted.to_json()));
        Ok(())
    }

    pub(super) fn count_subscriptions(&self, before: usize, after: usize) {
        let difference = i64::try_from(after).unwrap_or(0) - i64::try_from(before).unwrap_or(0);
        self.setup.metrics.subscriptions.add(difference);
    }

    /// Sends an event about the connection itself; it never overtakes another frame.
    pub(super) fn tell(&mut self, slot: Slot, event: &ControlEvent) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        if let Some(waiting) = &mut connection.waiting {
            return waiting.tell(event);
        }
        let Some(connection) = self.connections.get(slot as usize) else {
            return;
        };
        let cursor = self.position_of(connection).encode();
        let json = event.to_json(self.now_ms);
        let mut frame = Vec::with_capacity(json.len() + 160);
        let outgoing = Outgoing {
            event_type: event.event_type(),
            json: &json,
            cursor: &cursor,
        };
        self.wire(connection.format).encode(outgoing, &mut frame);
        self.push(
            slot,
            Frame {
                bytes: Bytes::Own(frame.into()),
                content: Content::Control,
            },
        );
    }

    /// Returns where the client will stand when it has read its outbox.
    pub(super) fn position_of<'a>(&'a self, connection: &'a Connection) -> &'a Positions {
        let replay = connection.replay.as_ref().map(|replay| &replay.position);
        let latest = || connection.latest.as_ref().map(|latest| &latest.position);
        replay.or_else(latest).unwrap_or(&self.positions)
    }

    /// Queues a frame and sees to it that it is written.
    pub(super) fn push(&mut self, slot: Slot, frame: Frame) {
        let tick = self.tick;
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        if connection.outbox.is_empty() {
            connection.progress_tick = tick;
        }
        connection.outbox.push(frame);
        self.mark_dirty(slot);
    }

    /// Returns what the client has sent so far, to be read on.
    pub(super) fn input_of(&mut self, slot: Slot) -> Option<Box<Input>> {
        let connection = self.connections.get_mut(slot as usize)?;
        Some(connection.input.take().unwrap_or_default())
    }
}
