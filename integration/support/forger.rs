//! A maker of tokens that nobody should accept, and what an instance does with them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::Message;

use super::doors::{Caller, Door, Shown, assert_shut};
use super::gateway::Gateway;
use super::http;
use super::tokens::{SECRET, in_seconds};
use super::ws::Ws;

/// Encodes one part of a token.
pub fn encode(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// Returns a token with this header and payload, as they are, signed with a secret.
pub fn sealed(
    header: impl AsRef<[u8]>,
    payload: impl AsRef<[u8]>,
    secret: &[u8],
    algorithm: Algorithm,
) -> String {
    let message = format!("{}.{}", encode(header), encode(payload));
    let key = EncodingKey::from_secret(secret);
    let signature = crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// Returns a token with the right signature, and a header with these members besides `alg`.
pub fn with_header(members: Value) -> String {
    let mut header = json!({ "typ": "JWT", "alg": "HS256" });
    for (name, value) in members.as_object().unwrap() {
        header[name] = value.clone();
    }
    sealed(
        header.to_string(),
        good(),
        SECRET.as_bytes(),
        Algorithm::HS256,
    )
}

/// Returns a token with the right signature over these claims.
pub fn claiming(claims: impl AsRef<[u8]>) -> String {
    let header = r#"{"typ":"JWT","alg":"HS256"}"#;
    sealed(header, claims, SECRET.as_bytes(), Algorithm::HS256)
}

/// Claims of somebody who may come in.
pub fn good() -> String {
    json!({ "sub": "alice", "username": "alice", "jti": "a1", "exp": in_seconds(3_600) })
        .to_string()
}

/// Asserts that forged tokens are refused at every door, wherever they are shown, and that real ones are
/// accepted afterwards.
pub async fn assert_refused(gateway: &Gateway, forged: &[(&str, String)], real: &str) {
    let callers = [
        Caller::new(gateway.public()).await,
        Caller::over_http2(gateway.public()).await,
    ];
    for (attack, token) in forged {
        for caller in &callers {
            for door in Door::ALL {
                let mut shown = vec![Shown::query("jwt", token)];
                if !token.contains(['\0', '\n']) {
                    shown.push(Shown::bearer(token));
                }
                for shown in shown {
                    let what = format!("{attack} at {door:?}");
                    let answer = caller.knock(door, &shown).await;
                    assert_shut(&answer, 401, "invalid_token", &what);
                    assert!(token.is_empty() || !answer.text().contains(token), "{what}");
                }
            }
        }
    }
    refuses_on_open_sockets(gateway, forged, real).await;
    assert_alive(&callers, real).await;
}

/// The same on a WebSocket that is open, whose client says that it has a later token.
async fn refuses_on_open_sockets(gateway: &Gateway, forged: &[(&str, String)], real: &str) {
    let mut ws = Ws::open(gateway.public(), &format!("jwt={real}"), None).await;
    ws.subscribed().await;
    let hand_in = |token: &str| {
        Message::text(json!({ "type": "rig.token", "data": { "token": token } }).to_string())
    };
    for (attack, token) in forged {
        ws.send(hand_in(token)).await;
        let refused = ws.event().await;
        assert_eq!(refused["type"], "rig.token_refused", "{attack}: {refused}");
        assert_eq!(refused["data"]["status"], 401, "{attack}: {refused}");
    }
    ws.send(hand_in(real)).await;
    assert_eq!(ws.event().await["type"], "rig.session_renewed");
}

pub async fn assert_alive(callers: &[Caller], real: &str) {
    for caller in callers {
        for door in Door::ALL {
            let answer = caller.knock(door, &Shown::bearer(real)).await;
            assert!(door.is_opened_by(&answer), "{door:?}: {answer:?}");
        }
        let health = http::request(caller.address, "GET", "/_rig/health", &[], b"").await;
        assert_eq!(health.status, 200);
    }
}
