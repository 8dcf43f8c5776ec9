//! Finds out what kind of broker there is.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;

use super::{ConfigError, Consumer, KafkaConfig, Returning as _};

/// The id of the cluster that an embedded broker is.
pub(super) const EMBEDDED_CLUSTER_ID: &str = "sluicegate";
/// How long brokers that can be reached have to say which cluster they are.
const LIMIT: Duration = Duration::from_secs(5);
/// How long brokers have that cannot be reached: they may just be starting.
const LIMIT_UNREACHABLE: Duration = Duration::from_secs(1);
/// How often there is a look whether the answer has come.
const TURN: Duration = Duration::from_millis(20);

impl KafkaConfig {
    /// Returns these settings with what there is to know of the brokers: whether they are another instance's embedded one,
    /// which some calls break and which has to be read in another way.
    ///
    /// Takes as long as the brokers need for an answer: five seconds at most, and one where none can be reached. What has
    /// not answered by then counts as Apache Kafka.
    ///
    /// # Errors
    /// [`ConfigError`] when librdkafka refuses the settings.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn recognised(mut self) -> Result<Self, ConfigError> {
        if self.is_embedded {
            return Ok(self);
        }
        let settings = self.consumer("sluicegate-recognition", &[]);
        let client = Consumer::new(&settings, self.quiet())?;
        let asking = tokio::task::spawn_blocking(move || cluster_id(&client));
        let id = asking.await.ok().flatten();
        if id.as_deref() == Some(EMBEDDED_CLUSTER_ID) {
            tracing::info!("kafka is the embedded broker of another instance");
            self.is_embedded = true;
        }
        Ok(self)
    }
}

/// Waits for the id of the cluster.
fn cluster_id(client: &Consumer) -> Option<String> {
    let begun = Instant::now();
    loop {
        // Nothing is assigned: what comes is told to the context.
        drop(client.poll(TURN));
        if let Some(id) = client.client().fetch_cluster_id(Duration::ZERO) {
            return Some(id);
        }
        let limit = match client.context().rebootstrap().has_lost_all() {
            true => LIMIT_UNREACHABLE,
            false => LIMIT,
        };
        if begun.elapsed() >= limit {
            return None;
        }
    }
}

#[cfg(all(test, feature = "embedded-broker"))]
mod tests {
    use std::io;
    use std::net::SocketAddr;

    use clap::Parser as _;
    use tokio::io::copy_bidirectional;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::kafka::EmbeddedBroker;

    #[derive(clap::Parser)]
    struct Settings {
        #[command(flatten)]
        kafka: KafkaConfig,
    }

    async fn is_embedded(address: SocketAddr) -> bool {
        let config = Settings::parse_from(["test", "--kafka-brokers", &address.to_string()]).kafka;
        config.recognised().await.expect("settings").is_embedded
    }

    /// Passes a connection on to `target` after `delay`.
    async fn pass_on(listener: TcpListener, target: SocketAddr, delay: Duration) -> io::Result<()> {
        let (mut client, _) = listener.accept().await?;
        tokio::time::sleep(delay).await;
        let mut server = TcpStream::connect(target).await?;
        copy_bidirectional(&mut client, &mut server).await?;
        Ok(())
    }

    #[tokio::test]
    async fn the_embedded_broker_of_another_instance_is_known_for_what_it_is() {
        let folder = std::env::temp_dir().join(format!("sluicegate-{}", uuid::Uuid::new_v4()));
        let broker = EmbeddedBroker::start(&folder, ([127, 0, 0, 1], 0).into()).unwrap();
        assert!(is_embedded(broker.address()).await);
        let slow = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = slow.local_addr().unwrap();
        let (is_embedded, passed) = tokio::join!(
            is_embedded(address),
            pass_on(slow, broker.address(), LIMIT_UNREACHABLE * 2)
        );
        assert!(is_embedded, "it only takes its time: {passed:?}");
        broker.stop();
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn where_nobody_is_there_the_start_goes_on() {
        let begun = Instant::now();
        assert!(!is_embedded(([127, 0, 0, 1], 1).into()).await);
        assert!(begun.elapsed() < LIMIT, "took {:?}", begun.elapsed());
    }
}
