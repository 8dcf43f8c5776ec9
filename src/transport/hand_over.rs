//! How a stream comes to a shard, whatever it goes over.
//!
//! ```text
//! HTTP/1.1            the shard owns the socket
//! HTTP/1.1 over TLS   the shard owns a pipe ◀─▶ a task ◀─▶ TLS
//! HTTP/2              the shard owns a pipe  ─▶ the body of the answer
//! WebSocket, HTTP/2   the shard owns a pipe ◀─▶ a task ◀─▶ the stream of HTTP/2
//! ```

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame};

use super::FORMATS;
use super::beginning::Beginning;
use super::carry::carry;
use super::streams::{Admitted, Streams};
use crate::dispatch::{
    Attach, ClientEnd, CloseReason, ControlEvent, Format, Held, Outlet, Start, pipe,
};
use crate::http::{Link, StreamBody, TakeOver, TakenConnection};
use crate::replay::Busy;
use crate::subscription::Subscriptions;
use crate::telemetry::Transport;

/// A stream that waits for its connection.
#[derive(Debug)]
pub(super) struct HandOver {
    pub(super) streams: Streams,
    pub(super) format: Format,
    pub(super) subscriptions: Subscriptions,
    pub(super) beginning: Beginning,
    pub(super) admitted: Admitted,
    /// What comes before the first frame.
    pub(super) first: Vec<u8>,
    /// What is told when the stream has begun.
    pub(super) greeting: Option<ControlEvent>,
}

impl HandOver {
    fn start(self, outlet: Outlet) {
        let tasks = self.streams.tasks.clone();
        tasks.spawn("stream.attach", self.attach(outlet));
    }

    /// Gives the stream to a shard, lets it begin as soon as it is known where, and then greets it.
    async fn attach(self, outlet: Outlet) {
        let (streams, format, greeting) = (self.streams, self.format, self.greeting);
        let Admitted {
            place,
            guest,
            client,
        } = self.admitted;
        let (start, asked) = match self.beginning {
            Beginning::Known(start) => (start, None),
            Beginning::Asked(at) => (Start::Later, Some((at, self.subscriptions.clone()))),
        };
        let transport = FORMATS.get(usize::from(format.0));
        let transport = transport.map_or(Transport::Sse, |wire| wire.transport());
        let member = guest.map(|guest| (streams.registry.enter(&guest, transport), guest));
        let attach = Attach {
            client,
            outlet,
            format,
            subscriptions: self.subscriptions,
            start,
            held: place.is_counted().then(|| Box::new(place) as Box<dyn Held>),
        };
        let dispatcher = &streams.dispatcher;
        if asked.is_none() && greeting.is_none() && member.is_none() {
            return dispatcher.attach(attach).await;
        }
        let Ok(connection) = streams.seat(attach, member).await else {
            return;
        };
        if let Some((at, wanted)) = asked {
            match streams.history.locate(at, wanted).await {
                Ok(next_offsets) => dispatcher.begin(connection, next_offsets).await,
                Err(Busy) => return dispatcher.close(connection, CloseReason::Overloaded).await,
            }
        }
        if let Some(greeting) = greeting {
            dispatcher.tell(connection, greeting).await;
        }
    }
}

impl TakeOver for HandOver {
    fn connection(mut self: Box<Self>, taken: TakenConnection) {
        let mut head = taken.head;
        head.append(&mut self.first);
        let already_read = taken.already_read.to_vec();
        let outlet = match taken.link {
            Link::Socket(stream) => Outlet::Socket {
                stream,
                head,
                already_read,
            },
            Link::Carried(link) => {
                let (pipe, client) = pipe();
                self.streams
                    .tasks
                    .spawn("stream.carry", carry(link, client));
                Outlet::Pipe {
                    pipe,
                    head,
                    already_read,
                }
            }
        };
        self.start(outlet);
    }

    fn body(mut self: Box<Self>) -> StreamBody {
        let (pipe, client) = pipe();
        let head = std::mem::take(&mut self.first);
        self.start(Outlet::Pipe {
            pipe,
            head,
            already_read: Vec::new(),
        });
        PipeBody(client).boxed_unsync()
    }
}

/// The body of an answer, fed by a shard.
struct PipeBody(ClientEnd);

impl Body for PipeBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0
            .poll_take(cx)
            .map(|taken| taken.map(|bytes| bytes.map(Frame::data).map_err(io::Error::other)))
    }
}
