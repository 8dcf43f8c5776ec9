//! The schema registry: schemas by subject and by id.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, Request, StatusCode, Uri};
use moka::sync::Cache;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

use super::config::AvroConfig;
use super::decode::{Malformed, unframe};
use super::schema::{AvroSchema, SchemaError};
use super::slot::Slot;
use crate::fetch::{Fetch, FetchError, FetchLimits};

/// How long one question takes at most, with those for references, over all URLs.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The largest answer.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;
/// How long the newest schema of a subject is taken for the newest.
const LATEST_LIFE: Duration = Duration::from_secs(5 * 60);
/// How many schemas are kept.
const MAX_SCHEMAS: u64 = 1000;
/// How many other schemas one may use.
const MAX_REFERENCES: usize = 32;
/// What of a subject is written otherwise in a path; most subjects stay readable.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
const ACCEPTED: HeaderValue =
    HeaderValue::from_static("application/vnd.schemaregistry.v1+json, application/json");

/// Why there is no schema. The texts name the host and the schema, nothing else.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// The registry did not answer; another try may succeed.
    #[error("the schema registry did not answer: {0}")]
    NoAnswer(Arc<FetchError>),
    /// All that was needed did not come in time; another try may succeed.
    #[error("the schema registry did not answer within {TIMEOUT:?}")]
    TimedOut,
    /// The registry answered with an error.
    #[error("the schema registry answered {status} to the question for {question}")]
    Status {
        /// What was asked for.
        question: Box<str>,
        /// The answer.
        status: StatusCode,
    },
    /// The registry does not have it.
    #[error("the schema registry has no {question}")]
    Unknown {
        /// What was asked for.
        question: Box<str>,
    },
    /// The answer is not what a registry answers.
    #[error("the answer of the schema registry for {question} is not one of a registry")]
    NotAnAnswer {
        /// What was asked for.
        question: Box<str>,
    },
    /// A schema of another kind than Avro.
    #[error("the schema of {question} is not avro")]
    NotAvro {
        /// What was asked for.
        question: Box<str>,
    },
    /// The schema cannot be used.
    #[error("the schema of {question} cannot be used: {reason}")]
    Unusable {
        /// What was asked for.
        question: Box<str>,
        /// What is wrong with it.
        reason: Arc<SchemaError>,
    },
    /// A schema that uses very many others.
    #[error("the schema uses more than {MAX_REFERENCES} others")]
    TooManyReferences,
}

/// Why framed bytes are not decoded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DecodeError {
    /// There is no schema for them.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// They do not fit it.
    #[error("not avro of its schema: {0}")]
    Malformed(#[from] Malformed),
}

/// Finds schemas, and keeps those that it found. Cheap to clone; all clones share what they know.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

struct Shared {
    urls: Box<[Uri]>,
    authorization: Option<HeaderValue>,
    fetch: Fetch,
    slots: Cache<Question, Arc<Slot>>,
}

/// What a registry can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Question {
    Id(u32),
    Latest(Box<str>),
    Version(Box<str>, u32),
}

/// A schema as the registry tells it.
#[derive(Deserialize)]
struct Answer {
    id: Option<u32>,
    schema: String,
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

/// Another schema, whose name the schema uses.
#[derive(Deserialize)]
struct Reference {
    subject: Box<str>,
    version: u32,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("urls", &self.shared.urls)
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// Makes a client of the configured registry; `None` without one.
    #[must_use]
    pub fn new(config: &AvroConfig, fetch: Fetch) -> Option<Self> {
        let urls: Box<[Uri]> = config.kafka_schema_registry_host.as_slice().into();
        if urls.is_empty() {
            return None;
        }
        let authorization = config.kafka_schema_registry_user.as_ref();
        let authorization = authorization.and_then(|user| {
            let password = config.kafka_schema_registry_password.reveal();
            let encoded = STANDARD.encode(format!("{user}:{password}"));
            // Base64 has no character that a header may not have.
            let mut value = HeaderValue::try_from(format!("Basic {encoded}")).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let slots = Cache::new(MAX_SCHEMAS);
        let shared = Arc::new(Shared {
            urls,
            authorization,
            fetch,
            slots,
        });
        Some(Self { shared })
    }

    /// Returns the newest schema of a subject, with which data is encoded; it may be some minutes old, and older
    /// while the registry is away.
    ///
    /// # Errors
    /// [`RegistryError`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn latest(&self, subject: &str) -> Result<Arc<AvroSchema>, RegistryError> {
        let slot = self.slot(Question::Latest(subject.into()));
        let load = async {
            let schema = self.load(Question::Latest(subject.into())).await?;
            self.slot(Question::Id(schema.id()))
                .put(Arc::clone(&schema));
            Ok(schema)
        };
        slot.get(Some(LATEST_LIFE), load).await
    }

    /// Returns the schema with an id, with which data was encoded.
    ///
    /// # Errors
    /// [`RegistryError`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn by_id(&self, id: u32) -> Result<Arc<AvroSchema>, RegistryError> {
        let slot = self.slot(Question::Id(id));
        slot.get(None, self.load(Question::Id(id))).await
    }

    /// Decodes bytes that begin with the id of their schema.
    ///
    /// # Errors
    /// [`DecodeError`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn decode(&self, framed: &[u8]) -> Result<Value, DecodeError> {
        let (id, datum) = unframe(framed)?;
        Ok(self.by_id(id).await?.decode(datum)?)
    }

    fn slot(&self, question: Question) -> Arc<Slot> {
        self.shared.slots.get_with(question, Arc::default)
    }

    /// Asks for a schema, and for all that it uses.
    async fn load(&self, question: Question) -> Result<Arc<AvroSchema>, RegistryError> {
        let loaded = tokio::time::timeout(TIMEOUT, Box::pin(self.load_with_references(question)));
        loaded.await.unwrap_or(Err(RegistryError::TimedOut))
    }

    async fn load_with_references(
        &self,
        question: Question,
    ) -> Result<Arc<AvroSchema>, RegistryError> {
        let answer = self.ask(&question).await?;
        let mut wanted = answer.references;
        let mut found: Vec<(Reference, String)> = Vec::new();
        while let Some(reference) = wanted.pop() {
            let is_same = |other: &Reference| {
                other.subject == reference.subject && other.version == reference.version
            };
            if found.iter().any(|(other, _)| is_same(other)) {
                continue;
            }
            if found.len() == MAX_REFERENCES {
                return Err(RegistryError::TooManyReferences);
            }
            let question = Question::Version(reference.subject.clone(), reference.version);
            let answer = self.ask(&question).await?;
            wanted.extend(answer.references);
            found.push((reference, answer.schema));
        }
        let others: Vec<String> = found.into_iter().map(|(_, schema)| schema).collect();
        let told = match &question {
            Question::Id(id) => Some(*id),
            _ => answer.id,
        };
        let id =
            told.ok_or_else(|| question.error(|question| RegistryError::NotAnAnswer { question }))?;
        let schema = AvroSchema::parse(id, &answer.schema, &others);
        schema.map(Arc::new).map_err(|reason| {
            let reason = Arc::new(reason);
            question.error(|question| RegistryError::Unusable { question, reason })
        })
    }

    /// Asks one URL after the other, until one answers.
    async fn ask(&self, question: &Question) -> Result<Answer, RegistryError> {
        let count = u32::try_from(self.shared.urls.len()).unwrap_or(u32::MAX);
        let limits = FetchLimits {
            timeout: TIMEOUT / count,
            max_response_bytes: MAX_RESPONSE_BYTES,
        };
        let mut failure = RegistryError::TimedOut;
        for url in &self.shared.urls {
            let Some(request) = self.request(url, question) else {
                continue;
            };
            match self.shared.fetch.send(request, &limits).await {
                Ok(answer) if answer.status().is_server_error() => {
                    let status = answer.status();
                    failure = question.error(|question| RegistryError::Status { question, status });
                }
                Ok(answer) => return question.read(answer.status(), answer.body()),
                Err(error) => failure = RegistryError::NoAnswer(Arc::new(error)),
            }
        }
        Err(failure)
    }

    fn request(&self, url: &Uri, question: &Question) -> Option<Request<Bytes>> {
        let base = url.to_string();
        let url = format!("{}{}", base.trim_end_matches('/'), question.path());
        let mut request = Request::get(url).header(ACCEPT, ACCEPTED);
        if let Some(authorization) = &self.shared.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Bytes::new()).ok()
    }
}

impl Question {
    fn path(&self) -> String {
        let encode = |subject: &str| utf8_percent_encode(subject, IN_PATH).to_string();
        match self {
            Self::Id(id) => format!("/schemas/ids/{id}"),
            Self::Latest(subject) => format!("/subjects/{}/versions/latest", encode(subject)),
            Self::Version(subject, version) => {
                format!("/subjects/{}/versions/{version}", encode(subject))
            }
        }
    }

    fn read(&self, status: StatusCode, body: &[u8]) -> Result<Answer, RegistryError> {
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => {
                return Err(self.error(|question| RegistryError::Unknown { question }));
            }
            status => {
                return Err(self.error(|question| RegistryError::Status { question, status }));
            }
        }
        let answer: Answer = serde_json::from_slice(body)
            .map_err(|_| self.error(|question| RegistryError::NotAnAnswer { question }))?;
        match answer.kind.as_deref() {
            None | Some("AVRO") => Ok(answer),
            Some(_) => Err(self.error(|question| RegistryError::NotAvro { question })),
        }
    }

    fn error(&self, make: impl FnOnce(Box<str>) -> RegistryError) -> RegistryError {
        make(match self {
            Self::Id(id) => format!("schema {id}").into(),
            Self::Latest(subject) => format!("subject {subject:?}").into(),
            Self::Version(subject, version) => {
                format!("version {version} of subject {subject:?}").into()
            }
        })
    }
}
