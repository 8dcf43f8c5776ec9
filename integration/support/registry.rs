//! A schema registry: a real HTTP server with subjects, ids and references, which answers badly when it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How the server answers.
#[derive(Debug, Clone)]
pub enum Mood {
    /// As it should.
    Well,
    /// Never.
    Silent,
    /// After this time, as it should.
    Slowly(Duration),
    /// With this status and this body.
    With(u16, &'static str),
    /// As it should, to this `Authorization` only.
    To(&'static str),
}

struct Shared {
    /// What it has: subject, version, and the answer to questions for that.
    schemas: Mutex<Vec<(String, u32, Value)>>,
    mood: Mutex<Mood>,
    questions: Mutex<Vec<String>>,
}

/// A registry on a port of 127.0.0.1. It is gone when it is dropped.
pub struct Registry {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    serving: CancellationToken,
}

impl Registry {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::new(Shared {
                schemas: Mutex::default(),
                mood: Mutex::new(Mood::Well),
                questions: Mutex::default(),
            }),
            serving: CancellationToken::new(),
        };
        let (shared, stopping) = (Arc::clone(&registry.shared), registry.serving.clone());
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Some(accepted) = stopping.run_until_cancelled(listener.accept()).await {
                let (socket, _) = accepted.unwrap();
                let shared = Arc::clone(&shared);
                let answering = service_fn(move |request| answer(Arc::clone(&shared), request));
                let serving =
                    http1::Builder::new().serve_connection(TokioIo::new(socket), answering);
                connections.spawn(async move {
                    // A client that goes away is no failure of the registry.
                    let _served = serving.await;
                });
            }
            connections.shutdown().await;
        });
        registry
    }

    /// Adds a version of a subject.
    pub fn add(&self, subject: &str, id: u32, schema: &Value) {
        self.add_with(subject, id, schema, &json!({}));
    }

    /// As [`Registry::add`], with more members of the answer: `references` or `schemaType`.
    pub fn add_with(&self, subject: &str, id: u32, schema: &Value, more: &Value) {
        let mut schemas = self.shared.schemas.lock();
        let others = schemas.iter().filter(|(other, ..)| other == subject);
        let version = u32::try_from(others.count()).unwrap() + 1;
        let mut answer = json!({
            "subject": subject, "version": version, "id": id, "schema": schema.to_string(),
        });
        for (name, value) in more.as_object().unwrap() {
            answer[name] = value.clone();
        }
        schemas.push((subject.to_owned(), version, answer));
    }

    pub fn be(&self, mood: Mood) {
        *self.shared.mood.lock() = mood;
    }

    /// What was asked, in order.
    pub fn questions(&self) -> Vec<String> {
        self.shared.questions.lock().clone()
    }

    /// Closes the port and all connections.
    pub fn stop(&self) {
        self.serving.cancel();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let path = request.uri().path().to_owned();
    shared.questions.lock().push(path.clone());
    let mood = shared.mood.lock().clone();
    match mood {
        Mood::Well => {}
        Mood::Silent => std::future::pending().await,
        Mood::Slowly(time) => tokio::time::sleep(time).await,
        Mood::With(status, body) => return Ok(response(status, body.to_owned())),
        Mood::To(credentials) => {
            let given = request.headers().get("authorization");
            if given.is_none_or(|given| given != credentials) {
                return Ok(response(401, r#"{"error_code":40101}"#.to_owned()));
            }
        }
    }
    let schemas = shared.schemas.lock();
    let found = schemas
        .iter()
        .flat_map(|(subject, version, answer)| {
            let mut by_id = answer.clone();
            by_id.as_object_mut().unwrap().remove("id");
            [
                (
                    format!("/subjects/{subject}/versions/{version}"),
                    answer.clone(),
                ),
                (
                    format!("/subjects/{subject}/versions/latest"),
                    answer.clone(),
                ),
                (format!("/schemas/ids/{}", answer["id"]), by_id),
            ]
        })
        .collect::<BTreeMap<_, _>>();
    let path = percent_encoding::percent_decode_str(&path)
        .decode_utf8()
        .unwrap();
    Ok(match found.get(path.as_ref()) {
        Some(answer) => response(200, answer.to_string()),
        None => response(
            404,
            r#"{"error_code":40401,"message":"not found"}"#.to_owned(),
        ),
    })
}

fn response(status: u16, body: String) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header("content-type", "application/vnd.schemaregistry.v1+json")
        .body(Full::new(Bytes::from(body)))
        .unwrap()
}
