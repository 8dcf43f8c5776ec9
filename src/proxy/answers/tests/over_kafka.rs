//! Answers that come as records of the response topics.

use super::*;

const TOPIC: &str = "rig-proxy-response";

/// Every instance reads every answer, and the client that waits gets it, whatever else is in the topics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_reaches_the_client_that_waits() {
    let cluster = Cluster::start().await;
    let flags = ["--proxy-kafka-response-topics", "rig-proxy-response,second"];
    let (one, two) = cluster.pair(&flags).await;
    for instance in [&one, &two] {
        instance
            .answers
            .hear(AnswerFrom::Kafka)
            .await
            .expect("it reads");
    }
    for (instance, topic) in [(&one, TOPIC), (&two, "second"), (&one, "second")] {
        let (id, reply) = instance.run(command(AnswerFrom::Kafka)).await;
        for (headers, value) in [
            (&[("rig-response-code", "200")][..], "no correlation"),
            (
                &[("rig-correlation", "forged"), ("rig-response-code", "200")],
                "",
            ),
            (
                &[
                    ("Rig-Correlation", &*id),
                    ("RIG-Response-Code", "201"),
                    ("content-type", "text/plain"),
                    ("x-custom", "yes"),
                    ("x-bad", "a\r\nset-cookie: b"),
                    ("content-length", "1"),
                ],
                "hello",
            ),
        ] {
            two.write(topic, headers, value.as_bytes()).await;
        }
        let came = came(reply).await;
        assert_eq!(came.text(), (201, "hello"));
        let mut names: Vec<&str> = came.headers.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "x-custom"]);
    }
    for (instance, answered) in [(&one, 2), (&two, 1)] {
        instance.has_counted(Delivered::Here, answered).await;
        instance.has_counted(Delivered::Forged, 3).await;
        instance.has_counted(Delivered::Invalid, 3).await;
    }
    assert_eq!(one.counted(Delivered::Forwarded), 0);
    one.stop().await;
    two.stop().await;
}

/// An answer whose status is none is one all the same: its client need not wait for nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_learns_at_once_that_its_answer_cannot_be_read() {
    let cluster = Cluster::start().await;
    let one = cluster.instance("one", &[]).await;
    let (id, reply) = one.run(command(AnswerFrom::Kafka)).await;
    let event = format!(r#"{{"rig":{{"correlation":"{id}","response_code":99}}}}"#);
    one.write(TOPIC, &[], event.as_bytes()).await;
    let bad = came(reply).await;
    assert_eq!(bad.code(), (502, "bad_answer".to_owned()));
    assert_eq!(bad.headers["cache-control"], "no-store");
    let (id, reply) = one.run(command(AnswerFrom::Kafka)).await;
    let event = format!(r#"{{"rigcorrelation":"{id}","data":{{"a":1}}}}"#);
    one.write(TOPIC, &[], event.as_bytes()).await;
    assert_eq!(came(reply).await.text(), (200, r#"{"a":1}"#));
    one.stop().await;
}

/// Thousands of clients wait at once, and each gets its own answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_wait_for_records_and_each_gets_its_own() {
    const COUNT: usize = 3_000;
    let cluster = Cluster::start().await;
    let flags = ["--proxy-kafka-response-timeout", "300s"];
    let one = cluster.instance("one", &flags).await;
    let mut waiting = Vec::new();
    for _ in 0..COUNT {
        let (id, reply) = one.run(command(AnswerFrom::Kafka)).await;
        waiting.push((id, reply));
    }
    let ids: Vec<String> = waiting.iter().map(|(id, _)| id.clone()).collect();
    let producer = one.producer.clone();
    let mut answering = tokio::task::JoinSet::new();
    for step in 0..30 {
        let ids: Vec<String> = (0..100)
            // 7919 and 3,000 have no common divisor, so each comes once.
            .map(|at| ids[(step * 100 + at) * 7919 % COUNT].clone())
            .collect();
        let producer = producer.clone();
        answering.spawn(async move {
            let writes = ids.iter().map(|id| {
                let headers: [(&str, &[u8]); 2] = [
                    ("rig-correlation", id.as_bytes()),
                    ("rig-response-code", b"200"),
                ];
                let producer = &producer;
                async move {
                    let record = OutgoingRecord {
                        topic: TOPIC,
                        key: None,
                        headers: &headers,
                        payload: Some(id.as_bytes()),
                    };
                    producer.produce(record).await.expect("written");
                }
            });
            futures_util::future::join_all(writes).await;
        });
    }
    let results = waiting.into_iter().map(|(id, reply)| async move {
        let Ok(Reply::Later(response)) = reply else {
            panic!("no wait");
        };
        let response = response.await;
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body");
        assert_eq!((status.as_u16(), body.to_bytes()), (200, id.into()));
    });
    futures_util::future::join_all(results).await;
    assert_eq!(one.counted(Delivered::Here), COUNT as u64);
    assert_eq!(one.answers.desk.table().waiting(), 0);
    one.stop().await;
}
