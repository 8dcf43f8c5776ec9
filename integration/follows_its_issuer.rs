//! An instance with the keys of an OpenID Connect issuer: real servers, all doors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::support::doors::{Caller, Door, Shown, assert_shut};
use crate::support::gateway::{Gateway, Settings, eventually};
use crate::support::issuer::{Issuer, Mood};
use crate::support::kafka::Kafka;
use crate::support::ws::Ws;

const ROTATIONS: usize = 30;

/// The least that may lie between two fetches of keys.
fn settings(kafka: &Kafka, issuer: &Issuer) -> Settings {
    Settings::guarded(kafka)
        .with("JWT_SECRET_KEY", "")
        .with("JWT_OIDC_ISSUER", issuer.url())
        .with("JWT_JWKS_COOLDOWN", "1s")
}

fn minted(issuer: &Issuer) -> Shown {
    Shown::bearer(issuer.mint(&json!({ "sub": "alice", "username": "alice", "jti": "a1" })))
}

async fn assert_open(caller: &Caller, shown: &Shown, when: &str) {
    for door in Door::ALL {
        let answer = caller.knock(door, shown).await;
        assert!(door.is_opened_by(&answer), "{when}: {door:?}: {answer:?}");
    }
}

pub async fn while_its_keys_rotate_under_load(kafka: &Kafka) {
    let issuer = Arc::new(Issuer::start().await);
    let gateway = Gateway::with(settings(kafka, &issuer)).await;
    let (is_over, opened) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut clients = JoinSet::new();
    for number in 0..8 {
        let (issuer, address) = (Arc::clone(&issuer), gateway.public());
        let (is_over, opened) = (Arc::clone(&is_over), Arc::clone(&opened));
        clients.spawn(async move {
            let caller = match number % 2 {
                0 => Caller::new(address).await,
                _ => Caller::over_http2(address).await,
            };
            while !is_over.load(Ordering::Relaxed) {
                for door in Door::ALL {
                    let answer = caller.knock(door, &minted(&issuer)).await;
                    assert!(door.is_opened_by(&answer), "{door:?}: {answer:?}");
                    opened.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    let mut rotations = tokio::time::interval(Duration::from_millis(200));
    rotations.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..ROTATIONS {
        rotations.tick().await;
        issuer.rotate();
    }
    is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    let opened = opened.load(Ordering::Relaxed);
    assert!(opened > ROTATIONS, "{opened}");
    let fetches = issuer.key_fetches();
    assert!((3..=ROTATIONS).contains(&fetches), "{fetches}");
    gateway.stop().await;
}

pub async fn with_the_keys_it_knows_while_the_issuer_is_away(kafka: &Kafka) {
    let mut issuer = Issuer::start().await;
    let gateway = Gateway::with(settings(kafka, &issuer).with("JWT_JWKS_REFRESH", "1s")).await;
    let caller = Caller::new(gateway.public()).await;
    let shown = minted(&issuer);
    assert_open(&caller, &shown, "before").await;
    issuer.stop().await;
    eventually("fetches fail", async || {
        let failed = gateway.metric("sluicegate_token_key_fetches_total", "failed");
        failed.await >= 2.0
    })
    .await;
    assert_open(&caller, &shown, "while it is away").await;
    let expired = issuer.mint(&json!({ "sub": "alice", "exp": 1 }));
    let unknown = issuer.mint_as(Some("unknown"), &json!({ "sub": "alice" }));
    for door in Door::ALL {
        let answer = caller.knock(door, &Shown::bearer(&expired)).await;
        assert_shut(&answer, 401, "invalid_token", "what is bad is known");
        let answer = caller.knock(door, &Shown::bearer(&unknown)).await;
        assert_shut(&answer, 503, "keys_unavailable", "the issuer could tell");
        assert!(answer.header("retry-after").is_some());
    }
    issuer.rotate();
    let next = minted(&issuer);
    issuer.start_again().await;
    eventually("the next key is known", async || {
        caller.knock(Door::Sse, &next).await.status == 200
    })
    .await;
    assert_open(&caller, &next, "after it is back").await;
    eventually("there is no such key", async || {
        let answer = caller.knock(Door::Sse, &Shown::bearer(&unknown)).await;
        answer.status == 401
    })
    .await;
    gateway.stop().await;
}

pub async fn as_soon_as_the_issuer_is_there(kafka: &Kafka) {
    let mut issuer = Issuer::start().await;
    issuer.stop().await;
    let gateway = Gateway::with(settings(kafka, &issuer)).await;
    let caller = Caller::over_http2(gateway.public()).await;
    let shown = minted(&issuer);
    for door in Door::ALL {
        let answer = caller.knock(door, &shown).await;
        assert_shut(&answer, 503, "keys_unavailable", "a token may be good");
        assert!(answer.header("retry-after").is_some());
        let answer = caller.knock(door, &Shown::nothing()).await;
        assert_shut(&answer, 401, "token_required", "nothing never is");
    }
    issuer.start_again().await;
    eventually("the keys are there", async || {
        caller.knock(Door::Sse, &shown).await.status == 200
    })
    .await;
    assert_open(&caller, &shown, "with its keys").await;
    gateway.stop().await;
}

/// Texts of all clients were acted on one after the other, so that a token with an unknown key held up
/// everybody for as long as the issuer took.
pub async fn which_holds_up_only_who_waits_for_it(kafka: &Kafka) {
    let issuer = Issuer::start().await;
    let settings = Settings::new(kafka)
        .with("JWT_OIDC_ISSUER", issuer.url())
        .with("JWT_JWKS_COOLDOWN", "1s");
    let gateway = Gateway::with(settings).await;
    let mut waits = Ws::open(gateway.public(), "", None).await;
    let mut other = Ws::open(gateway.public(), "", None).await;
    waits.subscribed().await;
    other.subscribed().await;
    issuer.be(Mood::Slowly(Duration::from_secs(3)));
    let unknown = issuer.mint_as(Some("unknown"), &json!({ "sub": "alice", "jti": "a1" }));
    let before = issuer.discoveries();
    let text = json!({ "type": "rig.token", "data": { "token": unknown } });
    waits.send(Message::text(text.to_string())).await;
    eventually("the issuer is asked", async || {
        issuer.discoveries() > before
    })
    .await;
    let text = json!({ "type": "rig.subscriptions_set", "data": [{ "eventType": "t" }] });
    other.send(Message::text(text.to_string())).await;
    let answered = tokio::time::timeout(Duration::from_secs(2), other.event()).await;
    assert_eq!(answered.expect("at once")["type"], "rig.subscriptions_set");
    assert_eq!(waits.event().await["type"], "rig.token_refused");
    gateway.stop().await;
}
