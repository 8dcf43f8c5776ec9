//! Answers for which a client does not wait, but asks later.

use std::time::Duration;

use futures_util::future::join_all;

use super::{Pair, altered, assert_says, post};
use crate::support::commands::post_answer;
use crate::support::gateway::{Gateway, Settings, eventually};
use crate::support::http::Answer;
use crate::support::kafka::Kafka;
use crate::support::tokens::token;

/// Asks as clients do: again, where the instance that has the answer could not be reached in time.
async fn get(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Answer {
    loop {
        let answer = super::get(gateway, path, headers).await;
        if answer.status != 503 {
            return answer;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

pub async fn at_any_instance(kafka: &'static Kafka) {
    let mut pair = Pair::with(kafka, |settings| {
        settings.with("CORS", "https://app.example")
    })
    .await;
    let Pair {
        one, other, worker, ..
    } = &mut pair;
    let bearer = |user: &str| format!("Bearer {}", token(user, &format!("{user}-1")));
    let (alice, bob) = (bearer("alice"), bearer("bob"));
    let hers = [
        ("authorization", &*alice),
        ("origin", "https://app.example"),
    ];
    let asking = [hers[0], hers[1], ("prefer", "respond-async, wait=10")];
    let told = post(one, "/own", &asking, "{}").await;
    assert_says(&told, 202, "");
    assert_eq!(told.header("preference-applied"), Some("respond-async"));
    let exposed = told.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("location"), "{exposed}");
    let place = told.header("location").unwrap();
    let id = worker.next().await.correlation().to_owned();
    for gateway in [&*one, &*other] {
        let not_yet = get(gateway, place, &hers).await;
        assert_says(&not_yet, 202, "");
        assert!(not_yet.header("retry-after").is_some());
        for headers in [&[("authorization", &*bob)][..], &[]] {
            get(gateway, place, headers).await.problem(404);
        }
        get(gateway, &altered(place), &hers).await.problem(404);
        let with_correlation = format!("/_rig/v1/responses/{id}");
        get(gateway, &with_correlation, &hers).await.problem(404);
        let prefer = [hers[0], ("prefer", "wait=0")];
        assert_says(&get(gateway, place, &prefer).await, 202, "");
    }
    // Where to ask says nothing by which somebody could answer.
    let asker = place.rsplit('/').next().unwrap();
    let headers = [("rig-correlation", asker), ("rig-response-code", "200")];
    post_answer(one.internal(), &headers, b"forged")
        .await
        .problem(400);
    let waiting = [hers[0], hers[1], ("prefer", "wait=25")];
    let waits = join_all([&*one, &*other, &*other].map(|gateway| get(gateway, place, &waiting)));
    let (answers, ()) = tokio::join!(waits, worker.answer(&id, "418", "tea"));
    for answer in answers {
        assert_says(&answer, 418, "tea");
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, Some("https://app.example"));
    }
    for gateway in [&*other, &*one, &*other] {
        assert_says(&get(gateway, place, &hers).await, 418, "tea");
        get(gateway, place, &[("authorization", &bob)])
            .await
            .problem(404);
    }
    pair.stop().await;
}

pub async fn but_not_too_late(kafka: &'static Kafka) {
    let soon = |settings: Settings| settings.with("PROXY_ANSWER_TTL", "500ms");
    let mut pair = Pair::with(kafka, soon).await;
    let Pair {
        one, other, worker, ..
    } = &mut pair;
    let told = post(one, "/orders", &[("prefer", "respond-async")], "{}").await;
    let place = told.header("location").unwrap();
    let id = worker.next().await.correlation().to_owned();
    worker.answer(&id, "200", "done").await;
    for gateway in [&*one, &*other] {
        eventually("the answer is gone", async || {
            get(gateway, place, &[]).await.status == 410
        })
        .await;
    }
    pair.stop().await;
}
