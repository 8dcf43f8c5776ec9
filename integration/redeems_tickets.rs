//! Tickets stand for tokens: once, for a short while, and nowhere but in their cluster.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::support::doors::{Caller, Door, Shown, assert_shut};
use crate::support::gateway::{Gateway, Settings, unique};
use crate::support::http;
use crate::support::kafka::Kafka;
use crate::support::tokens::{token, token_for};

const INVALID: &str = "invalid_ticket";

fn with(ticket: &str) -> Shown {
    Shown::query("ticket", ticket)
}

async fn assert_invalid(caller: &Caller, ticket: &str, what: &str) {
    let answer = caller.knock(Door::Sse, &with(ticket)).await;
    assert_shut(&answer, 401, INVALID, what);
}

pub async fn so_many_a_minute_for_each_session(kafka: &Kafka) {
    let settings = Settings::guarded(kafka).with("MAX_TICKETS_PER_MINUTE_PER_SESSION", "6");
    let gateway = Gateway::with(settings).await;
    let ask = async |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", &*bearer)];
        let target = "/_rig/v1/tickets";
        http::request(gateway.public(), "POST", target, &headers, b"").await
    };
    assert_eq!(ask(&token("alice", "a1")).await.status, 201);
    let refused = ask(&token("alice", "a1")).await;
    refused.problem(429);
    assert_eq!(refused.json()["code"], "too_many_tickets");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(ask(&token("bob", "b1")).await.status, 201);
    gateway.stop().await;
}

pub async fn once_at_whichever_instance(kafka: &Kafka) {
    let settings = Settings::guarded(kafka);
    let gateways = [
        Gateway::with(settings.clone()).await,
        Gateway::with(settings).await,
    ];
    let callers = [
        Caller::new(gateways[0].public()).await,
        Caller::new(gateways[1].public()).await,
    ];
    let alice = token("alice", "a1");
    for (number, door) in Door::ALL.into_iter().enumerate() {
        if door == Door::Ticket {
            continue;
        }
        let (here, there) = (&callers[number % 2], &callers[(number + 1) % 2]);
        let ticket = here.ticket(&alice).await;
        let answer = there.knock(door, &with(&ticket)).await;
        assert!(door.is_opened_by(&answer), "{door:?}: {answer:?}");
        for caller in [here, there, here] {
            assert_invalid(caller, &ticket, "a second time").await;
        }
    }
    for round in 0..5 {
        let ticket = callers[round % 2].ticket(&alice).await;
        let shown = with(&ticket);
        let knocks = (0..20).map(|number| callers[number % 2].knock(Door::Sse, &shown));
        let mut statuses: HashMap<u16, usize> = HashMap::new();
        for answer in join_all(knocks).await {
            *statuses.entry(answer.status).or_default() += 1;
        }
        assert_eq!(statuses, HashMap::from([(200, 1), (401, 19)]));
    }
    for gateway in gateways {
        gateway.stop().await;
    }
}

pub async fn only_while_they_and_their_tokens_are_good(kafka: &Kafka) {
    let settings = Settings::guarded(kafka);
    let gateway = Gateway::with(settings.clone()).await;
    let hasty = Gateway::with(settings.with("TICKET_TTL", "1s")).await;
    let (caller, other) = (
        Caller::new(gateway.public()).await,
        Caller::new(hasty.public()).await,
    );
    let alice = token("alice", "a1");
    let answer = other.knock(Door::Ticket, &Shown::bearer(&alice)).await;
    assert_eq!(answer.json()["expires_in"], 1);
    let short = answer.json()["ticket"].as_str().unwrap().to_owned();
    let outlived = caller.ticket(&token_for("alice", "a1", 3)).await;
    let killed = caller.ticket(&token("mallory", "m1")).await;
    let good = caller.ticket(&alice).await;
    let body = json!({ "sessionId": "m1", "validityInSeconds": 60 }).to_string();
    let headers = [("content-type", "application/json")];
    let target = "/v3/session-blacklist";
    let internal = gateway.internal();
    let refused = http::request(internal, "POST", target, &headers, body.as_bytes()).await;
    assert_eq!(refused.status, 201);
    let answer = caller.knock(Door::Sse, &with(&killed)).await;
    assert_shut(
        &answer,
        401,
        "session_killed",
        "of a session that was ended",
    );
    let answer = caller
        .knock(Door::Ticket, &Shown::bearer(token("mallory", "m1")))
        .await;
    assert_shut(&answer, 401, "session_killed", "nor is there another one");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_invalid(&caller, &short, "one that is over").await;
    assert_invalid(&other, &short, "one that is over").await;
    let answer = other.knock(Door::Sse, &with(&outlived)).await;
    assert_shut(&answer, 401, "invalid_token", "of a token that is over");
    let answer = other.knock(Door::Sse, &with(&good)).await;
    assert_eq!(answer.status, 200, "its time is in the ticket");
    gateway.stop().await;
    hasty.stop().await;
}

pub async fn but_none_that_was_altered(kafka: &Kafka) {
    let gateway = Gateway::with(Settings::guarded(kafka)).await;
    let caller = Caller::over_http2(gateway.public()).await;
    let ticket = caller.ticket(&token("alice", "a1")).await;
    for index in 0..ticket.len() {
        let mut altered = ticket.clone().into_bytes();
        altered[index] = match altered[index] {
            b'A' => b'B',
            _ => b'A',
        };
        let altered = String::from_utf8(altered).unwrap();
        assert_invalid(&caller, &altered, &format!("character {index}")).await;
    }
    for (altered, what) in [
        (ticket[1..].to_owned(), "without its beginning"),
        (ticket[..ticket.len() - 1].to_owned(), "without its end"),
        (format!("{ticket}A"), "with more"),
        (format!("{ticket}="), "with padding"),
        (format!("{ticket}\0"), "with NUL"),
        (ticket.repeat(2), "twice"),
        ("A".repeat(30_000), "a long one"),
        (token("alice", "a1"), "a token"),
    ] {
        assert_invalid(&caller, &altered, what).await;
    }
    let answer = caller.knock(Door::Sse, &Shown::bearer(&ticket)).await;
    assert_shut(&answer, 401, "invalid_token", "a ticket is no token");
    let answer = caller.knock(Door::Sse, &with(&ticket)).await;
    assert_eq!(answer.status, 200, "all that has not used it up");
    gateway.stop().await;
}

pub async fn but_none_of_another_cluster(kafka: &Kafka) {
    // The same secrets and topics: what is left is the name.
    let settings = Settings::guarded(kafka).with("NODE_COOKIE", "0123456789abcdef0123456789abcdef");
    let elsewhere = settings.clone().with("CLUSTER_NAME", unique("cluster"));
    let (here, there) = (
        Gateway::with(settings).await,
        Gateway::with(elsewhere).await,
    );
    let (caller, other) = (
        Caller::new(here.public()).await,
        Caller::new(there.public()).await,
    );
    let ticket = caller.ticket(&token("alice", "a1")).await;
    assert_invalid(&other, &ticket, "of another cluster").await;
    let answer = caller.knock(Door::Sse, &with(&ticket)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    here.stop().await;
    there.stop().await;
}

pub async fn which_nobody_gets_without_a_token(kafka: &Kafka) {
    let gateway = Gateway::with(Settings::guarded(kafka)).await;
    let caller = Caller::new(gateway.public()).await;
    let ticket = caller.ticket(&token("alice", "a1")).await;
    for (shown, code, what) in [
        (Shown::nothing(), "token_required", "nothing"),
        (
            Shown::header("authorization", "Basic YTpi"),
            "token_required",
            "another scheme",
        ),
        (
            Shown::bearer(token_for("alice", "a1", -1)),
            "invalid_token",
            "an expired token",
        ),
        // Else one ticket would be good for as long as its token.
        (with(&ticket), "token_required", "a ticket"),
    ] {
        let answer = caller.knock(Door::Ticket, &shown).await;
        assert_shut(&answer, 401, code, what);
    }
    let answer = caller.knock(Door::Sse, &with(&ticket)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    gateway.stop().await;
}
