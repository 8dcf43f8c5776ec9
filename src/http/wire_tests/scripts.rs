//! What the handlers of the tests do that answer, or read, bit by bit.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::*;

/// A body that does what a script says: words are sent, `~` waits for 50 ms, `&` for ever, `!` fails, `+` sends
/// trailers, `*` sends 64 KiB.
pub(super) struct Scripted {
    steps: VecDeque<String>,
    length: Option<u64>,
    wait: Option<Pin<Box<tokio::time::Sleep>>>,
    _open: Open,
}

/// How many bodies and handlers there are that somebody waits for.
static OPEN: AtomicUsize = AtomicUsize::new(0);

pub(super) struct Open;

impl Open {
    pub(super) fn new() -> Self {
        OPEN.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How the bodies ended that were read.
pub(super) static ENDS: parking_lot::Mutex<Vec<String>> = parking_lot::Mutex::new(Vec::new());

/// How many bytes of large pieces the body that began last has sent.
static SENT: AtomicUsize = AtomicUsize::new(0);

pub(super) fn sent() -> usize {
    SENT.load(Ordering::SeqCst)
}

/// Held by the tests that look at [`OPEN`], and by those whose server adds to it.
pub(super) static ALONE: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

pub(super) fn open() -> usize {
    OPEN.load(Ordering::SeqCst)
}

impl HttpBody for Scripted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(cx));
            self.wait = None;
        }
        let Some(step) = self.steps.pop_front() else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(Ok(match step.as_str() {
            "~" => {
                self.wait = Some(Box::pin(tokio::time::sleep(Duration::from_millis(50))));
                return self.poll_frame(cx);
            }
            "&" => {
                self.steps.push_front(step);
                return Poll::Pending;
            }
            "!" => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            "+" => {
                let mut trailers = HeaderMap::new();
                trailers.insert("sum", "42".parse().unwrap());
                Frame::trailers(trailers)
            }
            "*" => {
                SENT.fetch_add(64 * 1024, Ordering::SeqCst);
                Frame::data(Bytes::from(vec![b'*'; 64 * 1024]))
            }
            word => Frame::data(Bytes::from(word.to_owned())),
        })))
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Answers as the query says: `steps` is the script, in words; `length`, `status` and `declared` (for a
/// `Content-Length` of the head alone) say the rest.
pub(super) fn scripted(request: &Request) -> Reply {
    let query = request.query().unwrap();
    let steps = query.get("steps").unwrap_or_default();
    SENT.store(0, Ordering::SeqCst);
    let body = Scripted {
        steps: steps.split_whitespace().map(str::to_owned).collect(),
        length: query.get("length").map(|text| text.parse().unwrap()),
        wait: None,
        _open: Open::new(),
    };
    let mut response = Response::new(body.boxed_unsync());
    if let Some(status) = query.get("status") {
        *response.status_mut() = status.parse().unwrap();
    }
    if let Some(declared) = query.get("declared") {
        let headers = response.headers_mut();
        headers.insert("content-length", declared.parse().unwrap());
    }
    response
        .headers_mut()
        .insert("trailer", "sum".parse().unwrap());
    Reply::Streamed(response)
}

/// Sends the body of the request back as it comes.
pub(super) fn relayed(request: &mut Request) -> Reply {
    Reply::Streamed(Response::new(request.take_body()))
}

/// Reads the body bit by bit, and tells how it ended.
pub(super) async fn told(request: &mut Request) -> Reply {
    let (has_body, declared) = (request.has_body(), request.declared_length());
    let mut body = request.take_body();
    let (mut data, mut trailers) = (BytesMut::new(), String::new());
    let end = loop {
        match body.frame().await {
            None => break "whole".to_owned(),
            Some(Err(error)) => break format!("{:?}", error.kind()),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => data.extend_from_slice(&bytes),
                Err(frame) => trailers = format!("{:?}", frame.into_trailers().unwrap()),
            },
        }
    };
    if request.path() == "/told/reset" {
        ENDS.lock().push(end.clone());
    }
    let text = format!(
        "{has_body} {declared:?} {} {end} {trailers}{}",
        data.len(),
        request.body(10).await.unwrap().len()
    );
    ok(Bytes::from(text)).into()
}

/// Waits for ever, with the body.
pub(super) async fn unread(request: &mut Request) -> Reply {
    let _body = request.take_body();
    std::future::pending().await
}

/// Waits for ever, once the body has come.
pub(super) async fn waits(request: &mut Request) -> Reply {
    request.cancel_when_client_leaves();
    let _open = Open::new();
    let read = request.body(100_000).await;
    assert!(read.is_ok() || request.path() != "/waits");
    std::future::pending().await
}

/// Answers late, and does not mind whether the client sends any more.
pub(super) async fn late(request: &Request) -> Reply {
    request.cancel_when_client_leaves();
    tokio::time::sleep(Duration::from_millis(100)).await;
    ok(Bytes::from_static(b"late")).into()
}
