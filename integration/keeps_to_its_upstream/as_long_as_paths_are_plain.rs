//! Targets that lead elsewhere for somebody (RFC 9112, 3.2; RFC 3986, 5.2.4).

use serde_json::json;

use super::Ground;
use crate::support::kafka::Kafka;
use crate::support::routes::replacing;

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
}

/// What is read in one way only goes to the backend, under this path; a host in it is text.
pub async fn and_name_no_host(kafka: &Kafka) {
    let ground = Ground::new(kafka).await;
    let trap = ground.trap.address();
    for (target, expected) in [
        (format!("http://{trap}/x?y"), "/x?y".to_owned()),
        (format!("https://{trap}/x"), "/x".to_owned()),
        (format!("http://{trap}"), "/".to_owned()),
        (format!("http://{trap}?a"), "/?a".to_owned()),
        (format!("/http://{trap}/"), String::new()),
        (format!("/@{trap}/"), String::new()),
        (format!("/:{}/", trap.port()), String::new()),
        (format!("/a@{trap}"), String::new()),
        (format!("/x//{trap}/y"), String::new()),
        (format!("/;@{trap}/"), String::new()),
        (
            format!("/?u=http://{trap}/&x=@{trap}#"),
            format!("/?u=http://{trap}/&x=@{trap}"),
        ),
        (
            format!("/?@{trap}/../..//%2e%2e/%0d%0aHost:{trap}%00\\"),
            String::new(),
        ),
        ("/a%20HTTP/1.1".to_owned(), String::new()),
        ("/a..b/.c/d../...".to_owned(), String::new()),
    ] {
        let expected = if expected.is_empty() {
            &target
        } else {
            &expected
        };
        let sent = ground.forwarded(get(&target).as_bytes(), &target).await;
        assert_eq!(sent.target(), *expected);
    }
    ground.gateway.stop().await;
}

/// What two servers could read in two ways goes nowhere.
pub async fn and_are_refused_otherwise(kafka: &Kafka) {
    let ground = Ground::new(kafka).await;
    let trap = ground.trap.address();
    for target in [
        format!("//{trap}/x"),
        format!("///{trap}/x"),
        format!("//a@{trap}/x"),
        format!("/\\{trap}/x"),
        format!("\\\\{trap}/x"),
        format!("/%5c{trap}/x"),
        format!("/%2f{trap}/x"),
        format!("/%2F%2F{trap}/x"),
        format!("@{trap}/x"),
        format!(":{}/x", trap.port()),
        trap.to_string(),
        "localhost".to_owned(),
        format!("http:{trap}/x"),
        format!("http:/{trap}/x"),
        format!("http://a@{trap}//x"),
        format!("http://{trap}//{trap}/x"),
        format!("http://{trap}/../x"),
        "/..".to_owned(),
        "/../x".to_owned(),
        "/a/../x".to_owned(),
        "/a/./x".to_owned(),
        "/..%2fx".to_owned(),
        "/..%5cx".to_owned(),
        "/%2e%2e/x".to_owned(),
        "/%2E./x".to_owned(),
        "/.%2e".to_owned(),
        "/%252e%252e/x".to_owned(),
        "/..;/x".to_owned(),
        "/..;a=b/x".to_owned(),
        "/..%3b/x".to_owned(),
        "/a%2fx".to_owned(),
        "/a\\x".to_owned(),
        "/a%5Cx".to_owned(),
        "/a%00".to_owned(),
        "/a%0d%0aHost:%20evil".to_owned(),
        "/a%0a".to_owned(),
        "/a%09b".to_owned(),
        "/a%7f".to_owned(),
        "/a%c0%ae%c0%ae/x".to_owned(),
        "/a%c0%af".to_owned(),
        "/a%ff".to_owned(),
        "/a%".to_owned(),
        "/a%4".to_owned(),
        "/a%zz".to_owned(),
        "/a%u002e".to_owned(),
        "/a\tb".to_owned(),
        "/a b".to_owned(),
        "/a\rb".to_owned(),
        "/a?x\rb".to_owned(),
        "/a\0".to_owned(),
        "?x".to_owned(),
        "#".to_owned(),
        "a".to_owned(),
    ] {
        ground
            .refused(get(&target).as_bytes(), &[400], &target)
            .await;
    }
    // What is no path at all.
    ground
        .refused(get("*").as_bytes(), &[400, 404, 405], "*")
        .await;
    let options = "OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    ground
        .refused(options.as_bytes(), &[400, 404, 405], "OPTIONS *")
        .await;
    let connect = format!("CONNECT {trap} HTTP/1.1\r\nhost: {trap}\r\n\r\n");
    ground.refused(connect.as_bytes(), &[501], "CONNECT").await;
    // A line end in a target is the end of the request line, and the rest is a head or nonsense.
    for target in ["/a\r\nx: y\r\n\r\nGET /smuggled", "/a\nx: y"] {
        ground.refused(get(target).as_bytes(), &[400], target).await;
    }
    ground.gateway.stop().await;
}

/// No spelling of a path leads to a backend past the token that its route asks for.
pub async fn and_lead_past_no_token(kafka: &Kafka) {
    let ground = Ground::new(kafka).await;
    for target in [
        "/admin",
        "/admin/",
        "/admin/x",
        "/ADMIN",
        "/Admin/X",
        "/%61dmin",
        "/%41DMIN",
        "/ad%6din/x",
        "/%61%64%6d%69%6e",
        "/%2561dmin",
        "/admin;x",
        "/admin;x=y/z",
        "/admin;/x",
        "/;/admin",
        "/;x/admin",
        "/;a/;b/admin;c",
        "//admin",
        "///admin",
        "/.//admin",
        "/./admin",
        "/%2e/admin",
        "/x/../admin",
        "/x/%2e%2e/admin",
        "/x/..;/admin",
        "/admin//x",
        "/admin//",
        "/admin/.",
        "/admin/..",
        "/admin/../x",
        "/admin%2f",
        "/admin%2fx",
        "/admin%3bx",
        "/admin%5cx",
        "/admin\\x",
        "/\\admin",
        "/admin%00",
        "/admin%0a",
        "/admin?",
        "/admin?x=/y",
        "/admin#x",
        "/admin%23",
        "/admin%3Fx",
        "/admin%20",
        "/admin.",
        "http://a/admin",
        "http://a//admin",
        // U+017F and U+212A are letters of ASCII where case is folded, and here.
        "/adm%C4%B1n/../admin",
    ] {
        for method in ["GET", "HEAD"] {
            let request = get(target).replacen("GET", method, 1);
            let what = format!("{method} {target}");
            ground.refused(request.as_bytes(), &[400, 401], &what).await;
        }
    }
    // One that shows a token that is none, or one in a wrong place.
    for lines in [
        "authorization: Bearer x",
        "authorization: Basic x",
        "cookie: jwt=x",
        "x-jwt: x",
    ] {
        let request = get("/admin").replacen("connection", &format!("{lines}\r\nconnection"), 1);
        ground.refused(request.as_bytes(), &[401], lines).await;
    }
    let token = crate::support::tokens::token("alice", "s1");
    let request = get("/admin").replacen(
        "connection",
        &format!("authorization: Bearer {token}\r\nconnection"),
        1,
    );
    let sent = ground.forwarded(request.as_bytes(), "a good token").await;
    assert_eq!(sent.target(), "/admin");
    ground.gateway.stop().await;
}

/// What is put into another path stays in its place there.
pub async fn and_stay_so_when_they_are_replaced(kafka: &Kafka) {
    let more = json!([
        replacing("/go(/.*)", r"\1"),
        replacing("/to/(.*)", r"/\1"),
        replacing("/in/(.*)/out", r"/a/\1/b"),
        replacing("/cut(.*)", r"/x\1"),
    ]);
    let ground = Ground::with(kafka, more).await;
    let trap = ground.trap.address();
    for target in [
        format!("/go//{trap}/x"),
        format!("/to//{trap}/x"),
        format!("/go/\\{trap}"),
        format!("/to/\\{trap}"),
        format!("/to/%5c{trap}"),
        format!("/to/%2f{trap}"),
        "/to/../x".to_owned(),
        "/to/%2e%2e/x".to_owned(),
        "/to/..".to_owned(),
        "/to/..;/x".to_owned(),
        "/in/../../c/out".to_owned(),
        "/in/%2e%2e/out".to_owned(),
        "/in/x%0d%0a/out".to_owned(),
        "/cut/../x".to_owned(),
    ] {
        ground
            .refused(get(&target).as_bytes(), &[400], &target)
            .await;
    }
    for (target, expected) in [
        (format!("/to/{trap}/x"), format!("/{trap}/x")),
        (format!("/to/http://{trap}/x"), format!("/http://{trap}/x")),
        (format!("/to/@{trap}"), format!("/@{trap}")),
        (format!("/cut:80@{trap}"), format!("/x:80@{trap}")),
        (
            "/in/a%3fb%23c/out?d".to_owned(),
            "/a/a%3fb%23c/b?d".to_owned(),
        ),
        (
            r"/in/%5B1%5D\1/out".replace('\\', "$"),
            "/a/%5B1%5D$1/b".to_owned(),
        ),
        ("/to/".to_owned(), "/".to_owned()),
    ] {
        let sent = ground.forwarded(get(&target).as_bytes(), &target).await;
        assert_eq!(sent.target(), expected, "{target}");
    }
    ground.gateway.stop().await;
}
