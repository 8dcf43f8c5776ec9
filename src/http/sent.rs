//! What a client gets after the head of an answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Response, StatusCode};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::open_answer::OpenAnswer;
use super::reply::{Body, StreamBody};

/// The body of an answer; the answer counts as open until its body has ended.
pub(super) struct Sent {
    content: Content,
    answer: Option<OpenAnswer>,
}

enum Content {
    Whole(Body),
    Stream(StreamBody),
    /// The stream broke; what came before that is still on its way to the client.
    Broken(Option<io::Error>),
}

impl Sent {
    /// An answer that is known as a whole, on a connection that does one thing at a time.
    pub(super) const fn plain(body: Body) -> Self {
        Self {
            content: Content::Whole(body),
            answer: None,
        }
    }

    /// An answer that is known as a whole; one to `HEAD` has only its length.
    pub(super) fn whole(
        response: Response<Body>,
        is_head: bool,
        answer: OpenAnswer,
    ) -> Response<Self> {
        let (mut head, mut body) = response.into_parts();
        if is_head && let Some(length) = body.size_hint().exact() {
            head.headers
                .entry(CONTENT_LENGTH)
                .or_insert_with(|| HeaderValue::from(length));
            body = Body::default();
        }
        Response::from_parts(head, Self::open(Content::Whole(body), answer))
    }

    /// An answer whose body comes bit by bit.
    ///
    /// Where the body knows its length, that is what `Content-Length` says. One to `HEAD`, and one of a status
    /// that has no body, ends with its head (RFC 9110, 9.3.2, 15.3.5 and 15.4.5).
    pub(super) fn streamed(
        response: Response<StreamBody>,
        is_head: bool,
        answer: OpenAnswer,
    ) -> Response<Self> {
        let (mut head, body) = response.into_parts();
        let length = body.size_hint().exact();
        let is_bodiless = is_head
            || matches!(
                head.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        // How the body is framed is decided here.
        head.headers.remove(TRANSFER_ENCODING);
        match length {
            _ if head.status == StatusCode::NO_CONTENT => {
                head.headers.remove(CONTENT_LENGTH);
            }
            Some(length) if !is_bodiless => {
                head.headers
                    .insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            // An empty body says nothing of the one that a GET would get.
            Some(length @ 1..) if is_head => {
                head.headers
                    .entry(CONTENT_LENGTH)
                    .or_insert_with(|| HeaderValue::from(length));
            }
            _ => {}
        }
        let content = if is_bodiless {
            Content::Whole(Body::default())
        } else {
            Content::Stream(body)
        };
        Response::from_parts(head, Self::open(content, answer))
    }

    /// An answer that goes on, on HTTP/2.
    pub(super) const fn stream(body: StreamBody, answer: OpenAnswer) -> Self {
        Self {
            content: Content::Stream(body),
            answer: Some(answer),
        }
    }

    /// No body: the stream goes on as a tunnel.
    pub(super) fn nothing() -> Self {
        Self::plain(Body::default())
    }

    fn open(content: Content, mut answer: OpenAnswer) -> Self {
        if content.is_over() {
            answer.complete();
        }
        Self {
            content,
            answer: Some(answer),
        }
    }

    fn complete(&mut self) {
        if let Some(answer) = &mut self.answer {
            answer.complete();
        }
    }

    /// Breaks the answer off when all before is out: hyper throws away what it has not written.
    fn poll_break(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(answer) = &mut self.answer {
            ready!(answer.poll_break(cx));
        }
        match &mut self.content {
            Content::Broken(error) => Poll::Ready(error.take().map(Err)),
            Content::Whole(_) | Content::Stream(_) => Poll::Pending,
        }
    }
}

impl Content {
    fn is_over(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
            Self::Broken(_) => false,
        }
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = match &mut self.content {
            Content::Whole(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Content::Stream(body) => Pin::new(body).poll_frame(cx),
            Content::Broken(_) => return self.poll_break(cx),
        };
        if let Poll::Ready(Some(Err(error))) = polled {
            self.content = Content::Broken(Some(error));
            return self.poll_break(cx);
        }
        if matches!(polled, Poll::Ready(None)) || self.content.is_over() {
            self.complete();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(body) => body.size_hint(),
            Content::Stream(body) => body.size_hint(),
            Content::Broken(_) => SizeHint::default(),
        }
    }
}
