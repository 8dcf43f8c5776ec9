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

use super::beginning::Beginning;
use super::carry::carry;
use super::streams::{Admitted, Streams};
use crate::dispatch::{Attach, ClientEnd, ControlEvent, Format, Outlet, Start, pipe};
use crate::http::{Link, StreamBody, TakeOver, TakenConnection};
use crate::subscription::Subscriptions;

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
    fn attach(self, outlet: Outlet) {
        let Self {
            streams,
            format,
            subscriptions,
            beginning,
            greeting,
            admitted,
            ..
        } = self;
        let attach = Attach {
            client: admitted.client,
            outlet,
            format,
            subscriptions,
            start: Start::Later,
            held: None,
        };
        let tasks = streams.tasks.clone();
        tasks.spawn(
            "stream.attach",
            streams.attach(attach, beginning, greeting, admitted),
        );
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
        self.attach(outlet);
    }

    fn body(mut self: Box<Self>) -> StreamBody {
        let (pipe, client) = pipe();
        let head = std::mem::take(&mut self.first);
        self.attach(Outlet::Pipe {
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
