//! An issuer of tokens: a real HTTP server with a discovery document and a key set, which rotates its
//! keys, goes away, comes back, and answers badly when it is told to.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::Mutex;
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};

use super::served::Served;

/// How many keys stay published after a rotation, as tokens of theirs are still about.
const KEPT: usize = 16;

/// How the server answers.
#[derive(Debug, Clone)]
pub enum Mood {
    /// As it should.
    Well,
    /// As it should, after this time.
    Slowly(Duration),
    /// With this status, and an empty body.
    Status(u16),
    /// With status 200 and this body, whatever was asked.
    Garbage(Vec<u8>),
    /// With a discovery document of another issuer.
    OtherIssuer(String),
    /// With a discovery document that names this URL for the keys.
    KeysAt(String),
    /// With a redirect to this URL.
    Redirect(String),
}

/// A key of the issuer.
struct Key {
    id: String,
    algorithm: Algorithm,
    signing: EncodingKey,
    public: Value,
}

impl Key {
    fn made(algorithm: Algorithm, id: String) -> Self {
        let kind = match algorithm {
            Algorithm::RS256 => &rcgen::PKCS_RSA_SHA256,
            Algorithm::ES256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Algorithm::EdDSA => &rcgen::PKCS_ED25519,
            other => panic!("{other:?} is not made here"),
        };
        let key = KeyPair::generate_for(kind).unwrap();
        let pem = key.serialize_pem();
        let raw = key.public_key_raw();
        let (signing, mut public) = match algorithm {
            Algorithm::RS256 => {
                let signing = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
                let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&signing, algorithm);
                (signing, serde_json::to_value(jwk.unwrap()).unwrap())
            }
            Algorithm::ES256 => (
                EncodingKey::from_ec_pem(pem.as_bytes()).unwrap(),
                json!({ "kty": "EC", "crv": "P-256", "x": encode(&raw[1..33]), "y": encode(&raw[33..]) }),
            ),
            _ => (
                EncodingKey::from_ed_pem(pem.as_bytes()).unwrap(),
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(raw) }),
            ),
        };
        public["kid"] = id.clone().into();
        public["use"] = "sig".into();
        Self {
            id,
            algorithm,
            signing,
            public,
        }
    }
}

struct Shared {
    address: SocketAddr,
    /// The newest last, which signs.
    keys: Mutex<VecDeque<Arc<Key>>>,
    mood: Mutex<Mood>,
    made: AtomicUsize,
    discoveries: AtomicUsize,
    key_fetches: AtomicUsize,
}

/// An issuer on a port of 127.0.0.1.
pub struct Issuer {
    shared: Arc<Shared>,
    /// Not while it is stopped.
    served: Option<Served>,
}

impl Issuer {
    /// Starts an issuer that signs with ES256.
    pub async fn start() -> Self {
        Self::with(Algorithm::ES256).await
    }

    /// Starts an issuer with a key for RS256, ES256 or `EdDSA`.
    pub async fn with(algorithm: Algorithm) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Shared {
            address: listener.local_addr().unwrap(),
            keys: Mutex::default(),
            mood: Mutex::new(Mood::Well),
            made: AtomicUsize::new(0),
            discoveries: AtomicUsize::new(0),
            key_fetches: AtomicUsize::new(0),
        };
        let mut issuer = Self {
            shared: Arc::new(shared),
            served: None,
        };
        issuer.rotate_to(algorithm);
        issuer.serve(listener);
        issuer
    }

    /// What stands in `iss`, and is set as `JWT_OIDC_ISSUER`.
    pub fn url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// Where the key set is: `JWT_JWKS_URL`.
    pub fn keys_url(&self) -> String {
        format!("{}/keys", self.url())
    }

    /// Signs from now on with a new key of the same kind, and publishes it with the last ones.
    pub fn rotate(&self) {
        let algorithm = self.shared.keys.lock().back().unwrap().algorithm;
        self.rotate_to(algorithm);
    }

    /// As [`Issuer::rotate`], with a key for another algorithm.
    pub fn rotate_to(&self, algorithm: Algorithm) {
        let number = self.shared.made.fetch_add(1, Ordering::Relaxed);
        let key = Arc::new(Key::made(algorithm, format!("key-{number}")));
        let mut keys = self.shared.keys.lock();
        keys.push_back(key);
        while keys.len() > KEPT {
            keys.pop_front();
        }
    }

    /// Takes all keys but the newest out of the set.
    pub fn forget_old_keys(&self) {
        let mut keys = self.shared.keys.lock();
        let newest = keys.pop_back().unwrap();
        keys.clear();
        keys.push_back(newest);
    }

    /// Mints a token with the newest key: these claims, and `iss`, `iat` and `exp` (in an hour) where they
    /// are not among them.
    pub fn mint(&self, claims: &Value) -> String {
        let key = Arc::clone(self.shared.keys.lock().back().unwrap());
        let mut header = Header::new(key.algorithm);
        header.kid = Some(key.id.clone());
        self.sign(&key, &header, claims)
    }

    /// As [`Issuer::mint`], with another name of the key, or none.
    pub fn mint_as(&self, kid: Option<&str>, claims: &Value) -> String {
        let key = Arc::clone(self.shared.keys.lock().back().unwrap());
        let mut header = Header::new(key.algorithm);
        header.kid = kid.map(str::to_owned);
        self.sign(&key, &header, claims)
    }

    fn sign(&self, key: &Key, header: &Header, claims: &Value) -> String {
        let now = jiff::Timestamp::now().as_second();
        let mut all = json!({ "iss": self.url(), "iat": now, "exp": now + 3_600 });
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        jsonwebtoken::encode(header, &all, &key.signing).unwrap()
    }

    /// Answers like this from now on.
    pub fn be(&self, mood: Mood) {
        *self.shared.mood.lock() = mood;
    }

    /// How often the key set was asked for.
    pub fn key_fetches(&self) -> usize {
        self.shared.key_fetches.load(Ordering::Relaxed)
    }

    /// How often the discovery document was asked for.
    pub fn discoveries(&self) -> usize {
        self.shared.discoveries.load(Ordering::Relaxed)
    }

    /// Closes the port and all connections.
    pub async fn stop(&mut self) {
        if let Some(mut served) = self.served.take() {
            served.stop().await;
        }
    }

    /// Opens the port again.
    pub async fn start_again(&mut self) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.shared.address).unwrap();
        self.serve(socket.listen(128).unwrap());
    }

    fn serve(&mut self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        let served = Served::start(listener, move |request| {
            answer(Arc::clone(&shared), request)
        });
        self.served = Some(served);
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let is_discovery = request.uri().path() == "/.well-known/openid-configuration";
    let counter = if is_discovery {
        &shared.discoveries
    } else {
        &shared.key_fetches
    };
    counter.fetch_add(1, Ordering::Relaxed);
    let url = format!("http://{}", shared.address);
    let mood = shared.mood.lock().clone();
    let (mut issuer, mut keys_url) = (url.clone(), format!("{url}/keys"));
    match mood {
        Mood::Well => {}
        Mood::Slowly(time) => tokio::time::sleep(time).await,
        Mood::Status(status) => return bare(status, Vec::new()),
        Mood::Garbage(body) => return bare(200, body),
        Mood::OtherIssuer(other) => issuer = other,
        Mood::KeysAt(other) => keys_url = other,
        Mood::Redirect(target) => {
            let mut response = bare(302, Vec::new());
            let headers = response.headers_mut();
            headers.insert(http::header::LOCATION, target.parse().unwrap());
            return response;
        }
    }
    let body = match request.uri().path() {
        "/.well-known/openid-configuration" => json!({
            "issuer": issuer,
            "jwks_uri": keys_url,
            "authorization_endpoint": format!("{url}/authorize"),
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
        }),
        "/keys" => {
            let keys = shared.keys.lock();
            let public: Vec<&Value> = keys.iter().map(|key| &key.public).collect();
            json!({ "keys": public })
        }
        _ => return bare(404, Vec::new()),
    };
    bare(200, body.to_string().into_bytes())
}

fn bare(status: u16, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    let json = http::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
    response
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
