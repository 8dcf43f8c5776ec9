//! Personal events: whatever somebody asks for, they get their own and nobody else's.

mod cases;
mod pair;

use futures_util::future::{FutureExt as _, LocalBoxFuture, join_all};
use serde_json::{Value, json};

use self::cases::cases;
use self::pair::{Pair, everybodys, mail, personal};
use crate::support::clients::{Client, Over};
use crate::support::gateway::{Gateway, event, query};
use crate::support::kafka::Kafka;
use crate::support::tokens::{in_seconds, signed, token};

fn with_token(subscriptions: &Value, token: &str) -> String {
    format!("{}&jwt={token}", query(subscriptions))
}

/// What a token derives for this user.
fn derived(user: &str) -> Value {
    json!([
        { "eventType": "my.mail", "oneOf": [{ "to": user }] },
        { "eventType": "personal", "oneOf": [{ "name": user }] },
    ])
}

/// Opens a client of alice that asks for this in its address.
async fn asks_at_first(over: Over, pair: &Pair, wanted: &Value) -> Client {
    let query = with_token(wanted, &token("alice", "a1"));
    Client::open(over, pair.one.public(), &query).await
}

/// Opens a client of alice that asks for this later, at this instance and maybe with the token again.
async fn asks_later(
    over: Over,
    pair: &Pair,
    wanted: &Value,
    (at, says_token): (&Gateway, bool),
) -> Client {
    let alice = token("alice", "a1");
    let mut client = Client::open(over, pair.one.public(), &format!("jwt={alice}")).await;
    let token = says_token.then_some(alice.as_str());
    let answer = client.put(at.public(), wanted, token).await;
    assert_eq!(answer.status, 204, "{over:?} {wanted}: {}", answer.text());
    client.announced().await;
    client
}

/// Opens a client of alice that asks for this on its WebSocket.
async fn asks_on_the_socket(over: Over, pair: &Pair, wanted: &Value) -> Client {
    let alice = token("alice", "a1");
    let mut client = Client::open(over, pair.one.public(), &format!("jwt={alice}")).await;
    client.say("rig.subscriptions_set", wanted).await;
    client.announced().await;
    client
}

pub async fn whatever_they_ask_for(kafka: &Kafka) {
    let pair = Pair::start(kafka).await;
    let mut all = Vec::new();
    for (wanted, besides) in &cases() {
        let mut ways: Vec<LocalBoxFuture<'_, Client>> = Vec::new();
        for over in Over::ALL {
            ways.push(asks_at_first(over, &pair, wanted).boxed_local());
        }
        for over in Over::EACH {
            for at in [
                (&pair.one, false),
                (&pair.other, false),
                (&pair.other, true),
            ] {
                ways.push(asks_later(over, &pair, wanted, at).boxed_local());
            }
        }
        for over in [Over::Ws, Over::WsOnHttp2] {
            ways.push(asks_on_the_socket(over, &pair, wanted).boxed_local());
        }
        for client in join_all(ways).await {
            all.push((wanted.clone(), *besides, client));
        }
    }
    pair.write(
        kafka,
        &[
            personal("bob", "b1"),
            mail("bob", "b2"),
            personal("Alice", "b3"),
            personal("", "b4"),
            event("personal", "b5", Value::Null),
            event("personal", "b6", json!({ "name": ["alice"] })),
            everybodys("n", "n"),
            everybodys("my.note", "m"),
            personal("alice", "a1"),
            mail("alice", "a2"),
        ],
    )
    .await;
    for (wanted, besides, client) in &mut all {
        let what = format!("{:?} with {wanted}", client.over);
        let announced = client.subscriptions.as_array().unwrap();
        for own in derived("alice").as_array().unwrap() {
            assert!(announced.contains(own), "{what}: {announced:?}");
        }
        let expected = [*besides, &["a1", "a2"]].concat();
        assert_eq!(client.ids_up_to("a2").await, expected, "{what}");
    }
    pair.stop().await;
}

pub async fn and_nothing_to_those_whose_token_does_not_name_them(kafka: &Kafka) {
    let pair = Pair::start(kafka).await;
    let claims = |username: Value| {
        let claims = json!({ "jti": "s", "exp": in_seconds(600), "username": username });
        Some(signed(&claims))
    };
    let without = signed(&json!({ "sub": "alice", "jti": "s", "exp": in_seconds(600) }));
    let by_name = json!([{ "eventType": "personal", "oneOf": [{ "name": "alice" }] }]);
    let all = json!([{ "eventType": "*" }]);
    let mut clients = Vec::new();
    for token in [
        None,
        Some(without),
        claims(Value::Null),
        claims(json!(["alice"])),
        claims(json!({ "0": "alice" })),
    ] {
        let with = |wanted: &Value| match &token {
            Some(token) => with_token(wanted, token),
            None => query(wanted),
        };
        for over in Over::ALL {
            let refused = over.refusal(pair.one.public(), &with(&by_name), &[]).await;
            assert_eq!(refused.status, 403, "{over:?}");
            let mut client = Client::open(over, pair.one.public(), &with(&all)).await;
            for gateway in pair.gateways() {
                let put = client.put(gateway.public(), &by_name, token.as_deref());
                put.await.problem(403);
            }
            if client.over.name() == "ws" {
                client.say("rig.subscriptions_set", &by_name).await;
                let told = client.event().await;
                assert_eq!(told["type"], "rig.subscriptions_refused");
                assert_eq!(told["data"]["status"], 403);
            }
            clients.push(client);
        }
    }
    let events = [
        personal("alice", "a"),
        event("personal", "b", json!({ "name": ["alice"] })),
        event("personal", "c", Value::Null),
        everybodys("n", "n"),
    ];
    pair.write(kafka, &events).await;
    for client in &mut clients {
        assert_eq!(client.ids_up_to("n").await, ["n"], "{:?}", client.over);
    }
    pair.stop().await;
}

pub async fn on_connections_that_nobody_else_can_take_over(kafka: &Kafka) {
    let pair = Pair::start(kafka).await;
    let (alice, bob) = (token("alice", "a1"), token("bob", "b1"));
    let wanted = json!([{ "eventType": "personal" }]);
    let mut clients = Vec::new();
    for over in Over::EACH {
        let bobs = Client::open(over, pair.one.public(), &with_token(&wanted, &bob)).await;
        for gateway in pair.gateways() {
            let stolen = bobs.put(gateway.public(), &wanted, Some(&alice)).await;
            stolen.problem(403);
        }
        // Somebody unknown becomes known, once.
        let mut unknown = Client::open(over, pair.one.public(), "").await;
        let named = unknown
            .put(pair.other.public(), &wanted, Some(&alice))
            .await;
        assert_eq!(named.status, 204, "{over:?}: {}", named.text());
        unknown.announced().await;
        assert_eq!(unknown.subscriptions, derived("alice"));
        for gateway in pair.gateways() {
            unknown
                .put(gateway.public(), &wanted, Some(&bob))
                .await
                .problem(403);
        }
        clients.extend([("b", bobs), ("a", unknown)]);
    }
    let events = [
        personal("alice", "a1"),
        personal("bob", "b1"),
        personal("bob", "b-end"),
        personal("alice", "a-end"),
    ];
    pair.write(kafka, &events).await;
    for (whose, client) in &mut clients {
        let last = format!("{whose}-end");
        let expected = [format!("{whose}1"), last.clone()];
        assert_eq!(client.ids_up_to(&last).await, expected, "{:?}", client.over);
    }
    pair.stop().await;
}

pub async fn also_from_the_past(kafka: &Kafka) {
    let pair = Pair::start(kafka).await;
    let (alice, bob) = (token("alice", "a1"), token("bob", "b1"));
    let bobs = Client::open(Over::Sse, pair.one.public(), &format!("jwt={bob}")).await;
    let cursor = bobs.last_event_id().expect("a cursor").to_owned();
    let events = [
        personal("bob", "b1"),
        mail("bob", "b2"),
        personal("alice", "a1"),
        everybodys("n", "n"),
        personal("bob", "b3"),
        mail("alice", "a2"),
    ];
    pair.write(kafka, &events).await;
    // When a live client has them, both kinds of history do.
    for gateway in pair.gateways() {
        let query = format!("jwt={alice}&start=earliest");
        let mut live = Client::open(Over::Sse, gateway.public(), &query).await;
        assert_eq!(live.ids_up_to("a2").await, ["a1", "a2"]);
    }
    for (wanted, expected) in [
        (json!([{ "eventType": "*" }]), &["a1", "n", "a2"][..]),
        (
            json!([{ "eventType": "personal", "oneOf": [{ "name": "bob" }] }]),
            &["a1", "a2"],
        ),
    ] {
        for over in Over::ALL {
            for (gateway, from) in [
                (&pair.one, "start=earliest".to_owned()),
                (&pair.one, "start=1970-01-01T00:00:00Z".to_owned()),
                (&pair.one, format!("start=last:{}", expected.len())),
                // Of somebody else's connection, at another instance.
                (&pair.other, format!("last_event_id={cursor}")),
            ] {
                let query = format!("{}&{from}", with_token(&wanted, &alice));
                let mut client = Client::open(over, gateway.public(), &query).await;
                let ids = client.ids_up_to("a2").await;
                assert_eq!(ids, expected, "{over:?} {from} {wanted}");
            }
        }
    }
    // Nobody who is unknown gets any of it.
    for over in Over::ALL {
        let query = format!("{}&start=earliest", query(&json!([{ "eventType": "*" }])));
        let mut client = Client::open(over, pair.other.public(), &query).await;
        assert_eq!(client.ids_up_to("n").await, ["n"], "{over:?}");
    }
    pair.stop().await;
}

/// The transports of three users at two instances; those that can, go on at the other one halfway.
pub async fn in_order_and_without_a_leak(kafka: &Kafka) {
    const USERS: [&str; 4] = ["alice", "bob", "carol", "nobody"];
    let pair = Pair::start(kafka).await;
    let whose: Vec<&str> = (0..200)
        .map(|_| USERS[usize::from(uuid::Uuid::new_v4().as_bytes()[0] % 4)])
        .collect();
    let mut events: Vec<Value> = whose
        .iter()
        .enumerate()
        .map(|(number, user)| match number % 3 {
            0 => mail(user, &format!("{user}-{number}")),
            _ => personal(user, &format!("{user}-{number}")),
        })
        .collect();
    for (place, name) in [(events.len(), "end"), (100, "half")] {
        let ends = USERS.map(|user| personal(user, &format!("{user}-{name}")));
        events.splice(place..place, ends);
    }
    let mut clients = Vec::new();
    for user in &USERS[..3] {
        let query = with_token(&json!([{ "eventType": "*" }]), &token(user, user));
        for over in Over::ALL {
            for (at, next) in [(&pair.one, &pair.other), (&pair.other, &pair.one)] {
                let client = Client::open(over, at.public(), &query).await;
                clients.push((*user, query.clone(), next, client));
            }
        }
    }
    pair.write(kafka, &events).await;
    let checked = clients.into_iter().map(|(user, query, next, mut client)| {
        let own = events.iter().filter(|event| event["data"]["name"] == user);
        let own: Vec<String> = own
            .map(|event| event["id"].as_str().unwrap().to_owned())
            .collect();
        async move {
            let over = client.over;
            let mut ids = client.ids_up_to(&format!("{user}-half")).await;
            match over {
                Over::Sse | Over::SseOnHttp2 => {
                    let cursor = client.last_event_id().expect("a cursor");
                    let query = format!("{query}&last_event_id={cursor}");
                    client = Client::open(over, next.public(), &query).await;
                }
                Over::LongPolling => client.address = next.public(),
                Over::Ws | Over::WsOnHttp2 => {}
            }
            ids.extend(client.ids_up_to(&format!("{user}-end")).await);
            assert_eq!(ids, own, "{user} {over:?}");
        }
    });
    join_all(checked).await;
    pair.stop().await;
}

/// RIG's filters of a type crashed on a pointer through a text or an array, with all that was
/// subscribed to the type.
pub async fn whatever_the_fields_of_an_event_are(kafka: &Kafka) {
    let pair = Pair::start(kafka).await;
    let alice = token("alice", "a1");
    let weather = json!([{ "eventType": "weather", "oneOf": [{ "name": "alice" }] }]);
    let mut clients = Vec::new();
    for over in Over::ALL {
        let query = with_token(&weather, &alice);
        clients.push(Client::open(over, pair.one.public(), &query).await);
    }
    let odd = [
        json!("alice"),
        json!(["alice"]),
        json!([{ "name": "alice" }]),
        json!({ "name": ["alice"] }),
        json!({ "name": { "name": "alice" } }),
        json!({ "data": { "name": "alice" } }),
        json!({ "name": null }),
        json!({ "name": true }),
        json!({ "name": 1e300 }),
        json!({}),
        json!(7),
        json!(false),
        Value::Null,
    ];
    let mut events = Vec::new();
    for (number, data) in odd.iter().enumerate() {
        for event_type in ["personal", "my.mail", "weather"] {
            let id = format!("{event_type}-{number}");
            events.push(event(event_type, &id, data.clone()));
        }
    }
    let mut bare = event("personal", "bare", Value::Null);
    bare.as_object_mut().unwrap().remove("data");
    events.extend([bare, everybodys("weather", "w"), personal("alice", "a")]);
    pair.write(kafka, &events).await;
    for client in &mut clients {
        assert_eq!(client.ids_up_to("a").await, ["w", "a"], "{:?}", client.over);
    }
    pair.stop().await;
}

pub async fn by_each_of_several_tokens(kafka: &Kafka) {
    let pair = Pair::start(kafka).await;
    let both = format!(
        "Bearer {}, Bearer {}",
        token("alice", "a1"),
        token("bob", "b1")
    );
    let headers = [("authorization", both.as_str())];
    let mut clients = Vec::new();
    for over in Over::ALL {
        let opened = Client::try_open(over, pair.one.public(), "", &headers).await;
        let client = opened.unwrap_or_else(|answer| panic!("{over:?}: {}", answer.status));
        let personal =
            json!({ "eventType": "personal", "oneOf": [{ "name": "alice" }, { "name": "bob" }] });
        let announced = client.subscriptions.as_array().unwrap();
        assert!(announced.contains(&personal), "{over:?}: {announced:?}");
        clients.push(client);
    }
    let events = [
        personal("alice", "a"),
        personal("carol", "c"),
        personal("bob", "b"),
    ];
    pair.write(kafka, &events).await;
    for client in &mut clients {
        assert_eq!(client.ids_up_to("b").await, ["a", "b"], "{:?}", client.over);
    }
    pair.stop().await;
}
