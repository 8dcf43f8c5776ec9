//! Tokens of an issuer that publishes its keys over HTTP: real servers, real sockets.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde_json::json;
use sluicegate::fetch::{Fetch, parse_url};
use sluicegate::identity::{IdentityConfig, TokenError, Verifier};
use sluicegate::telemetry::{Metrics, Tasks};
use tokio::task::JoinSet;

use crate::support::gateway::eventually;
use crate::support::issuer::{Issuer, Mood};

/// A verifier with what it runs on.
struct Side {
    verifier: Verifier,
    tasks: Tasks,
    metrics: Metrics,
}

impl Side {
    fn with(config: &IdentityConfig) -> Self {
        let (tasks, metrics) = (Tasks::new(), Metrics::new());
        let verifier = Verifier::new(config, &Fetch::new(), &tasks, &metrics).unwrap();
        Self {
            verifier,
            tasks,
            metrics,
        }
    }

    async fn check(&self, token: &str) -> Result<(), TokenError> {
        self.verifier.verify(token).await.map(|_| ())
    }

    fn metric(&self, line: &str) -> u64 {
        let text = String::from_utf8(self.metrics.render()).unwrap();
        let mut lines = text.lines().filter_map(|found| found.strip_prefix(line));
        lines.next().unwrap().trim().parse().unwrap()
    }

    fn failures(&self) -> u64 {
        self.metric("sluicegate_token_key_fetches_total{result=\"failed\"}")
    }

    /// Asks for a key that is not there until fetches have failed so often.
    async fn fail(&self, unknown: &str, at_least: u64) {
        eventually("fetches fail", async || {
            assert!(self.check(unknown).await.is_err());
            self.failures() >= at_least
        })
        .await;
    }
}

/// Keys at a URL, which may be fetched anew at any time.
fn key_set(issuer: &Issuer) -> IdentityConfig {
    IdentityConfig {
        jwt_jwks_url: Some(parse_url(&issuer.keys_url()).unwrap()),
        jwt_jwks_cooldown: Duration::from_millis(20),
        ..IdentityConfig::default()
    }
}

fn oidc(issuer: &Issuer) -> IdentityConfig {
    IdentityConfig {
        jwt_jwks_url: None,
        jwt_oidc_issuer: Some(issuer.url().into()),
        ..key_set(issuer)
    }
}

pub async fn of_an_issuer_by_its_discovery_document() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let issuer = Issuer::with(algorithm).await;
        let side = Side::with(&oidc(&issuer));
        let claims = side
            .verifier
            .verify(&issuer.mint(&json!({ "sub": "alice" })))
            .await;
        assert_eq!(claims.unwrap().user(), Some("alice"), "{algorithm:?}");
        assert_eq!((issuer.discoveries(), issuer.key_fetches()), (1, 1));
        let foreign = issuer.mint(&json!({ "iss": "https://evil.example" }));
        assert_eq!(side.check(&foreign).await, Err(TokenError::Issuer));
        assert_eq!(side.metric("sluicegate_token_keys"), 1);
        side.tasks.stop().await;
    }
}

pub async fn while_keys_rotate_all_the_time() {
    const ROTATIONS: usize = 30;
    let issuer = Arc::new(Issuer::start().await);
    let side = Arc::new(Side::with(&key_set(&issuer)));
    let (is_over, verified) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut tasks = JoinSet::new();
    for number in 0..8 {
        let (issuer, side) = (Arc::clone(&issuer), Arc::clone(&side));
        let (is_over, verified) = (Arc::clone(&is_over), Arc::clone(&verified));
        tasks.spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                let token = issuer.mint(&json!({ "sub": format!("user-{number}") }));
                assert_eq!(side.check(&token).await, Ok(()));
                verified.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
    }
    for _ in 0..ROTATIONS {
        tokio::time::sleep(Duration::from_millis(100)).await;
        issuer.rotate();
    }
    is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert!(verified.load(Ordering::Relaxed) > ROTATIONS);
    assert!(issuer.key_fetches() > ROTATIONS / 2);
}

pub async fn but_unknown_keys_cause_few_fetches() {
    let issuer = Arc::new(Issuer::start().await);
    let side = Arc::new(Side::with(&IdentityConfig {
        jwt_jwks_cooldown: Duration::from_secs(3_600),
        ..key_set(&issuer)
    }));
    assert_eq!(side.check(&issuer.mint(&json!({}))).await, Ok(()));
    assert_eq!(issuer.key_fetches(), 1);
    let mut tasks = JoinSet::new();
    for number in 0..2_000 {
        let (issuer, side) = (Arc::clone(&issuer), Arc::clone(&side));
        tasks.spawn(async move {
            let token = issuer.mint_as(Some(&format!("made-up-{number}")), &json!({}));
            side.check(&token).await
        });
    }
    let mut reasons = HashSet::new();
    while let Some(checked) = tasks.join_next().await {
        reasons.insert(checked.unwrap().unwrap_err());
    }
    assert_eq!(reasons, HashSet::from([TokenError::KeysUnavailable]));
    assert_eq!(issuer.key_fetches(), 1, "the next one is due in an hour");
    assert_eq!(
        side.check(&issuer.mint(&json!({}))).await,
        Ok(()),
        "known keys do not wait"
    );
}

pub async fn and_an_unknown_key_is_looked_for_once() {
    let issuer = Arc::new(Issuer::start().await);
    let side = Arc::new(Side::with(&IdentityConfig {
        jwt_jwks_cooldown: Duration::from_secs(2),
        ..key_set(&issuer)
    }));
    assert_eq!(side.check(&issuer.mint(&json!({}))).await, Ok(()));
    let stranger = issuer.mint_as(Some("stranger"), &json!({}));
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let (side, stranger) = (Arc::clone(&side), stranger.clone());
        tasks.spawn(async move { side.check(&stranger).await });
    }
    while let Some(checked) = tasks.join_next().await {
        assert_eq!(checked.unwrap(), Err(TokenError::UnknownKey));
    }
    assert_eq!(issuer.key_fetches(), 2, "one for all who asked");
    assert_eq!(side.check(&stranger).await, Err(TokenError::UnknownKey));
    assert_eq!(issuer.key_fetches(), 2, "what was not there is remembered");
}

pub async fn of_which_one_without_a_name_is_found_after_a_rotation() {
    let issuer = Issuer::start().await;
    let side = Side::with(&key_set(&issuer));
    assert_eq!(side.check(&issuer.mint_as(None, &json!({}))).await, Ok(()));
    issuer.rotate();
    issuer.forget_old_keys();
    assert_eq!(side.check(&issuer.mint_as(None, &json!({}))).await, Ok(()));
}

pub async fn with_the_last_good_keys_while_the_issuer_is_away_or_talks_nonsense() {
    let mut issuer = Issuer::start().await;
    let side = Side::with(&IdentityConfig {
        jwt_jwks_refresh: Duration::from_secs(1),
        ..oidc(&issuer)
    });
    let token = issuer.mint(&json!({}));
    assert_eq!(side.check(&token).await, Ok(()));
    let unknown = issuer.mint_as(Some("unknown"), &json!({}));
    issuer.stop().await;
    side.fail(&unknown, 1).await;
    assert_eq!(side.check(&token).await, Ok(()));
    assert_eq!(side.check(&unknown).await, Err(TokenError::KeysUnavailable));
    issuer.start_again().await;
    for mood in [
        Mood::Status(500),
        Mood::Status(404),
        Mood::Garbage(b"<html>".to_vec()),
        Mood::Garbage(br#"{"keys":[]}"#.to_vec()),
        Mood::Garbage(vec![b' '; 300 * 1_024]),
        Mood::Redirect(issuer.keys_url()),
        Mood::OtherIssuer("https://evil.example".to_owned()),
        Mood::OtherIssuer(format!("{}/", issuer.url())),
        Mood::KeysAt("file:///etc/passwd".to_owned()),
    ] {
        let what = format!("{mood:?}").chars().take(60).collect::<String>();
        issuer.be(mood);
        // One of them may have begun before.
        side.fail(&unknown, side.failures() + 2).await;
        assert_eq!(side.check(&token).await, Ok(()), "{what}");
    }
    issuer.be(Mood::Well);
    issuer.rotate();
    issuer.forget_old_keys();
    let next = issuer.mint(&json!({}));
    eventually("the issuer is asked again", async || {
        side.check(&next).await.is_ok()
    })
    .await;
    assert_eq!(
        side.check(&token).await,
        Err(TokenError::UnknownKey),
        "what is gone is not kept"
    );
    side.tasks.stop().await;
}

pub async fn once_the_issuer_is_there() {
    let mut issuer = Issuer::start().await;
    issuer.stop().await;
    let side = Side::with(&oidc(&issuer));
    let token = issuer.mint(&json!({}));
    assert_eq!(side.check(&token).await, Err(TokenError::KeysUnavailable));
    issuer.start_again().await;
    eventually("keys are there", async || side.check(&token).await.is_ok()).await;
    side.tasks.stop().await;
    assert_eq!(side.tasks.running(), 0);
}

pub async fn but_not_of_an_issuer_that_is_another_one() {
    let issuer = Issuer::start().await;
    issuer.be(Mood::OtherIssuer("https://evil.example".to_owned()));
    let side = Side::with(&oidc(&issuer));
    let token = issuer.mint(&json!({}));
    assert_eq!(side.check(&token).await, Err(TokenError::KeysUnavailable));
    assert_eq!(issuer.key_fetches(), 0, "its keys are not even asked for");
}

pub async fn from_an_issuer_that_is_slow() {
    let issuer = Issuer::start().await;
    issuer.be(Mood::Slowly(Duration::from_millis(300)));
    let side = Arc::new(Side::with(&key_set(&issuer)));
    let token = issuer.mint(&json!({}));
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let (side, token) = (Arc::clone(&side), token.clone());
        tasks.spawn(async move { side.check(&token).await });
    }
    while let Some(checked) = tasks.join_next().await {
        assert_eq!(checked.unwrap(), Ok(()), "all wait for one fetch");
    }
    assert_eq!(issuer.key_fetches(), 1);
}
