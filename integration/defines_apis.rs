//! APIs that operators define: in a file, and over the internal port while everything runs.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::gateway::{Gateway, Settings, eventually};
use crate::support::http::{self, Answer};
use crate::support::kafka::Kafka;
use crate::support::program::run;
use crate::support::tokens::token;

/// An API with one endpoint for `GET`.
fn api(id: &str, path: &str) -> Value {
    json!({
        "id": id, "name": id, "proxy": { "target_url": "http://127.0.0.1", "port": 1 },
        "version_data": { "default": { "endpoints": [{ "id": "e", "method": "GET", "path_regex": path }] } },
    })
}

async fn send(gateway: &Gateway, method: &str, target: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/json")];
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    http::request(
        gateway.internal(),
        method,
        target,
        &headers,
        body.as_bytes(),
    )
    .await
}

async fn get(gateway: &Gateway, target: &str) -> Answer {
    send(gateway, "GET", target, &Value::Null).await
}

/// The ids of those that are in use, in their order.
async fn ids(gateway: &Gateway) -> Vec<String> {
    let list = get(gateway, "/v3/apis").await;
    let ids = list.json().as_array().unwrap().clone();
    ids.iter()
        .map(|api| api["id"].as_str().unwrap().to_owned())
        .collect()
}

fn ok() -> Value {
    json!({ "message": "ok" })
}

fn missing(id: &str) -> (u16, Value) {
    (
        404,
        json!({ "message": format!("API with id={id} doesn't exists.") }),
    )
}

fn told(answer: &Answer) -> (u16, Value) {
    assert_eq!(answer.header("content-type"), Some("application/json"));
    (answer.status, answer.json())
}

pub async fn that_all_instances_have_and_keep(kafka: &Kafka) {
    let settings = Settings::new(kafka);
    let one = Gateway::with(settings.clone()).await;
    let other = Gateway::with(settings.clone()).await;
    let made = send(&one, "POST", "/v3/apis", &api("books/ü", "/books")).await;
    assert_eq!(told(&made), (201, ok()));
    // The instance that was asked has it at once, the other one soon.
    let target = "/v3/apis/books%2F%C3%BC";
    let shown = get(&one, target).await;
    assert_eq!(shown.status, 200);
    for (member, value) in [
        ("id", json!("books/ü")),
        ("active", json!(true)),
        ("ref_number", json!(0)),
        ("auth_type", json!("none")),
        ("versioned", json!(false)),
        ("node_name", json!(one.settings.get("INSTANCE_ID"))),
    ] {
        assert_eq!(shown.json()[member], value, "{member}");
    }
    assert!(shown.json()["timestamp"].as_str().unwrap().ends_with('Z'));
    eventually("the other instance has it", async || {
        get(&other, target).await.status == 200
    })
    .await;
    assert_eq!(get(&other, target).await.body, shown.body);
    let again = send(&other, "POST", "/v3/apis", &api("books/ü", "/")).await;
    let exists = json!({ "message": "API with id=books/ü already exists." });
    assert_eq!(told(&again), (409, exists));
    let mut changed = api("ignored", "/changed");
    changed["note"] = json!("new");
    let answer = send(&other, "PUT", target, &changed).await;
    assert_eq!(told(&answer), (200, ok()));
    eventually("the change is everywhere", async || {
        get(&one, target).await.json()["ref_number"] == 1
    })
    .await;
    one.stop().await;
    other.stop().await;
    let later = Gateway::with(settings).await;
    let kept = get(&later, target).await.json();
    assert_eq!(
        (&kept["id"], &kept["note"]),
        (&json!("books/ü"), &json!("new"))
    );
    let endpoint = &kept["version_data"]["default"]["endpoints"][0];
    assert_eq!(endpoint["path_regex"], "/changed");
    let deleted = send(&later, "DELETE", target, &Value::Null).await;
    assert_eq!((deleted.status, deleted.text()), (204, ""));
    for method in ["GET", "PUT", "DELETE"] {
        let body = if method == "PUT" {
            api("x", "/")
        } else {
            Value::Null
        };
        let answer = send(&later, method, target, &body).await;
        assert_eq!(told(&answer), missing("books/ü"), "{method}");
    }
    let made = send(&later, "POST", "/v2/apis", &api("books/ü", "/")).await;
    assert_eq!(made.status, 201);
    later.stop().await;
}

pub async fn beside_those_of_the_file(kafka: &Kafka) {
    let file = json!([api("z", "/z"), api("b", "/b")]).to_string();
    let settings = Settings::new(kafka).with("PROXY_CONFIG_FILE", file);
    let first = Gateway::with(settings.clone()).await;
    assert_eq!(ids(&first).await, ["z", "b"]);
    assert_eq!(
        send(&first, "POST", "/v3/apis", &api("b", "/"))
            .await
            .status,
        409
    );
    for id in ["y", "a"] {
        assert_eq!(
            send(&first, "POST", "/v3/apis", &api(id, "/")).await.status,
            201
        );
    }
    assert_eq!(
        send(&first, "PUT", "/v3/apis/z", &api("z", "/new"))
            .await
            .status,
        200
    );
    assert_eq!(
        send(&first, "DELETE", "/v3/apis/b", &Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(ids(&first).await, ["z", "a", "y"]);
    first.stop().await;
    let second = Gateway::with(settings).await;
    assert_eq!(ids(&second).await, ["z", "a", "y"]);
    let changed = get(&second, "/v3/apis/z").await.json();
    assert_eq!(
        changed["version_data"]["default"]["endpoints"][0]["path_regex"],
        "/new"
    );
    assert_eq!(told(&get(&second, "/v3/apis/b").await), missing("b"));
    let anew = send(&second, "POST", "/v3/apis", &api("b", "/again")).await;
    assert_eq!(anew.status, 201);
    assert_eq!(get(&second, "/v3/apis/b").await.json()["ref_number"], 2);
    assert_eq!(ids(&second).await, ["z", "b", "a", "y"]);
    second.stop().await;
}

pub async fn but_not_with_what_cannot_be_honoured(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let mut bad = api("a", "(");
    bad["proxy"] = Value::Null;
    let faults = json!({
        "api": [{ "proxy": "must be present" }],
        "a/e": [{ "path_regex": "is not a regular expression that is supported: unclosed group" }],
    });
    for (method, target) in [
        ("POST", "/v3/apis"),
        ("PUT", "/v3/apis/a"),
        ("PUT", "/v2/apis/a"),
    ] {
        let answer = send(&gateway, method, target, &bad).await;
        assert_eq!(told(&answer), (400, faults.clone()), "{method}");
    }
    let secured = json!({ "id": "e", "method": "GET", "path_regex": "/", "secured": true });
    let mut later = api("s", "/");
    later["version_data"]["default"]["endpoints"] = json!([secured]);
    later["auth_type"] = json!("jwt");
    assert_eq!(send(&gateway, "POST", "/v3/apis", &later).await.status, 201);
    later["auth_type"] = json!("none");
    let answer = send(&gateway, "PUT", "/v3/apis/s", &later).await;
    let faults = json!({ "s/e": [{ "auth_type": "must be one of [\"jwt\"]" }] });
    assert_eq!(told(&answer), (400, faults));
    let headers = [("content-type", "application/json")];
    let post = async |body: &[u8]| {
        http::request(gateway.internal(), "POST", "/v3/apis", &headers, body).await
    };
    assert!(post(b"{").await.problem(400).starts_with("Not JSON: "));
    post(&vec![b' '; 300 * 1024]).await.problem(413);
    assert_eq!(ids(&gateway).await, ["s"]);
    gateway.stop().await;
}

/// A backend that answers with the first line of each request.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while http::split_head(&head).is_none() {
                    if socket.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let (head, _) = http::split_head(&head).unwrap();
                let line = head.lines().next().unwrap();
                let length = line.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{line}"
                );
                socket.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    });
    address
}

pub async fn whose_paths_lead_nowhere_else(kafka: &Kafka) {
    let gateway = Gateway::with(Settings::new(kafka).with_tokens()).await;
    let backend = echo().await;
    let endpoints = json!([
        { "id": "admin", "method": "GET", "path_regex": "/admin(/.*)?", "secured": true },
        { "id": "old", "method": "GET", "path_regex": "/old/(.*)", "path_replacement": "/new/\\1" },
        { "id": "rest", "method": "GET", "path_regex": "/.*" },
    ]);
    let api = json!({
        "id": "a", "name": "a", "auth_type": "jwt",
        "proxy": { "target_url": "http://127.0.0.1/base", "port": backend.port() },
        "version_data": { "default": { "endpoints": endpoints } },
    });
    assert_eq!(send(&gateway, "POST", "/v3/apis", &api).await.status, 201);
    for (target, status, sent) in [
        (
            "/a/%62%20c;v=1?x=%2F&x=2&y",
            200,
            "/base/a/%62%20c;v=1?x=%2F&x=2&y",
        ),
        ("/a//b", 200, "/base/a//b"),
        ("/@evil/", 200, "/base/@evil/"),
        ("http://evil/x", 200, "/base/x"),
        ("/old/%61%20b?q=//", 200, "/base/new/%61%20b?q=//"),
        ("/admin", 401, ""),
        ("/ADMIN/x", 401, ""),
        ("/%61dmin", 401, ""),
        ("http://evil/admin", 401, ""),
        ("/%2561dmin", 400, ""),
        ("/admin;x=1", 400, ""),
        ("/;/admin", 400, ""),
        ("//admin", 400, ""),
        ("//evil/x", 400, ""),
        ("/x/../admin", 400, ""),
        ("/x/%2e%2e/admin", 400, ""),
        ("/x/..%2fadmin", 400, ""),
        ("/x/..;/admin", 400, ""),
        ("/x%5c..%5cadmin", 400, ""),
        ("/x\\admin", 400, ""),
        ("/x%00", 400, ""),
        ("/x%0d%0ahost:%20evil", 400, ""),
        ("/old//evil", 200, "/base/new//evil"),
        ("/old/..", 400, ""),
    ] {
        let answer = http::request(gateway.public(), "GET", target, &[], b"").await;
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, status, "{target}: {text}");
        if status == 200 {
            assert_eq!(text, format!("GET {sent} HTTP/1.1"), "{target}");
        }
    }
    let bearer = format!("Bearer {}", token("alice", "a1"));
    let headers = [("authorization", &*bearer)];
    let answer = http::request(gateway.public(), "GET", "/%61dmin", &headers, b"").await;
    assert_eq!(
        (answer.status, answer.text()),
        (200, "GET /base/%61dmin HTTP/1.1")
    );
    gateway.stop().await;
}

/// At the start all that is wrong is told, and nothing runs.
pub async fn unless_the_file_has_faults() {
    let file = json!([api("a", "("), { "id": "b" }]).to_string();
    let settings = Settings::empty().with("PROXY_CONFIG_FILE", file);
    let limit = std::time::Duration::from_secs(20);
    let output = run(&settings, &["check-config"], limit).await;
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    for part in [
        "sluicegate: PROXY_CONFIG_FILE: ",
        "a/e: path_regex is not a regular expression",
        "api 2: name must be string",
        "api 2: version_data must be present",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(text.lines().count(), 1, "{text}");
}
