//! HTTP/2: answers that come bit by bit, and bodies of requests that are read so.

use std::future::Future;

use bytes::BytesMut;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request as Head};

use super::scripts::{ALONE, ENDS, open, sent};
use super::*;

/// Runs the client; whatever it waits for comes within ten seconds.
fn run<F: Future>(exchange: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let patience = Duration::from_secs(10);
    runtime
        .block_on(async { tokio::time::timeout(patience, exchange).await })
        .expect("an answer in time")
}

async fn connect(server: &Server) -> SendRequest<Bytes> {
    let socket = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(1 << 20);
    let (client, connection) = builder.handshake(socket).await.unwrap();
    Tasks::new().spawn("test.client", async move { drop(connection.await) });
    client.ready().await.unwrap()
}

fn head(method: &str, target: &str) -> Head<()> {
    let uri = format!("http://x{target}");
    Head::builder().method(method).uri(uri).body(()).unwrap()
}

async fn get(server: &Server, method: &str, target: &str) -> Response<RecvStream> {
    let mut client = connect(server).await;
    let (response, _) = client.send_request(head(method, target), true).unwrap();
    response.await.unwrap()
}

/// Reads to the end: the bytes, the trailers, and the error if there is one.
async fn read(mut body: RecvStream) -> (String, Option<HeaderMap>, Option<Reason>) {
    let mut bytes = BytesMut::new();
    while let Some(data) = body.data().await {
        match data {
            Ok(data) => {
                body.flow_control().release_capacity(data.len()).unwrap();
                bytes.extend_from_slice(&data);
            }
            Err(error) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                return (text, None, error.reason());
            }
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    (text, body.trailers().await.unwrap(), None)
}

#[test]
fn bodies_have_their_length_where_it_is_known() {
    let _alone = ALONE.lock();
    let server = Server::start(HttpLimits::default());
    for (method, query, status, length, expected) in [
        ("GET", "steps=ab+~+cd", 200, None, "abcd"),
        ("GET", "steps=", 200, None, ""),
        ("GET", "steps=ab+~+cd&length=4", 200, Some("4"), "abcd"),
        ("GET", "steps=ab+~+cd&declared=4", 200, Some("4"), "abcd"),
        ("HEAD", "steps=ab&declared=1000", 200, Some("1000"), ""),
        ("HEAD", "steps=&declared=9&length=0", 200, Some("9"), ""),
        ("HEAD", "steps=ab&length=2", 200, Some("2"), ""),
        ("HEAD", "steps=&length=0", 200, None, ""),
        ("GET", "steps=ab&status=304&declared=7", 304, Some("7"), ""),
        ("GET", "steps=ab&status=204&length=2", 204, None, ""),
    ] {
        run(async {
            let response = get(&server, method, &format!("/scripted?{query}")).await;
            assert_eq!(response.status().as_u16(), status, "{query}");
            let field = response.headers().get("content-length").cloned();
            assert_eq!(
                field.as_ref().map(|v| v.to_str().unwrap()),
                length,
                "{query}"
            );
            let (body, _, error) = read(response.into_body()).await;
            assert_eq!((body.as_str(), error), (expected, None), "{query}");
        });
    }
}

#[test]
fn trailers_follow_the_body() {
    let _alone = ALONE.lock();
    let server = Server::start(HttpLimits::default());
    run(async {
        let response = get(&server, "GET", "/scripted?steps=ab+~+%2B").await;
        let (body, trailers, _) = read(response.into_body()).await;
        assert_eq!(body, "ab");
        assert_eq!(trailers.unwrap()["sum"], "42");
    });
}

#[test]
fn an_answer_that_breaks_off_is_reset() {
    let _alone = ALONE.lock();
    let server = Server::start(HttpLimits::default());
    run(async {
        for query in ["steps=ab+~+!", "steps=ab+~+!&length=4"] {
            let response = get(&server, "GET", &format!("/scripted?{query}")).await;
            let (body, _, error) = read(response.into_body()).await;
            assert_eq!((body.as_str(), error), ("ab", Some(Reason::INTERNAL_ERROR)));
        }
    });
}

#[test]
fn a_reset_ends_the_handler_and_the_body() {
    let _alone = ALONE.lock();
    let server = Server::start(HttpLimits::default());
    run(async {
        let mut client = connect(&server).await;
        for target in ["/waits", "/scripted?steps=ab+%26"] {
            let (response, mut sender) = client.send_request(head("GET", target), false).unwrap();
            sender.send_data(Bytes::new(), true).unwrap();
            until(|| open() == 1).await;
            sender.send_reset(Reason::CANCEL);
            until(|| open() == 0).await;
            drop(response);
        }
        // So does the end of the connection.
        let (response, _) = client.send_request(head("GET", "/waits"), true).unwrap();
        until(|| open() == 1).await;
        drop((response, client));
    });
    wait_until(|| open() == 0);
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn bodies_of_requests_come_with_their_trailers() {
    let server = Server::start(HttpLimits::default());
    run(async {
        let mut client = connect(&server).await;
        let (response, mut sender) = client.send_request(head("POST", "/told"), false).unwrap();
        sender.send_data("abc".into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("t", "v".parse().unwrap());
        sender.send_trailers(trailers).unwrap();
        let (told, _, _) = read(response.await.unwrap().into_body()).await;
        assert_eq!(told, "true None 3 whole {\"t\": \"v\"}0");
        let told = read(get(&server, "POST", "/told").await.into_body())
            .await
            .0;
        assert_eq!(told, "false None 0 whole 0");
    });
}

/// A client that resets its stream with NO_ERROR has not sent a whole body.
#[test]
fn a_reset_is_no_end_of_a_body() {
    let _alone = ALONE.lock();
    let server = Server::start(HttpLimits::default());
    for reason in [Reason::NO_ERROR, Reason::CANCEL] {
        ENDS.lock().clear();
        run(async {
            let mut client = connect(&server).await;
            let (_response, mut sender) = client
                .send_request(head("POST", "/told/reset"), false)
                .unwrap();
            sender.send_data("abc".into(), false).unwrap();
            until(|| open() == 1).await;
            sender.send_reset(reason);
            until(|| open() == 0).await;
        });
        let ends = ENDS.lock().clone();
        assert!(!ends.contains(&"whole".to_owned()), "{ends:?}");
    }
}

#[test]
fn a_large_body_goes_through_in_both_directions_at_once() {
    let server = Server::start(HttpLimits::default());
    run(async {
        let mut client = connect(&server).await;
        let (response, mut sender) = client
            .send_request(head("POST", "/relayed"), false)
            .unwrap();
        let size = 4 << 20;
        let sending = async {
            let mut left = size;
            while left > 0 {
                sender.reserve_capacity(left.min(16_384));
                let room = std::future::poll_fn(|cx| sender.poll_capacity(cx)).await;
                let piece = room.unwrap().unwrap().min(left);
                left -= piece;
                sender
                    .send_data(Bytes::from(vec![b'x'; piece]), left == 0)
                    .unwrap();
            }
        };
        let reading = async { read(response.await.unwrap().into_body()).await };
        let ((), (body, _, error)) = tokio::join!(sending, reading);
        assert_eq!((body.len(), error), (size, None));
    });
}

/// What nobody takes is not asked for: of the answer, and of the body of a request.
#[test]
fn a_slow_side_slows_the_other_one() {
    let _alone = ALONE.lock();
    let server = Server::start(HttpLimits::default());
    run(async {
        let steps = "*+".repeat(100);
        let response = get(&server, "GET", &format!("/scripted?steps={steps}")).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        // The window of 64 KiB is full, and there is one piece behind it.
        assert!(sent() <= 3 * 64 * 1024, "{}", sent());
        let (body, _, _) = read(response.into_body()).await;
        assert_eq!(body.len(), 100 * 64 * 1024);

        let mut client = connect(&server).await;
        let (_response, mut sender) = client.send_request(head("POST", "/unread"), false).unwrap();
        sender.reserve_capacity(1 << 20);
        let mut room = 0;
        let filling = async {
            loop {
                let more = std::future::poll_fn(|cx| sender.poll_capacity(cx)).await;
                let more = more.unwrap().unwrap();
                sender
                    .send_data(Bytes::from(vec![b'x'; more]), false)
                    .unwrap();
                room += more;
                sender.reserve_capacity(1 << 20);
            }
        };
        let filled = tokio::time::timeout(Duration::from_millis(200), filling).await;
        assert!(filled.is_err());
        assert!(room <= 64 * 1024, "{room}");
    });
}

/// As on HTTP/1.1, but the connection and its other streams go on.
#[test]
fn a_stream_whose_client_takes_nothing_is_reset() {
    let _alone = ALONE.lock();
    let server = Server::start(short());
    run(async {
        let mut client = connect(&server).await;
        let steps = "*+".repeat(20);
        let target = format!("/scripted?steps={steps}%26");
        let (response, _) = client.send_request(head("GET", &target), true).unwrap();
        let stalled = response.await.unwrap().into_body();
        // This one is read slowly, and then has to wait for more for longer than clients may take.
        let steps = format!("{}{}cd", "*+".repeat(3), "~+".repeat(16));
        let target = format!("/scripted?steps={steps}");
        let (response, _) = client.send_request(head("GET", &target), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let mut bytes = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            bytes.extend_from_slice(&data);
            tokio::time::sleep(Duration::from_millis(100)).await;
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        assert_eq!(bytes.len(), 3 * 64 * 1024 + 2);
        until(|| open() == 0).await;
        assert_eq!(read(stalled).await.2, Some(Reason::CANCEL));
    });
    assert_eq!(server.refused("write_timeout"), 1);
}

/// A client that sends all before it looks gets the answer that came long before, and no reset; one that sends for ever
/// does get one.
#[test]
fn an_early_answer_reaches_a_client_that_still_sends() {
    let _alone = ALONE.lock();
    let server = Server::start(HttpLimits::default());
    run(async {
        for target in ["/refuse", "/scripted?steps=~+no"] {
            let mut client = connect(&server).await;
            let (response, mut sender) = client.send_request(head("POST", target), false).unwrap();
            let mut left = 2_000_000;
            while left > 0 {
                sender.reserve_capacity(left);
                let room = std::future::poll_fn(|cx| sender.poll_capacity(cx)).await;
                let piece = room.unwrap().unwrap();
                left -= piece;
                let sent = sender.send_data(Bytes::from(vec![b'x'; piece]), left == 0);
                sent.unwrap();
            }
            let (body, _, error) = read(response.await.unwrap().into_body()).await;
            assert_eq!((body.as_str(), error), ("no", None));
        }
        let mut client = connect(&server).await;
        let (response, mut sender) = client.send_request(head("POST", "/refuse"), false).unwrap();
        assert_eq!(read(response.await.unwrap().into_body()).await.0, "no");
        let reset = std::future::poll_fn(|cx| sender.poll_reset(cx)).await;
        assert_eq!(reset.unwrap(), Reason::NO_ERROR);
    });
    wait_until(|| server.tasks.running() <= 1);
}
