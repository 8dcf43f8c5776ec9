//! Requests whose end could be found in two places (RFC 9112, 6 and 11.2).

use super::Ground;
use crate::support::kafka::Kafka;

const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

/// What has two ends, or none that everybody finds, is nobody's request.
pub async fn which_is_disputable(kafka: &Kafka) {
    let ground = Ground::new(kafka).await;
    let length = HIDDEN.len() + 5;
    for lines in [
        // CL.TE and TE.CL.
        format!("content-length: {length}\r\ntransfer-encoding: chunked"),
        format!("transfer-encoding: chunked\r\ncontent-length: {length}"),
        "transfer-encoding: chunked\r\nContent-Length: 4".to_owned(),
        "content-length: 0\r\ntransfer-encoding: chunked".to_owned(),
        // CL.CL.
        format!("content-length: 0\r\ncontent-length: {length}"),
        "content-length: 5\r\ncontent-length: 5".to_owned(),
        "content-length: 5, 5".to_owned(),
        format!("content-length: 0, {length}"),
        "content-length: +5".to_owned(),
        "content-length: -5".to_owned(),
        "content-length: 0x5".to_owned(),
        "content-length: 5 5".to_owned(),
        "content-length: 5;".to_owned(),
        "content-length: 99999999999999999999999999".to_owned(),
        "content-length:".to_owned(),
        "content-length: five".to_owned(),
        "content-length : 5".to_owned(),
        "content-length\t: 5".to_owned(),
        "content-length:\r\n 5".to_owned(),
        // TE that some understand and others do not.
        "transfer-encoding : chunked".to_owned(),
        "transfer-encoding: \x0bchunked".to_owned(),
        "transfer-encoding: chunked, identity".to_owned(),
        "transfer-encoding: identity, chunked".to_owned(),
        "transfer-encoding: identity".to_owned(),
        "transfer-encoding: gzip, chunked".to_owned(),
        "transfer-encoding: chunked, chunked".to_owned(),
        "transfer-encoding: xchunked".to_owned(),
        "transfer-encoding: chunkedx".to_owned(),
        "transfer-encoding: chunked;q=1".to_owned(),
        "transfer-encoding: \"chunked\"".to_owned(),
        "transfer-encoding:\r\n chunked".to_owned(),
        "transfer-encoding: chunked\r\n x".to_owned(),
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked".to_owned(),
        "transfer-encoding: chunked\r\ntransfer-encoding: cow".to_owned(),
        "transfer-encoding: cow\r\ntransfer-encoding: chunked".to_owned(),
        "transfer-encoding:\x00chunked".to_owned(),
        "x: y\rtransfer-encoding: chunked".to_owned(),
        " transfer-encoding: chunked".to_owned(),
        "transfer-encoding".to_owned(),
    ] {
        for version in ["1.1", "1.0"] {
            let head = format!("POST / HTTP/{version}\r\nhost: a\r\nconnection: close\r\n{lines}");
            let request = format!("{head}\r\n\r\n0\r\n\r\n{HIDDEN}");
            ground.refused(request.as_bytes(), &[400], &head).await;
        }
    }
    // A version that has no such coding.
    let old = format!(
        "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"
    );
    ground
        .refused(old.as_bytes(), &[400], "chunked in 1.0")
        .await;
    ground.gateway.stop().await;
}

/// A body is no request, whatever it looks like.
pub async fn which_hides_another_request(kafka: &Kafka) {
    let ground = Ground::new(kafka).await;
    let chunk = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    let with_extension = format!(
        "{:X};a=\"0\\\"\";b\r\n{HIDDEN}\r\n000\r\n\r\n",
        HIDDEN.len()
    );
    let in_trailers = format!(
        "{:x}\r\n{HIDDEN}\r\n0\r\nx: GET /smuggled HTTP/1.1\r\n\r\n",
        HIDDEN.len()
    );
    for (lines, body) in [
        (
            format!("content-length: {}", HIDDEN.len()),
            HIDDEN.to_owned(),
        ),
        // The rest belongs to nothing, as the connection ends.
        (
            format!("content-length: {}", HIDDEN.len()),
            format!("{HIDDEN}{HIDDEN}"),
        ),
        ("transfer-encoding: chunked".to_owned(), chunk.clone()),
        (
            "Transfer-Encoding: CHUNKED".to_owned(),
            format!("{chunk}{HIDDEN}"),
        ),
        ("transfer-encoding:\tchunked ".to_owned(), with_extension),
        ("transfer-encoding: chunked".to_owned(), in_trailers),
    ] {
        for method in ["POST", "GET", "DELETE", "OPTIONS"] {
            let head =
                format!("{method} /outer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{lines}");
            let request = format!("{head}\r\n\r\n{body}");
            let sent = ground.forwarded(request.as_bytes(), &head).await;
            assert_eq!(sent.line(), format!("{method} /outer HTTP/1.1"), "{head}");
            assert_eq!(sent.body, HIDDEN.as_bytes(), "{head}");
        }
    }
    // Lines that end with LF alone are lines (RFC 9112, 2.2), and go on as others do.
    let request = "POST /outer HTTP/1.1\nhost: a\nconnection: close\ncontent-length: 2\n\nab";
    let sent = ground.forwarded(request.as_bytes(), "LF").await;
    assert_eq!(sent.body, b"ab");
    ground.gateway.stop().await;
}

/// A body that cannot be read to its end makes no request at the backend.
pub async fn which_is_never_told(kafka: &Kafka) {
    let ground = Ground::new(kafka).await;
    for body in [
        "-1\r\na\r\n0\r\n\r\n",
        "+1\r\na\r\n0\r\n\r\n",
        "0x1\r\na\r\n0\r\n\r\n",
        "g\r\n",
        "\r\n\r\n",
        "1\ra\r\n0\r\n\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        "1\r\na0\r\n\r\n",
        "1\r\na\n0\r\n\r\n",
        "1;\n0\r\n\r\na\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\na",
        "10000000000000001\r\na\r\n0\r\n\r\n",
        "1 1\r\na\r\n0\r\n\r\n",
        "1\r\na\r\n0\r\nGET /smuggled HTTP/1.1\r\n\r\n",
        "1\r\na\r\n0\r\n x: y\r\n\r\n",
        "1\r\na\r\n0\r\nx y: z\r\n\r\n",
    ] {
        let head = "POST /outer HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked";
        let request = format!("{head}\r\n\r\n{body}{HIDDEN}");
        ground.refused(request.as_bytes(), &[400], body).await;
    }
    let long = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(100_000));
    let head = "POST /outer HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked";
    let request = format!("{head}\r\n\r\n{long}{HIDDEN}");
    ground
        .refused(request.as_bytes(), &[400], "a long extension")
        .await;
    let many = format!("1\r\na\r\n0\r\n{}\r\n", "x: y\r\n".repeat(20_000));
    let request = format!("{head}\r\n\r\n{many}{HIDDEN}");
    ground
        .refused(request.as_bytes(), &[400], "many trailers")
        .await;
    ground.gateway.stop().await;
}
