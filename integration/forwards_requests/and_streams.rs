//! Bodies on their way: as they come, as far as they come, and for as long as somebody waits for them.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{broadcast, mpsc};

use super::with_tls;
use crate::support::fetch::{Cut, in_time};
use crate::support::gateway::Settings;
use crate::support::h2::{Http2, request};
use crate::support::kafka::Kafka;
use crate::support::program::{self, Process};
use crate::support::routes::{all, all_below};
use crate::support::upstream::{Caller, Upstream};
use crate::support::upstream_http2::{Answered, Http2Upstream};
use crate::support::ways::{Client, Way};

/// Tells a test that a client is gone: when it is dropped.
struct Told(mpsc::Sender<()>);

impl Drop for Told {
    fn drop(&mut self) {
        // Nobody asks at the end of a test.
        let _sent = self.0.try_send(());
    }
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

/// Writes each word as it is said.
async fn drip(mut caller: Caller, mut words: broadcast::Receiver<&'static str>, told: Told) {
    caller.request().await;
    caller.write(EVENTS.as_bytes()).await;
    loop {
        tokio::select! {
            Ok(word) = words.recv() => caller.write(word.as_bytes()).await,
            () = caller.ended() => return drop(told),
        };
    }
}

/// The same over HTTP/2, where the body is dropped when nobody waits for it.
fn drip_http2(words: broadcast::Receiver<&'static str>, told: Told) -> Answered {
    let pieces = futures_util::stream::unfold((words, told), async |(mut words, told)| {
        let word = words.recv().await.ok()?;
        let frame = Frame::data(Bytes::from_static(word.as_bytes()));
        Some((Ok(frame), (words, told)))
    });
    let response = Response::builder().header("content-type", "text/event-stream");
    response
        .body(StreamBody::new(pieces).boxed_unsync())
        .unwrap()
}

pub async fn events_as_they_come(kafka: &Kafka) {
    let words = broadcast::Sender::<&'static str>::new(16);
    let (gone, mut ended) = mpsc::channel(16);
    let (said, left) = (words.clone(), gone.clone());
    let one =
        Upstream::playing(move |caller| drip(caller, said.subscribe(), Told(left.clone()))).await;
    let said = words.clone();
    let other = Http2Upstream::answering(None, move |_| {
        std::future::ready(drip_http2(said.subscribe(), Told(gone.clone())))
    })
    .await;
    let apis = [
        all_below("one", "/one", &[one.url()]),
        all_below("other", "/other", &[other.url()]),
    ];
    // Silence between events is not the end of them.
    let settings = Settings::routing(kafka, &apis).with("PROXY_IDLE_TIMEOUT", "100ms");
    let (gateway, certificate) = with_tls(settings).await;
    for way in Way::ALL {
        for target in ["/one/events", "/other/events"] {
            let client = Client::new(way, &certificate, &gateway);
            let mut stream = client.fetch("GET", target, &[], b"").await;
            assert_eq!(stream.header("content-type"), Some("text/event-stream"));
            assert_eq!(stream.header("content-length"), None);
            for event in ["data: 1\n\n", "id: 2\ndata: 2\n\n"] {
                words.send(event).unwrap();
                assert_eq!(stream.until("\n\n").await, event, "{way:?} {target}");
            }
            stream.is_silent().await;
            drop(stream);
            in_time(ended.recv()).await.unwrap();
        }
    }
    gateway.stop().await;
}

/// A request of a client that is gone is not worth an answer.
pub async fn until_their_client_leaves(kafka: &Kafka) {
    let (asked, mut asks) = mpsc::channel(16);
    let (gone, mut ended) = mpsc::channel(16);
    let (notice, leave) = (asked.clone(), gone.clone());
    let one = Upstream::playing(move |mut caller| {
        let (asked, told) = (notice.clone(), Told(leave.clone()));
        async move {
            caller.head().await;
            asked.send(()).await.unwrap();
            caller.ended().await;
            drop(told);
        }
    })
    .await;
    let other = Http2Upstream::answering(None, move |_| {
        let (asked, told) = (asked.clone(), Told(gone.clone()));
        async move {
            let _told = told;
            asked.send(()).await.unwrap();
            std::future::pending().await
        }
    })
    .await;
    let apis = [
        all_below("one", "/one", &[one.url()]),
        all_below("other", "/other", &[other.url()]),
    ];
    let settings = Settings::routing(kafka, &apis).with("PROXY_RECV_TIMEOUT", "0");
    let (gateway, certificate) = with_tls(settings).await;
    for way in Way::ALL {
        for target in ["/one/a", "/other/a"] {
            for body in [&b""[..], b"body"] {
                let client = Client::new(way, &certificate, &gateway);
                let asking = client.fetch("POST", target, &[], body);
                tokio::select! {
                    answer = asking => panic!("{way:?} {target}: {answer:?}"),
                    _ = asks.recv() => {}
                }
                in_time(ended.recv()).await.unwrap();
            }
        }
    }
    // One that leaves in the middle of its body.
    let mut socket = tokio::net::TcpStream::connect(gateway.public())
        .await
        .unwrap();
    let half = b"POST /one/a HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf";
    socket.write_all(half).await.unwrap();
    in_time(asks.recv()).await.unwrap();
    drop(socket);
    in_time(ended.recv()).await.unwrap();
    gateway.stop().await;
}

/// Half an answer is never taken for a whole one.
pub async fn answers_as_far_as_they_come(kafka: &Kafka) {
    const HALVES: [&str; 5] = [
        "content-length: 9\r\n\r\nhalf",
        "transfer-encoding: chunked\r\n\r\n9\r\nhalf",
        "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "content-length: 9\r\n\r\nhalf",
    ];
    let cut = broadcast::Sender::<()>::new(16);
    let said = cut.clone();
    let one = Upstream::playing(move |mut caller| {
        let mut cut = said.subscribe();
        async move {
            let Some(sent) = caller.request().await else {
                return;
            };
            let number: usize = sent.target()[5..].parse().unwrap();
            let half = HALVES[number];
            caller
                .write(format!("HTTP/1.1 200 OK\r\n{half}").as_bytes())
                .await;
            match number {
                // Neither more nor an end.
                4 => caller.ended().await,
                3 => {
                    cut.recv().await.unwrap();
                    caller.write(b"zz\r\n").await;
                    caller.ended().await;
                }
                _ => cut.recv().await.unwrap(),
            }
        }
    })
    .await;
    let said = cut.clone();
    let other = Http2Upstream::answering(None, move |_| {
        let pieces = futures_util::stream::unfold((0, said.subscribe()), async |(at, mut cut)| {
            if at > 0 {
                cut.recv().await.unwrap();
                return Some((Err(std::io::Error::other("no more")), (at, cut)));
            }
            let half = Frame::data(Bytes::from_static(b"half"));
            Some((Ok(half), (1, cut)))
        });
        std::future::ready(Response::new(StreamBody::new(pieces).boxed_unsync()))
    })
    .await;
    let apis = [
        all_below("one", "/one", &[one.url()]),
        all_below("other", "/other", &[other.url()]),
    ];
    let settings = Settings::routing(kafka, &apis).with("PROXY_IDLE_TIMEOUT", "1s");
    let (gateway, certificate) = with_tls(settings).await;
    for way in Way::ALL {
        let client = Client::new(way, &certificate, &gateway);
        for target in ["/one/0", "/one/1", "/one/2", "/one/3", "/one/4", "/other/0"] {
            let mut answer = client.fetch("GET", target, &[], b"").await;
            assert_eq!(answer.status, 200, "{way:?} {target}");
            assert_eq!(answer.until("half").await, "half", "{way:?} {target}");
            // Where it only falls silent, nobody hears this.
            let _heard = cut.send(());
            assert_eq!(answer.whole().await, Err(Cut), "{way:?} {target}");
        }
    }
    gateway.stop().await;
}

/// A backend that has seen enough says so, and the client hears it, however much it still wants to send.
pub async fn answers_that_come_before_the_end_of_the_request(kafka: &Kafka) {
    let upstream = Upstream::playing(|mut caller| async move {
        if caller.head().await.is_some() {
            let answer =
                b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig";
            caller.write(answer).await;
            caller.skip().await;
        }
    })
    .await;
    let (gateway, certificate) = with_tls(Settings::routing(kafka, &[all(&upstream.url())])).await;
    let large = vec![b'x'; 4 << 20];
    for way in Way::ALL {
        let client = Client::new(way, &certificate, &gateway);
        for _ in 0..3 {
            let mut answer = client.fetch("POST", "/a", &[], &large).await;
            assert_eq!(answer.status, 413, "{way:?}");
            assert_eq!(answer.whole().await.unwrap(), b"big", "{way:?}");
        }
    }
    gateway.stop().await;
}

/// How much goes through in each direction, unless `SLUICEGATE_TEST_BODY_MIB` says otherwise.
const LARGE_MIB: usize = 256;
const MIB: usize = 1 << 20;

/// Takes any body, and answers with how long it was; or sends one as long as it is asked for.
async fn take_or_send(mut caller: Caller) {
    while let Some(sent) = caller.head().await {
        if sent.method() == "GET" {
            let mib: usize = sent.target().rsplit('/').next().unwrap().parse().unwrap();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", mib * MIB);
            caller.write(head.as_bytes()).await;
            let piece = vec![b'x'; MIB];
            for _ in 0..mib {
                caller.write(&piece).await;
            }
        } else {
            let mut taken = 0;
            match sent.header("content-length") {
                Some(length) => {
                    let length: usize = length.parse().unwrap();
                    while taken < length {
                        taken += caller.skip().await;
                    }
                }
                None => {
                    while let Some(chunk) = caller.chunk().await.unwrap() {
                        taken += chunk.len();
                    }
                    caller.skip().await;
                }
            }
            let text = taken.to_string();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
            caller.write(format!("{head}{text}").as_bytes()).await;
        }
    }
}

/// Sends so much up over HTTP/1.1, and reads so much down.
async fn over_http1(process: &Process, mib: usize) {
    let mut socket = tokio::net::TcpStream::connect(process.public)
        .await
        .unwrap();
    let head = format!(
        "POST /up HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
        mib * MIB
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b'x'; MIB];
    for _ in 0..mib {
        socket.write_all(&piece).await.unwrap();
    }
    let mut taken = vec![0; 4096];
    let read = socket.read(&mut taken).await.unwrap();
    let answer = String::from_utf8_lossy(&taken[..read]).into_owned();
    assert!(
        answer.ends_with(&format!("\r\n\r\n{}", mib * MIB)),
        "{answer}"
    );
    let request = format!("GET /down/{mib} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut read = 0;
    let mut buffer = vec![0; MIB];
    loop {
        match socket.read(&mut buffer).await.unwrap() {
            0 => break,
            some => read += some,
        }
    }
    assert!((mib * MIB..mib * MIB + 1_000).contains(&read), "{read}");
}

/// The same over HTTP/2.
async fn over_http2(process: &Process, mib: usize) {
    let socket = tokio::net::TcpStream::connect(process.public)
        .await
        .unwrap();
    socket.set_nodelay(true).unwrap();
    let client = Http2::with_window(socket, 1 << 20).await;
    let (response, mut sender) = client
        .send(request("POST", "/up", &[]), false)
        .await
        .unwrap();
    let piece = Bytes::from(vec![b'x'; 64 * 1024]);
    for _ in 0..mib * 16 {
        let mut left = piece.clone();
        while !left.is_empty() {
            sender.reserve_capacity(left.len());
            let capacity = std::future::poll_fn(|cx| sender.poll_capacity(cx)).await;
            let capacity = capacity.unwrap().unwrap().min(left.len());
            sender.send_data(left.split_to(capacity), false).unwrap();
        }
    }
    sender.send_data(Bytes::new(), true).unwrap();
    let answer = crate::support::h2::read(response.await.unwrap()).await;
    assert_eq!(answer.text(), (mib * MIB).to_string());
    let down = request("GET", &format!("/down/{mib}"), &[]);
    let (response, _sender) = client.send(down, true).await.unwrap();
    let mut stream = response.await.unwrap().into_body();
    let mut read = 0;
    while let Some(data) = stream.data().await {
        let length = data.unwrap().len();
        stream.flow_control().release_capacity(length).unwrap();
        read += length;
    }
    assert_eq!(read, mib * MIB);
}

/// What goes through is never there as a whole.
pub async fn bodies_of_any_size_in_little_memory(kafka: &Kafka) {
    let asked = std::env::var("SLUICEGATE_TEST_BODY_MIB").ok();
    let mib = asked.as_ref().map_or(LARGE_MIB, |mib| mib.parse().unwrap());
    let upstream = Upstream::playing(take_or_send).await;
    let definitions = serde_json::json!([all(&upstream.url())]).to_string();
    let settings = program::settings(kafka).with("PROXY_CONFIG_FILE", definitions);
    let process = Process::start(&settings).await;
    // What is needed for the first bodies is kept for the next ones.
    over_http1(&process, 8).await;
    over_http2(&process, 8).await;
    let before = process.resident_bytes();
    let mut most = before;
    for is_http2 in [false, true] {
        let begun = std::time::Instant::now();
        let going = async {
            match is_http2 {
                true => over_http2(&process, mib).await,
                false => over_http1(&process, mib).await,
            }
        };
        let mut going = std::pin::pin!(tokio::time::timeout(Duration::from_secs(300), going));
        loop {
            tokio::select! {
                gone = &mut going => break gone.expect("in time"),
                () = tokio::time::sleep(Duration::from_millis(50)) => {
                    most = most.max(process.resident_bytes());
                }
            }
        }
        if asked.is_some() {
            let (took, grown) = (begun.elapsed(), (most - before) / 1024);
            eprintln!("{mib} MiB each way, HTTP/2: {is_http2}: {took:?}, {grown} KiB more");
        }
    }
    let grown = most - before;
    assert!(grown < 20 << 20, "it takes {} KiB more", grown / 1024);
}
