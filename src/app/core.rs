//! What the rest of an instance stands on: shards, log, shared state, source.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::AppError;
use super::background;
use super::door::{Door, Ground};
use super::serving::Services;
use crate::access::Places;
use crate::api::{SessionAdmin, Submissions};
use crate::config::Config;
use crate::dispatch::{ClientText, Dispatcher, Incarnation, Surroundings};
use crate::kafka::Producer;
use crate::proxy::{Answers, AnswersInbox, AnswersParts, Proxy};
use crate::replay::{History, HistoryParts, RecordDecoder, ReplayLog};
use crate::session::{Blacklist, Directory, LIST_COMMAND};
use crate::shared::{CommandHandler, CommandLog, StateLog};
use crate::source::{Ingest, IngestParts, KafkaSource};
use crate::telemetry::{Metrics, Readiness, Tasks};
use crate::transport::{
    Acknowledgements, CHANGE_COMMAND, Change, Changes, FORMATS, LongPolling, Streams,
};

/// What the rest of the instance stands on.
pub(super) struct Core {
    topics: Arc<[String]>,
    pub(super) metrics: Metrics,
    pub(super) readiness: Readiness,
    pub(super) tasks: Tasks,
    decoder: RecordDecoder,
    log: Arc<ReplayLog>,
    pub(super) dispatcher: Dispatcher,
    pub(super) state: Arc<StateLog>,
    blacklist: Blacklist,
    pub(super) streams: Streams,
    pub(super) answers: Answers,
}

impl Core {
    /// Starts the shards and the shared state; also returns the queue of what clients say on their
    /// connections.
    pub(super) fn start(
        config: &Config,
        producer: &Producer,
    ) -> Result<(Self, mpsc::Receiver<ClientText>), AppError> {
        let topics: Arc<[String]> = config.source.topics().into();
        let metrics = Metrics::new();
        let tasks = Tasks::new();
        let (log, decoder) = empty_log(config, &topics);
        let parts = HistoryParts {
            topics: Arc::clone(&topics),
            decoder: decoder.clone(),
            log: Arc::clone(&log),
            metrics: metrics.clone(),
        };
        let history = Arc::new(History::start(&config.kafka, &config.replay, parts)?);
        let surroundings = Surroundings {
            incarnation: Incarnation(uuid::Uuid::new_v4().as_u64_pair().0),
            topics: Arc::clone(&topics),
            formats: &FORMATS,
            log: Arc::clone(&log),
            history: Arc::clone(&history),
            metrics: metrics.clone(),
        };
        let (dispatcher, texts) = Dispatcher::start(&config.dispatch, &surroundings)?;
        let readiness = Readiness::new();
        let ground = Ground {
            producer,
            dispatcher: &dispatcher,
            readiness: &readiness,
            metrics: &metrics,
            tasks: &tasks,
        };
        let door = Door::open(config, &ground)?;
        let answers = start_answers(config, &door, &ground);
        let streams = Streams {
            dispatcher: dispatcher.clone(),
            extractors: Arc::clone(&config.extractors),
            limits: config.subscription_limits,
            cors: config.cors.cors.clone(),
            places: Places::new(&config.places, metrics.clone(), Instant::now()),
            sse_limit_answer: config.sse.sse_limit_answer,
            token_key: door.token_key,
            history,
            metrics: metrics.clone(),
            tasks: tasks.clone(),
            access: door.access,
            registry: door.registry,
        };
        let core = Self {
            topics,
            metrics,
            readiness,
            tasks,
            decoder,
            log,
            dispatcher,
            state: door.state,
            blacklist: door.blacklist,
            streams,
            answers,
        };
        Ok((core, texts))
    }

    /// Starts to listen to the other instances, and gets the key of connection tokens from what all share.
    pub(super) fn start_commands(
        &self,
        config: &Config,
        producer: &Producer,
    ) -> Result<CommandLog, AppError> {
        let (streams, answers) = (self.streams.clone(), self.answers.inbox());
        let handler: Arc<CommandHandler> = Arc::new(move |command| {
            let (streams, answers) = (streams.clone(), answers.clone());
            Box::pin(async move { answer_command(&streams, &answers, &command).await })
        });
        let incarnation = self.dispatcher.incarnation().to_string();
        let commands = CommandLog::start(
            &config.kafka,
            producer.clone(),
            &incarnation,
            handler,
            self.readiness.clone(),
            &self.tasks,
        )?;
        self.answers.connect(commands.clone());
        let key = background::get_token_key(
            config.shared.clone(),
            Arc::clone(&self.state),
            Arc::clone(&self.streams.token_key),
            self.tasks.stopping(),
        );
        self.tasks.spawn("token_key", key);
        Ok(commands)
    }

    /// Starts to read the source topics.
    pub(super) fn start_source(&self, config: &Config) -> Result<KafkaSource, AppError> {
        let ingest = Ingest::new(IngestParts {
            topics: Arc::clone(&self.topics),
            decoder: self.decoder.clone(),
            log: Arc::clone(&self.log),
            dispatcher: self.dispatcher.clone(),
            token_key: Arc::clone(&self.streams.token_key),
            metrics: self.metrics.clone(),
        });
        let readiness = self.readiness.clone();
        let metrics = self.metrics.clone();
        Ok(KafkaSource::start(
            &config.kafka,
            &config.source,
            ingest,
            metrics,
            readiness,
        )?)
    }

    /// Puts together what answers requests.
    pub(super) fn services(
        self,
        config: Config,
        commands: CommandLog,
        producer: Producer,
        proxy: Arc<Proxy>,
    ) -> Services {
        let long_polling = Arc::new(LongPolling::new(
            self.streams.clone(),
            Arc::clone(&self.state),
            &config.long_poll,
        ));
        let acknowledgements = Acknowledgements::new(
            self.streams.clone(),
            Arc::clone(&self.state),
            &config.acknowledgement,
        );
        let directory = Directory::new(commands.clone());
        let changes = Changes::new(
            self.streams.clone(),
            long_polling.clone(),
            commands,
            acknowledgements.clone(),
        );
        let default_topic = self.topics.first().map(String::as_str).unwrap_or_default();
        let writer = config
            .submission
            .writer(default_topic, producer, self.metrics.clone());
        let submissions = Submissions::new(
            config.submission.max_submission_bytes,
            writer,
            config.rates.of_events(self.metrics.limited_events.clone()),
            self.metrics.clone(),
        );
        let sessions = SessionAdmin::new(
            self.blacklist.clone(),
            directory,
            config.session.session_kill_validity,
        );
        Services {
            limits: config.http_limits,
            tls: config.tls,
            internal_tls: config.internal_tls,
            internal_guard: config.internal_guard,
            trusted_proxies: config.proxies.trusted_proxies,
            streams: self.streams,
            long_polling,
            acknowledgements,
            changes,
            submissions: Arc::new(submissions),
            state: self.state,
            blacklist: self.blacklist,
            sessions,
            proxy,
            is_started: Arc::default(),
            readiness: self.readiness,
            metrics: self.metrics,
            tasks: self.tasks,
        }
    }
}

/// Returns the log of the newest events, empty, and what decodes records for it.
fn empty_log(config: &Config, topics: &[String]) -> (Arc<ReplayLog>, RecordDecoder) {
    let names = topics.iter().map(String::as_str);
    let log = ReplayLog::new(names, config.replay.replay_ring_bytes);
    let decoder = RecordDecoder {
        extractors: Arc::clone(&config.extractors),
        max_event_bytes: config.source.max_event_bytes,
    };
    (Arc::new(log), decoder)
}

/// Makes ready for commands whose answers come later.
fn start_answers(config: &Config, door: &Door, ground: &Ground<'_>) -> Answers {
    let parts = AnswersParts {
        kafka: config.kafka.clone(),
        create_partitions: config.source.create_partitions(),
        state: Arc::clone(&door.state),
        own: ground.dispatcher.incarnation(),
        token_key: Arc::clone(&door.token_key),
        metrics: ground.metrics.clone(),
        tasks: ground.tasks.clone(),
    };
    Answers::new(&config.proxy.answers, parts)
}

/// Does what another instance asks for, and returns the answer.
async fn answer_command(streams: &Streams, answers: &AnswersInbox, command: &Value) -> Value {
    if let Some(reply) = answers.on_command(command) {
        return reply;
    }
    match command["command"].as_str() {
        Some(CHANGE_COMMAND) => Change::on_command(streams, command).await,
        Some(LIST_COMMAND) => {
            let own = streams.dispatcher.incarnation().to_string();
            Directory::on_command(&streams.registry, &streams.metrics, &own, command)
        }
        _ => {
            tracing::warn!("another instance sent a command that is not known here");
            json!({ "result": "unknown" })
        }
    }
}
