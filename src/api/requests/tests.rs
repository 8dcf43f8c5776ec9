//! Messages that become requests, and answers that become messages.

use std::net::{IpAddr, Ipv4Addr};

use super::*;

const CLIENT: Client = Client {
    address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    is_tls: true,
};

fn request(data: &str) -> Result<Request, HttpError> {
    let text = format!(r#"{{"type":"rig.request","id":"1","data":{data}}}"#);
    let message = ClientMessage::parse(&text).expect("a message");
    RequestFrame::parse(&message)?.into_request(CLIENT)
}

#[tokio::test]
async fn a_message_becomes_the_request_that_it_says() {
    let data = r#"{"method":"PUT","path":"/a%20b?x=1&x=2","headers":{"X-A":"b"},"body":{"n":1.0}}"#;
    let mut request = request(data).expect("a request");
    assert_eq!(request.method, Method::PUT);
    assert_eq!(request.uri.to_string(), "/a%20b?x=1&x=2");
    assert_eq!(request.headers["x-a"], "b");
    assert_eq!(request.headers[CONTENT_TYPE], "application/json");
    assert_eq!(request.client_address(), CLIENT.address);
    assert!(request.is_tls());
    assert_eq!(request.body(100).await.unwrap(), r#"{"n":1.0}"#);
}

#[tokio::test]
async fn bodies_are_json_text_or_bytes() {
    for (members, expected) in [
        (r#""body":"text""#, &b"\"text\""[..]),
        (
            r#""headers":{"content-type":"text/plain"},"body":"text""#,
            b"text",
        ),
        (
            r#""headers":{"content-type":"application/x+json"},"body":[1, 2]"#,
            b"[1, 2]",
        ),
        (
            r#""headers":{"content-type":"image/png"},"body_base64":"AP8=""#,
            b"\x00\xff",
        ),
        (r#""headers":{}"#, b""),
    ] {
        let data = format!(r#"{{"method":"POST","path":"/",{members}}}"#);
        let mut request = request(&data).expect(members);
        assert_eq!(request.body(100).await.unwrap(), expected, "{members}");
    }
}

#[test]
fn what_is_no_request_is_refused() {
    for data in [
        "null",
        "{}",
        r#"{"method":"GET"}"#,
        r#"{"method":"GE T","path":"/"}"#,
        r#"{"method":"CONNECT","path":"/"}"#,
        r#"{"method":"TRACE","path":"/"}"#,
        r#"{"method":"GET","path":""}"#,
        r#"{"method":"GET","path":"a"}"#,
        r#"{"method":"GET","path":"*"}"#,
        r#"{"method":"GET","path":"http://evil.example/"}"#,
        r#"{"method":"GET","path":"/a b"}"#,
        r#"{"method":"GET","path":"/a\r\nx: y"}"#,
        r#"{"method":"GET","path":"/","headers":{"a b":"c"}}"#,
        r#"{"method":"GET","path":"/","headers":{"a":"b\r\nc: d"}}"#,
        r#"{"method":"GET","path":"/","headers":{"Host":"evil.example"}}"#,
        r#"{"method":"GET","path":"/","headers":{"content-length":"5"}}"#,
        r#"{"method":"GET","path":"/","headers":{"Transfer-Encoding":"chunked"}}"#,
        r#"{"method":"POST","path":"/","body":1,"body_base64":"AA=="}"#,
        r#"{"method":"POST","path":"/","body_base64":"%"}"#,
        r#"{"method":"POST","path":"/","headers":{"content-type":"text/plain"},"body":{}}"#,
        r#"{"method":"GET","path":"/","extra":1}"#,
    ] {
        let status = request(data).map(|_| ()).unwrap_err().status();
        assert!(
            status == StatusCode::BAD_REQUEST || status == StatusCode::NOT_IMPLEMENTED,
            "{data}"
        );
    }
}

#[test]
fn our_own_paths_are_not_served() {
    for path in ["/_rig/health", "/_rig/", "/_rig/v1/events?a=1"] {
        let data = format!(r#"{{"method":"GET","path":"{path}"}}"#);
        let error = request(&data).map(|_| ()).unwrap_err();
        assert_eq!(error.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert!(request(r#"{"method":"GET","path":"/_rigs"}"#).is_ok());
}

#[test]
fn a_request_needs_an_id() {
    let long = "x".repeat(MAX_ID_BYTES + 1);
    for id in [
        String::new(),
        r#","id":"""#.to_owned(),
        format!(r#","id":"{long}""#),
        r#","id":null"#.to_owned(),
        r#","id":true"#.to_owned(),
        r#","id":[7]"#.to_owned(),
        r#","id":1e400"#.to_owned(),
        r#","id":99999999999999999999"#.to_owned(),
    ] {
        let text = format!(r#"{{"type":"rig.request"{id},"data":{{"method":"GET","path":"/"}}}}"#);
        let message = ClientMessage::parse(&text).expect("a message");
        assert!(RequestFrame::parse(&message).is_err(), "{text}");
        assert!(id_of(&message).is_string(), "{text}");
    }
}

/// A number was no id, and was refused without it, so that its client waited for ever.
#[test]
fn an_id_comes_back_as_it_came() {
    for id in [
        "\"7\"",
        "7",
        "-1",
        "0",
        "18446744073709551615",
        "1.5",
        "\"ü\"",
    ] {
        let text =
            format!(r#"{{"type":"rig.request","id":{id},"data":{{"method":"GET","path":"/"}}}}"#);
        let message = ClientMessage::parse(&text).expect("a message");
        assert!(RequestFrame::parse(&message).is_ok(), "{text}");
        assert_eq!(id_of(&message).to_string(), id);
    }
}

async fn answered(content_type: &str, body: &'static [u8]) -> Value {
    let response = Response::builder()
        .status(203)
        .header(CONTENT_TYPE, content_type)
        .header(SET_COOKIE, "a=b")
        .header("x-two", "1")
        .header("x-two", "2")
        .body(crate::http::Body::new(Bytes::from_static(body)))
        .unwrap();
    answer("7".into(), response.into()).await
}

#[tokio::test]
async fn answers_have_the_id_the_status_the_headers_and_the_body() {
    let told = answered("application/json; charset=utf-8", b"{\"a\":1}").await;
    let expected = json!({
        "id": "7",
        "status": 203,
        "headers": { "content-type": "application/json; charset=utf-8", "x-two": ["1", "2"] },
        "body": { "a": 1 },
    });
    assert_eq!(told, expected);
    assert_eq!(answered("text/plain", b"hi").await["body"], "hi");
    assert_eq!(
        answered("image/png", b"\x00\xff").await["body_base64"],
        "AP8="
    );
    assert_eq!(
        answered("application/json", b"not json").await["body_base64"],
        "bm90IGpzb24="
    );
    assert_eq!(answered("text/plain", b"").await.get("body"), None);
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_said_to_be() {
    let body = Bytes::from(vec![b'x'; MAX_ANSWER_BYTES + 1]);
    let told = answer(
        "7".into(),
        Response::new(crate::http::Body::new(body)).into(),
    )
    .await;
    assert_eq!((&told["id"], &told["status"]), (&json!("7"), &json!(502)));
    assert_eq!(told["body"]["code"], "answer_too_large");
}

/// A body of which nothing comes.
struct Endless;

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

/// A stream was waited for without an end, and eight of them stopped the reading of the socket.
#[tokio::test(start_paused = true)]
async fn what_does_not_end_is_not_waited_for() {
    for (content_type, status, code) in [
        ("text/event-stream", 400, "not_for_a_message"),
        (
            "Text/Event-Stream ; charset=utf-8",
            400,
            "not_for_a_message",
        ),
        ("text/plain", 504, "answer_too_slow"),
    ] {
        let response = Response::builder().header(CONTENT_TYPE, content_type);
        let response = response.body(Endless.boxed_unsync()).unwrap();
        let told = answer(7.into(), Reply::Streamed(response)).await;
        assert_eq!((&told["id"], &told["status"]), (&json!(7), &json!(status)));
        assert_eq!(told["body"]["code"], code, "{content_type}");
    }
}
