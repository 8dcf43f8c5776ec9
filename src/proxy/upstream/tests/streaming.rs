//! Bodies in both directions, with the pace of the slower side.

use super::*;

const PIECE_BYTES: usize = 64 * 1024;

#[tokio::test]
async fn what_nobody_reads_stays_with_the_backend() {
    let written = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&written);
    let backend = Backend::playing(move |mut socket, _, notes| {
        let counter = Arc::clone(&counter);
        async move {
            notes.read_request(&mut socket).await;
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                1_usize << 30
            );
            socket.write_all(head.as_bytes()).await.unwrap();
            let piece = vec![b'x'; PIECE_BYTES];
            while socket.write_all(&piece).await.is_ok() {
                *counter.lock() += PIECE_BYTES;
            }
        }
    })
    .await;
    let proxy = Proxy::new();
    let Ok(Reply::Streamed(answer)) = proxy.reply(&Asked::of(&[&backend]), whole("")).await else {
        panic!("no answer");
    };
    let mut body = answer.into_body();
    let mut read = 0;
    for _ in 0..100 {
        read += body
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap()
            .len();
    }
    let mut before = 0;
    // Until the sockets' buffers are full.
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = *written.lock();
        if now == before {
            break;
        }
        before = now;
    }
    let in_between = before - read.min(before);
    assert!(
        in_between < 16 * 1024 * 1024,
        "{in_between} bytes are on their way"
    );
}

#[tokio::test]
async fn what_the_backend_does_not_read_stays_with_the_client() {
    let backend = Backend::playing(|mut socket, _, _| async move {
        read_until(&mut socket, b"\r\n\r\n").await.unwrap();
        // It reads nothing until the client has noticed.
        tokio::time::sleep(PATIENCE).await;
    })
    .await;
    let (pieces, body) = piecewise();
    let proxy = Proxy::new();
    let asked = Asked::with(Method::POST, &[&backend]);
    let asking = proxy.reply(&asked, body);
    let piece = Bytes::from(vec![b'x'; PIECE_BYTES]);
    let mut sent = 0;
    let sending = async {
        let stalled = Duration::from_millis(500);
        while let Ok(taken) =
            tokio::time::timeout(stalled, pieces.send(Ok(Frame::data(piece.clone())))).await
        {
            taken.unwrap();
            sent += PIECE_BYTES;
        }
    };
    tokio::select! {
        reply = asking => panic!("answered: {reply:?}"),
        () = sending => {}
    }
    assert!(sent < 16 * 1024 * 1024, "{sent} bytes were taken");
}

#[tokio::test]
async fn an_answer_may_begin_before_the_request_has_ended() {
    let backend = Backend::playing(|mut socket, _, _| async move {
        read_until(&mut socket, b"\r\n\r\n").await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        socket.write_all(head).await.unwrap();
        loop {
            let size = read_until(&mut socket, b"\r\n").await.unwrap();
            let piece = read_until(&mut socket, b"\r\n").await.unwrap();
            socket
                .write_all(format!("{size}{piece}").as_bytes())
                .await
                .unwrap();
            if piece == "\r\n" {
                return;
            }
        }
    })
    .await;
    let proxy = Proxy::new();
    let (pieces, body) = piecewise();
    let asked = Asked::with(Method::POST, &[&backend]);
    let Ok(Reply::Streamed(answer)) = proxy.reply(&asked, body).await else {
        panic!("no answer");
    };
    let mut echo = answer.into_body();
    for text in ["one", "two", "three"] {
        pieces.send(data(text)).await.unwrap();
        let frame = echo.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), text);
    }
    drop(pieces);
    assert!(echo.frame().await.is_none());
}

#[tokio::test]
async fn an_answer_that_ends_before_the_request_reaches_the_client() {
    let backend = Backend::playing(|mut socket, _, _| async move {
        read_until(&mut socket, b"\r\n\r\n").await.unwrap();
        let answer = b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig";
        socket.write_all(answer).await.unwrap();
        socket.shutdown().await.unwrap();
        // As a careful server does before it closes.
        let mut some = vec![0; PIECE_BYTES];
        for _ in 0..3 {
            socket.read_exact(&mut some).await.unwrap();
        }
    })
    .await;
    let proxy = Proxy::new();
    for _ in 0..5 {
        let (pieces, body) = piecewise();
        let feeding = tokio::task::spawn(async move {
            let piece = Bytes::from(vec![b'x'; PIECE_BYTES]);
            while pieces.send(Ok(Frame::data(piece.clone()))).await.is_ok() {}
        });
        let asked = Asked::with(Method::POST, &[&backend]);
        let answer = proxy.ask_with(&asked, body).await;
        assert_eq!((answer.status, answer.text()), (413, "big"));
        tokio::time::timeout(PATIENCE, feeding)
            .await
            .unwrap()
            .unwrap();
    }
}

fn impatient() -> UpstreamConfig {
    UpstreamConfig {
        proxy_idle_timeout: Duration::from_secs(1),
        ..UpstreamConfig::default()
    }
}

/// Begins an answer of this type, and sends one piece after each word.
async fn dripping(kind: &'static str) -> (Backend, tokio::sync::mpsc::Sender<()>) {
    let (sender, words) = tokio::sync::mpsc::channel(1);
    let words = Arc::new(tokio::sync::Mutex::new(words));
    let backend = Backend::playing(move |mut socket, _, notes| {
        let words = Arc::clone(&words);
        async move {
            notes.read_request(&mut socket).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n\r\n");
            socket.write_all(head.as_bytes()).await.unwrap();
            while words.lock().await.recv().await.is_some() {
                socket.write_all(b"data: x\n\n").await.unwrap();
            }
        }
    })
    .await;
    (backend, sender)
}

#[tokio::test]
async fn an_answer_that_stops_coming_is_broken_off() {
    let (backend, word) = dripping("text/plain").await;
    let proxy = Proxy::with(impatient());
    let Ok(Reply::Streamed(answer)) = proxy.reply(&Asked::of(&[&backend]), whole("")).await else {
        panic!("no answer");
    };
    let mut body = answer.into_body();
    word.send(()).await.unwrap();
    assert!(body.frame().await.unwrap().is_ok());
    // Nobody waits for it: that is the client's time.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    word.send(()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(body.frame().await.unwrap().is_ok());
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn server_sent_events_may_be_silent_for_long() {
    let (backend, word) = dripping("Text/Event-Stream; charset=utf-8").await;
    let proxy = Proxy::with(impatient());
    let Ok(Reply::Streamed(answer)) = proxy.reply(&Asked::of(&[&backend]), whole("")).await else {
        panic!("no answer");
    };
    let mut body = answer.into_body();
    for _ in 0..2 {
        let late = async {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            word.send(()).await.unwrap();
        };
        let (frame, ()) = tokio::join!(body.frame(), late);
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), "data: x\n\n");
    }
}

/// A stream of events went on for as long as the backend sent some, whatever had become of the session.
#[tokio::test]
async fn an_answer_of_a_secured_route_ends_with_the_token() {
    for pause in [Duration::from_millis(1), Duration::from_secs(3600)] {
        let backend = Backend::playing(move |mut socket, _, notes| async move {
            notes.read_request(&mut socket).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
            socket.write_all(head.as_bytes()).await.unwrap();
            while socket.write_all(b"data: x\n\n").await.is_ok() {
                tokio::time::sleep(pause).await;
            }
        })
        .await;
        let proxy = Proxy::new();
        let stay = proxy.stays.begin(&[], crate::telemetry::now_ms() + 300);
        let asked = Asked::of(&[&backend]);
        let reply = proxy.reply_during(Some(stay), &asked, whole("")).await;
        let Ok(Reply::Streamed(response)) = reply else {
            panic!("not streamed: {reply:?}");
        };
        let read = tokio::time::timeout(PATIENCE, response.into_body().collect());
        assert!(read.await.unwrap().is_err(), "{pause:?}");
    }
}

#[tokio::test]
async fn events_end_with_the_process_and_other_answers_are_sent_whole() {
    let backend = Backend::playing(|mut socket, number, notes| async move {
        notes.read_request(&mut socket).await;
        let kind = ["text/event-stream", "text/plain"][number];
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\nx");
        socket.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        socket.write_all(b"y").await.ok();
    })
    .await;
    let proxy = Proxy::stopping_within(Duration::ZERO, UpstreamConfig::default());
    for is_whole in [false, true] {
        let reply = proxy.reply(&Asked::of(&[&backend]), whole("")).await;
        let Ok(Reply::Streamed(response)) = reply else {
            panic!("not streamed: {reply:?}");
        };
        proxy.public.stop().await;
        let read = tokio::time::timeout(PATIENCE, response.into_body().collect());
        let read = read.await.unwrap().map(|body| body.to_bytes());
        assert_eq!(read.ok().as_deref(), is_whole.then_some(&b"xy"[..]));
    }
}

/// Sends more than the kernel keeps of a connection, as fast as it is taken.
fn large_body() -> StreamBody {
    let (pieces, body) = piecewise();
    tokio::task::spawn(async move {
        let piece = Bytes::from(vec![b'x'; PIECE_BYTES]);
        for _ in 0..256 {
            if pieces.send(Ok(Frame::data(piece.clone()))).await.is_err() {
                return;
            }
        }
    });
    body
}

/// One that paused for longer than an answer may take was given up, and the upload cut.
#[tokio::test]
async fn a_backend_may_pause_in_the_middle_of_a_request_for_as_long_as_in_an_answer() {
    let pausing = Backend::playing(|mut socket, _, _| async move {
        read_until(&mut socket, b"\r\n\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let (mut buffer, mut last) = (vec![0; PIECE_BYTES], [0; 5]);
        while last != *b"0\r\n\r\n" {
            let read = socket.read(&mut buffer).await.unwrap();
            assert!(read > 0, "cut off");
            let both = [&last[..], &buffer[..read]].concat();
            last.copy_from_slice(&both[both.len() - 5..]);
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        socket.write_all(answer).await.unwrap();
    })
    .await;
    let proxy = Proxy::with(UpstreamConfig {
        proxy_recv_timeout: Duration::from_secs(1),
        ..UpstreamConfig::default()
    });
    let asked = Asked::with(Method::POST, &[&pausing]);
    assert_eq!(proxy.ask_with(&asked, large_body()).await.status, 200);
    let stopped = Backend::playing(|socket, _, _| async move {
        std::future::pending::<()>().await;
        drop(socket);
    })
    .await;
    let proxy = Proxy::with(UpstreamConfig {
        proxy_recv_timeout: Duration::from_secs(3_600),
        proxy_idle_timeout: Duration::from_millis(500),
        ..UpstreamConfig::default()
    });
    let asked = Asked::with(Method::POST, &[&stopped]);
    let answer = proxy.ask_with(&asked, large_body()).await;
    assert_eq!((answer.status, answer.code), (504, "upstream_timeout"));
}

#[tokio::test]
async fn the_rest_of_a_request_ends_with_its_answer() {
    let (ended, has_ended) = tokio::sync::oneshot::channel();
    let ended = Mutex::new(Some(ended));
    let backend = Backend::playing(move |mut socket, _, _| {
        let ended = ended.lock().take();
        async move {
            read_until(&mut socket, b"\r\n\r\n").await.unwrap();
            let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno";
            socket.write_all(answer).await.unwrap();
            // It would read on for as long as something comes.
            let mut rest = Vec::new();
            socket.read_to_end(&mut rest).await.ok();
            ended.unwrap().send(()).unwrap();
        }
    })
    .await;
    let proxy = Proxy::new();
    let (pieces, body) = piecewise();
    let asked = Asked::with(Method::POST, &[&backend]);
    pieces.send(data("a beginning")).await.unwrap();
    let Ok(Reply::Streamed(answer)) = proxy.reply(&asked, body).await else {
        panic!("no answer");
    };
    let body = answer.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "no");
    tokio::time::timeout(PATIENCE, has_ended)
        .await
        .unwrap()
        .unwrap();
    assert!(pieces.is_closed(), "nobody wants what the client still has");
}
