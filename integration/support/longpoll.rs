//! A client of long polling.

use std::net::SocketAddr;

use serde_json::Value;

use super::http::{self, Answer, PATIENCE};

/// A client with the cookies that a browser would keep.
#[derive(Debug)]
pub struct LongPoll {
    query: String,
    pub cookies: Vec<(String, String)>,
}

impl LongPoll {
    pub fn new(query: String) -> Self {
        Self {
            query,
            cookies: Vec::new(),
        }
    }

    pub async fn poll(&mut self, address: SocketAddr) -> Answer {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let cookies = cookies.join("; ");
        let headers = [("cookie", cookies.as_str())];
        let headers = if cookies.is_empty() {
            &[][..]
        } else {
            &headers[..]
        };
        let target = format!("/_rig/v1/connection/longpolling?{}", self.query);
        let answer = http::request(address, "GET", &target, headers, b"").await;
        for cookie in answer.all("set-cookie") {
            assert!(cookie.ends_with("; Path=/; HttpOnly"), "{cookie}");
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
        answer
    }

    /// Polls until events come; returns them.
    pub async fn events(&mut self, address: SocketAddr) -> Vec<Value> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            assert!(tokio::time::Instant::now() < deadline, "no events in time");
            let answer = self.poll(address).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let events = answer.json()["events"].as_array().unwrap().clone();
            if !events.is_empty() {
                return events;
            }
        }
    }

    pub fn cookie(&self, name: &str) -> &str {
        let found = self.cookies.iter().find(|(known, _)| known == name);
        &found.expect("the cookie").1
    }

    /// Polls until `count` events of others have come; returns their ids.
    pub async fn ids(&mut self, address: SocketAddr, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.len() < count {
            let events = self.events(address).await;
            let others = events.iter().filter(|event| {
                let event_type = event["type"].as_str().expect("a type");
                !event_type.starts_with("rig.")
            });
            ids.extend(others.map(|event| event["id"].as_str().expect("an id").to_owned()));
        }
        ids
    }
}
