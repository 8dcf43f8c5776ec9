//! Routes that only somebody with a token may use, and the pages of browsers that use routes.

use serde_json::{Value, json};

use crate::support::commands::{Backend, Headers, Worker, api, said};
use crate::support::gateway::{Gateway, Settings, eventually, unique};
use crate::support::http::{self, Answer};
use crate::support::kafka::Kafka;
use crate::support::program::{self, Process};
use crate::support::sessions::end;
use crate::support::tokens::{SECRET, signed, token, token_for};

const PAGE: &str = "https://app.example";

/// Where tokens may stand: the name of an API, with its `auth`, and its path.
const PLACES: [(&str, &str); 4] = [
    ("default", r#"{}"#),
    (
        "bearer",
        r#"{"use_header":true,"header_name":"Authorization","use_query":false,"query_name":""}"#,
    ),
    ("header", r#"{"use_header":true,"header_name":"X-Token"}"#),
    ("query", r#"{"use_query":true,"query_name":"token"}"#),
];

/// Returns APIs with one secured route each, and one where both places are good, beside one that is open.
fn apis(backend: &Backend) -> Vec<Value> {
    let both = (
        "both",
        r#"{"use_header":true,"header_name":"authorization","use_query":true,"query_name":"t"}"#,
    );
    let mut apis: Vec<Value> = PLACES
        .iter()
        .chain([&both])
        .map(|(name, auth)| {
            let endpoints = json!([{ "id": name, "method": "GET", "path_regex": format!("/{name}"), "secured": true }]);
            let mut api = api(name, backend.address, endpoints);
            api["auth"] = serde_json::from_str(auth).unwrap();
            api
        })
        .collect();
    let open = json!([{ "id": "open", "method": "GET", "path_regex": "/open" }]);
    apis.push(api("open", backend.address, open));
    apis
}

async fn get(gateway: &Gateway, target: &str, headers: &[(&str, &str)]) -> Answer {
    http::request(gateway.public(), "GET", target, headers, b"").await
}

/// Asserts that a request was refused for want of a good token, so that the page that sent it may read why.
fn assert_refused(answer: &Answer, challenge: &str, what: &str) {
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 401, "{what}: {text}");
    answer.problem(401);
    assert_eq!(answer.header("www-authenticate"), Some(challenge), "{what}");
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some(PAGE),
        "{what}"
    );
    assert_eq!(
        answer.header("access-control-allow-credentials"),
        Some("true"),
        "{what}"
    );
}

const NEEDED: &str = "Bearer";
const INVALID: &str = "Bearer error=\"invalid_token\"";

pub async fn with_tokens_where_they_are_configured(kafka: &'static Kafka) {
    let mut backend = Backend::saying(200, "in").await;
    let settings = Settings::new(kafka)
        .with_tokens()
        .with("CORS", PAGE)
        .with_apis(&apis(&backend));
    let gateway = Gateway::with(settings).await;
    let good = token("alice", "a1");
    let bearer = format!("Bearer {good}");
    let in_authorization = [("origin", PAGE), ("authorization", bearer.as_str())];
    let in_header = [("origin", PAGE), ("x-token", good.as_str())];
    let after_bearer = [("origin", PAGE), ("x-token", bearer.as_str())];
    let nowhere = [("origin", PAGE)];
    let shown: [(&str, Headers<'_>, String, &[&str]); 7] = [
        ("nothing", &nowhere, String::new(), &["open"]),
        (
            "authorization",
            &in_authorization,
            String::new(),
            &["default", "bearer", "both", "open"],
        ),
        ("header", &in_header, String::new(), &["header", "open"]),
        (
            "bearer in header",
            &after_bearer,
            String::new(),
            &["header", "open"],
        ),
        (
            "token=",
            &nowhere,
            format!("?a=1&token={good}&a=%20"),
            &["query", "open"],
        ),
        (
            "t=",
            &nowhere,
            format!("?a=1&t={good}&a=%20"),
            &["both", "open"],
        ),
        ("jwt=", &nowhere, format!("?jwt={good}"), &["open"]),
    ];
    for (what, headers, query, opens) in &shown {
        for name in ["default", "bearer", "header", "query", "both", "open"] {
            let answer = get(&gateway, &format!("/{name}{query}"), headers).await;
            let what = format!("{what} at {name}");
            if !opens.contains(&name) {
                assert_refused(&answer, NEEDED, &what);
                backend.got_no_more();
                continue;
            }
            assert_eq!((answer.status, answer.text()), (200, "in"), "{what}");
            let seen = backend.next().await;
            // A token of the query is taken out where it was looked for, and all else goes on as it came.
            let is_taken_out = ["query", "both"].contains(&name) && !query.is_empty();
            let query = if is_taken_out { "?a=1&a=%20" } else { query };
            assert_eq!(seen.target, format!("/{name}{query}"), "{what}");
            for header in ["authorization", "x-token"] {
                let sent = headers.iter().find(|(name, _)| *name == header);
                let mut expected = sent.map(|(_, value)| *value);
                // A token that was verified is in the header that there is for it, wherever it came.
                if is_taken_out && name == "both" && header == "authorization" {
                    expected = Some(&bearer);
                }
                assert_eq!(seen.header(header), expected, "{what}");
            }
        }
    }
    gateway.stop().await;
}

/// A backend that leaves the signature to the gateway may decide by whatever token it finds.
pub async fn and_hands_on_no_token_but_the_one_it_verified(kafka: &'static Kafka) {
    let mut backend = Backend::saying(200, "in").await;
    let mut apis = apis(&backend);
    let secured = json!([{ "id": "two", "method": "GET", "path_regex": "/two", "secured": true }]);
    let mut two = api("two", backend.address, secured);
    two["auth"] = serde_json::from_str(
        r#"{"use_header":true,"header_name":"x-token","use_query":true,"query_name":"t"}"#,
    )
    .unwrap();
    apis.push(two);
    let settings = Settings::new(kafka).with_tokens().with_apis(&apis);
    let gateway = Gateway::with(settings).await;
    let good = token("mallory", "m1");
    let forged = token("admin", "a1") + "x";
    let (bearer, of_admin) = (format!("Bearer {good}"), format!("Bearer {forged}"));
    let both = format!("{of_admin}, {bearer}");
    let in_query = format!("/two?t={good}");
    let basic = "Basic YWRtaW46YWRtaW4=";
    let cases: [(&str, Headers<'_>, &str, &str); 6] = [
        (
            "/default",
            &[("authorization", &of_admin), ("authorization", &bearer)],
            "authorization",
            &bearer,
        ),
        (
            "/default",
            &[("authorization", &both)],
            "authorization",
            &bearer,
        ),
        (
            "/default",
            &[("authorization", basic), ("authorization", &bearer)],
            "authorization",
            &bearer,
        ),
        (&in_query, &[("x-token", &forged)], "x-token", &good),
        (&in_query, &[], "x-token", &good),
        (
            "/header",
            &[("x-token", &good), ("connection", "x-token")],
            "x-token",
            &good,
        ),
    ];
    for (target, headers, name, expected) in cases {
        let answer = get(&gateway, target, headers).await;
        assert_eq!(answer.status, 200, "{target} {headers:?}");
        let seen = backend.next().await;
        let sent: Vec<_> = seen.headers.get_all(name).iter().collect();
        assert_eq!(sent, [expected], "{target} {headers:?}");
        assert!(!seen.target.contains(&good), "{target}");
    }
    assert_eq!(
        get(&gateway, "/default", &[("authorization", &of_admin)])
            .await
            .status,
        401
    );
    gateway.stop().await;
}

pub async fn with_good_tokens_alone(kafka: &'static Kafka) {
    let mut backend = Backend::saying(200, "in").await;
    let settings = Settings::new(kafka)
        .with_tokens()
        .with("CORS", PAGE)
        .with_apis(&apis(&backend));
    let one = Gateway::with(settings.clone()).await;
    let other = Gateway::with(settings).await;
    let good = token("alice", "a1");
    let expired = token_for("alice", "a2", -60);
    let altered = format!("{}x", &good[..good.len() - 1]);
    let unsigned = format!("{}.", &good[..good.rfind('.').unwrap()]);
    let killed = token("bob", "b1");
    assert_eq!(end(other.internal(), "b1").await, 201);
    let try_with = async |gateway: &Gateway, tokens: &[&str]| {
        let tokens: Vec<String> = tokens
            .iter()
            .map(|token| format!("Bearer {token}"))
            .collect();
        let list = tokens.join(", ");
        let headers = [("origin", PAGE), ("authorization", list.as_str())];
        get(gateway, "/default", &headers).await
    };
    eventually("the session is ended everywhere", async || {
        try_with(&one, &[&killed]).await.status == 401
    })
    .await;
    backend.skip();
    for bad in [&*expired, &altered, &unsigned, &killed, "nonsense"] {
        for gateway in [&one, &other] {
            assert_refused(&try_with(gateway, &[bad]).await, INVALID, bad);
            assert_refused(&try_with(gateway, &[bad, &expired]).await, INVALID, bad);
            backend.got_no_more();
            // Of several, one that is good is enough.
            for several in [[bad, &good], [&good, bad]] {
                assert_eq!(try_with(gateway, &several).await.status, 200, "{bad}");
                backend.next().await;
            }
        }
    }
    // A fifth is not looked at: each is verified.
    let many = [&*expired, &*expired, &*expired, &*expired, &*good];
    assert_refused(&try_with(&one, &many).await, INVALID, "many");
    // Where it does not matter, nobody looks.
    let headers = [("authorization", "Bearer nonsense")];
    assert_eq!(get(&one, "/open", &headers).await.status, 200);
    one.stop().await;
    other.stop().await;
}

/// In no answer, no log, no metric and no record.
pub async fn without_telling_tokens(kafka: &'static Kafka) {
    let mut backend = Backend::saying(404, "out").await;
    let (topic, log) = (unique("commands"), unique("log"));
    let mut apis = apis(&backend);
    let mut to_kafka = json!([{ "id": "record", "method": "POST", "path_regex": "/record", "target": "kafka",
        "topic": topic, "secured": true },
        { "id": "open-record", "method": "POST", "path_regex": "/open-record", "target": "kafka", "topic": topic }]);
    to_kafka[0]["key"] = json!("session");
    let mut record = api("record", backend.address, to_kafka);
    record["auth"] = serde_json::from_str(
        r#"{"use_header":true,"header_name":"x-token","use_query":true,"query_name":"token"}"#,
    )
    .unwrap();
    apis.push(record);
    let settings = program::settings(kafka)
        .with("JWT_SECRET_KEY", SECRET)
        .with("LOG_LEVEL", "debug")
        .with("REQUEST_LOG", "console,kafka")
        .with("KAFKA_LOG_TOPIC", &log)
        .with_apis(&apis);
    kafka.create(&topic, 1).await;
    kafka.create(&log, 1).await;
    let process = Process::start_unready(&settings);
    process.ready().await;
    let secret = token("alice", "a-session");
    let forged = signed(&json!({ "jti": "x" })) + "x";
    let mut answers = String::new();
    for token in [&secret, &forged] {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        for target in [
            format!("/default?jwt={token}"),
            format!("/query?token={token}"),
            format!("/nowhere?token={token}"),
        ] {
            let answer = http::request(process.public, "GET", &target, &headers, b"").await;
            answers += &format!(
                "{:?} {}",
                answer.headers,
                String::from_utf8_lossy(&answer.body)
            );
        }
        for (target, headers) in [
            (format!("/record?a=1&token={token}"), &[][..]),
            (
                "/record".to_owned(),
                &[("x-token", token.as_str()), headers[0]],
            ),
            // A page sends its token whether it is asked for or not.
            (
                format!("/open-record?a=1&token={token}"),
                &[("x-token", token.as_str())],
            ),
        ] {
            let answer = http::request(process.public, "POST", &target, headers, b"{}").await;
            answers += &format!(
                "{:?} {}",
                answer.headers,
                String::from_utf8_lossy(&answer.body)
            );
        }
    }
    let seen = [backend.next().await, backend.next().await];
    assert_eq!(seen[1].target, "/query");
    let mut said = answers;
    eventually("the requests are logged", async || {
        kafka.whole_records(&log).await.len() >= 10
    })
    .await;
    let records = kafka.whole_records(&topic).await;
    assert_eq!(records.len(), 4);
    for record in records.iter().chain(&kafka.whole_records(&log).await) {
        said += &format!("{:?} {:?} ", record.key, record.headers);
        said += &String::from_utf8_lossy(&record.value);
    }
    let metrics = http::request(process.internal, "GET", "/metrics", &[], b"").await;
    said += metrics.text();
    said += &process.written().await;
    assert!(said.contains("DEBUG"), "it says what it does");
    for token in [&secret, &forged] {
        for part in token.split('.').skip(1) {
            let found = said.find(part).map(|at| &said[at.saturating_sub(200)..at]);
            assert_eq!(found, None);
        }
    }
}

pub async fn for_pages_that_ask_beforehand(kafka: &'static Kafka) {
    let mut backend = Backend::start(|seen| {
        let mut response = said(if seen.method == "OPTIONS" { 204 } else { 202 }, "");
        let headers = response.headers_mut();
        headers.insert(
            "access-control-allow-origin",
            "https://of.the.backend".parse().unwrap(),
        );
        response
    })
    .await;
    let topic = unique("commands");
    let endpoints = json!([
        { "id": "record", "method": "POST", "path_regex": "/record", "target": "kafka", "topic": topic, "secured": true },
        { "id": "old", "method": "POST", "path_regex": "/old", "target": "kafka", "topic": topic },
        { "id": "old-preflight", "method": "OPTIONS", "path_regex": "/old", "target": "kafka", "topic": topic },
        { "id": "async", "method": "PUT", "path_regex": "/async", "response_from": "http_async" },
        { "id": "subject", "method": "POST", "path_regex": "/subject", "target": "nats", "topic": "s" },
        { "id": "direct", "method": "POST", "path_regex": "/direct" },
        { "id": "direct-preflight", "method": "OPTIONS", "path_regex": "/direct" },
        { "id": "mute", "method": "POST", "path_regex": "/mute" },
    ]);
    let settings = Settings::new(kafka)
        .with_tokens()
        .with("CORS", PAGE)
        .with_apis(&[api("test", backend.address, endpoints)]);
    let mut worker = Worker::start(kafka, &topic, &settings).await;
    let gateway = Gateway::with(settings).await;
    let preflight = async |path: &str, origin: &str, method: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", method),
            (
                "access-control-request-headers",
                "content-type,authorization,idempotency-key,x-own",
            ),
        ];
        http::request(gateway.public(), "OPTIONS", path, &headers, b"").await
    };
    for (path, method) in [("/record", "POST"), ("/async", "PUT"), ("/subject", "POST")] {
        let allowed = preflight(path, PAGE, method).await;
        assert_eq!(allowed.status, 204, "{path}");
        assert_eq!(allowed.header("access-control-allow-origin"), Some(PAGE));
        assert_eq!(
            allowed.header("access-control-allow-credentials"),
            Some("true")
        );
        assert!(
            allowed
                .header("access-control-allow-methods")
                .unwrap()
                .contains(method)
        );
        let headers = allowed.header("access-control-allow-headers");
        assert_eq!(
            headers,
            Some("content-type,authorization,idempotency-key,x-own")
        );
        let foreign = preflight(path, "https://evil.example", method).await;
        assert_eq!(
            foreign.header("access-control-allow-origin"),
            None,
            "{path}"
        );
    }
    backend.got_no_more();
    worker.got_no_more();
    // RIG's definitions have such endpoints.
    let old = preflight("/old", PAGE, "POST").await;
    assert_eq!(
        (old.status, old.header("access-control-allow-origin")),
        (204, Some(PAGE))
    );
    // Which pages may use a backend, the backend says.
    let direct = preflight("/direct", PAGE, "POST").await;
    assert_eq!(direct.status, 204);
    let allowed: Vec<_> = direct.all("access-control-allow-origin").collect();
    assert_eq!(allowed, ["https://of.the.backend"]);
    assert_eq!(backend.next().await.method, "OPTIONS");
    assert_eq!(preflight("/mute", PAGE, "POST").await.status, 405);
    backend.got_no_more();
    let bearer = format!("Bearer {}", token("alice", "a1"));
    let headers = [
        ("origin", PAGE),
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("sec-fetch-site", "cross-site"),
    ];
    let posted = http::request(gateway.public(), "POST", "/record", &headers, b"{}").await;
    assert_eq!(posted.status, 202, "{}", posted.text());
    assert_eq!(posted.header("access-control-allow-origin"), Some(PAGE));
    worker.next().await;
    let later = [&headers[..], &[("prefer", "respond-async")]].concat();
    let told = http::request(gateway.public(), "PUT", "/async", &later, b"{}").await;
    assert_eq!(told.status, 202);
    let exposed = told.header("access-control-expose-headers").unwrap();
    assert!(
        exposed.split(", ").any(|name| name == "location"),
        "{exposed}"
    );
    assert_eq!(told.header("access-control-allow-origin"), Some(PAGE));
    let seen = backend.next().await;
    assert_eq!((&*seen.method, seen.header("origin")), ("PUT", Some(PAGE)));
    gateway.stop().await;
}
