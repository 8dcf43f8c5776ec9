//! A schema registry: a real HTTP server with subjects, ids and references, which answers badly when it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::served::Served;

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
    served: Served,
}

impl Registry {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            schemas: Mutex::default(),
            mood: Mutex::new(Mood::Well),
            questions: Mutex::default(),
        });
        let asked = Arc::clone(&shared);
        let served = Served::start(listener, move |request| answer(Arc::clone(&asked), request));
        Self {
            address,
            shared,
            served,
        }
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
    pub async fn stop(&mut self) {
        self.served.stop().await;
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    shared.questions.lock().push(path.clone());
    let mood = shared.mood.lock().clone();
    match mood {
        Mood::Well => {}
        Mood::Silent => std::future::pending().await,
        Mood::Slowly(time) => tokio::time::sleep(time).await,
        Mood::With(status, body) => return response(status, body.to_owned()),
        Mood::To(credentials) => {
            let given = request.headers().get("authorization");
            if given.is_none_or(|given| given != credentials) {
                return response(401, r#"{"error_code":40101}"#.to_owned());
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
    match found.get(path.as_ref()) {
        Some(answer) => response(200, answer.to_string()),
        None => response(
            404,
            r#"{"error_code":40401,"message":"not found"}"#.to_owned(),
        ),
    }
}

fn response(status: u16, body: String) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header("content-type", "application/vnd.schemaregistry.v1+json")
        .body(Full::new(Bytes::from(body)))
        .unwrap()
}
