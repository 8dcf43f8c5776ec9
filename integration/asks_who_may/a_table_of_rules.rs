//! A table of rules that says who may.

use serde_json::{Value, json};

use super::{Mode, checked, with_claims, with_token};
use crate::support::clients::{Client, Over};
use crate::support::gateway::{Gateway, Settings, event, query};
use crate::support::kafka::Kafka;

const RULES: &str = r#"{
    "subscribe": [
        { "types": ["news", "weather.*"] },
        { "types": ["order.*"], "sources": ["/shop/*"], "claims": { "/roles": ["admin", "support"] } },
        { "types": ["order.paid"], "claims": { "/scope": ["orders:read"], "/tier": [2] } },
        { "types": ["*"], "claims": { "/roles": ["root"] } }
    ],
    "submit": [
        { "types": ["chat.*"], "sources": ["/app/chat"], "claims": { "/roles": ["user"] } },
        { "types": ["ping"] }
    ]
}"#;

fn rules(kafka: &Kafka) -> Settings {
    checked(kafka, "rules", "rules").with("ACCESS_RULES", RULES)
}

pub async fn about_subscriptions(kafka: &Kafka) {
    let one = Gateway::with(rules(kafka)).await;
    let other = Gateway::with(one.settings.clone().with("INSTANCE_ID", "another")).await;
    let nobody = None;
    let plain = Some(with_claims(&json!({})));
    let admin = Some(with_claims(&json!({ "roles": ["user", "admin"] })));
    let reader = Some(with_claims(
        &json!({ "scope": "openid orders:read", "tier": 2 }),
    ));
    let half = Some(with_claims(&json!({ "scope": "orders:read", "tier": "2" })));
    let root = Some(with_claims(&json!({ "roles": "root" })));
    let all_of = |event_type: &str| json!([{ "eventType": event_type }]);
    let mut clients = Vec::new();
    for (who, wanted, expected) in [
        (&nobody, all_of("news"), Some(&["news"][..])),
        (&nobody, all_of("weather.today"), Some(&["weather"])),
        (&nobody, all_of("order.paid"), None),
        (&nobody, all_of("*"), None),
        (&plain, all_of("weather.*"), Some(&["weather"])),
        (&plain, all_of("order.*"), None),
        (&admin, all_of("order.*"), Some(&["shop"])),
        (&admin, all_of("order.paid"), Some(&["shop"])),
        (
            &admin,
            json!([{ "eventType": "news" }, { "eventType": "*" }]),
            None,
        ),
        (
            &admin,
            json!([{ "filters": [{ "prefix": { "type": "order." } }] }]),
            None,
        ),
        (&reader, all_of("order.paid"), Some(&["street", "shop"])),
        (&reader, all_of("order.*"), None),
        (&half, all_of("order.paid"), None),
        (
            &root,
            all_of("*"),
            Some(&["street", "shop", "news", "weather"]),
        ),
    ] {
        for over in Over::ALL {
            let what = format!("{over:?} {wanted}");
            let jwt = who
                .as_ref()
                .map_or(String::new(), |token| format!("&jwt={token}"));
            let address = format!("{}{jwt}", query(&wanted));
            let Some(expected) = expected else {
                let refused = over.refusal(one.public(), &address, &[]).await;
                assert_eq!(refused.status, 403, "{what}");
                let mut client = Client::open(over, one.public(), &jwt).await;
                for gateway in [&one, &other] {
                    let put = client.put(gateway.public(), &wanted, who.as_deref()).await;
                    put.problem(403);
                }
                if over.name() == "ws" {
                    client.say("rig.subscriptions_set", &wanted).await;
                    let told = client.event().await;
                    assert_eq!(told["type"], "rig.subscriptions_refused", "{what}");
                }
                continue;
            };
            clients.push((
                what.clone(),
                expected,
                Client::open(over, one.public(), &address).await,
            ));
            for gateway in [&one, &other] {
                let mut client = Client::open(over, one.public(), &jwt).await;
                let put = client.put(gateway.public(), &wanted, who.as_deref()).await;
                assert_eq!(put.status, 204, "{what}: {}", put.text());
                client.announced().await;
                clients.push((what.clone(), expected, client));
            }
            if over.name() == "ws" {
                let mut client = Client::open(over, one.public(), &jwt).await;
                client.say("rig.subscriptions_set", &wanted).await;
                client.announced().await;
                clients.push((what, expected, client));
            }
        }
    }
    let from = |source: &str, event_type: &str, id: &str| {
        let mut event = event(event_type, id, json!(1));
        event["source"] = source.into();
        event
    };
    let events = [
        from("/street", "order.paid", "street"),
        from("/shop/1", "order.paid", "shop"),
        from("/a", "news", "news"),
        from("/a", "weather.today", "weather"),
    ];
    kafka.produce_all(one.settings.topic(), 0, &events).await;
    for (what, expected, client) in &mut clients {
        let last = expected.last().unwrap();
        assert_eq!(client.ids_up_to(last).await, *expected, "{what}");
    }
    one.stop().await;
    other.stop().await;
}

/// A token without the role would otherwise keep what the role allowed, from token to token.
pub async fn again_with_each_token(kafka: &Kafka) {
    let gateway = Gateway::with(rules(kafka)).await;
    let all = json!([{ "eventType": "*" }]);
    let root = with_claims(&json!({ "roles": ["root"] }));
    for over in [Over::Ws, Over::WsOnHttp2] {
        let query = with_token(&all, &root);
        let mut client = Client::open(over, gateway.public(), &query).await;
        let more = with_claims(&json!({ "roles": ["user", "root"] }));
        client.say("rig.token", &json!({ "token": more })).await;
        assert_eq!(client.event().await["type"], "rig.session_renewed");
        gateway.publish(&event("ping", "1", json!(1))).await;
        assert_eq!(client.ids_up_to("1").await, ["1"], "{over:?}");
        let less = with_claims(&json!({ "roles": ["user"] }));
        client.say("rig.token", &json!({ "token": less })).await;
        assert_eq!(*client.announced().await, json!([]), "{over:?}");
        client.say("rig.subscriptions_set", &all).await;
        let refused = client.event().await;
        assert_eq!(refused["type"], "rig.subscriptions_refused", "{over:?}");
    }
    gateway.stop().await;
}

pub async fn about_submissions(kafka: &Kafka) {
    let gateway = Gateway::with(rules(kafka)).await;
    let bearer = format!("Bearer {}", with_claims(&json!({ "roles": ["root"] })));
    let headers = [("authorization", bearer.as_str())];
    let query = query(&json!([{ "eventType": "*" }]));
    let opened = Client::try_open(Over::Sse, gateway.public(), &query, &headers).await;
    let mut client = opened.expect("root may see all");
    let user = format!("Bearer {}", with_claims(&json!({ "roles": "user" })));
    let chat = |source: &str, id: &str| {
        let mut event = event("chat.message", id, json!(1));
        event["source"] = source.into();
        event
    };
    let ping = |id: &str| event("ping", id, json!(1));
    for mode in Mode::ALL {
        for (what, denied, bearer) in [
            ("no token", chat("/app/chat", "denied"), ""),
            ("another role", chat("/app/chat", "denied"), &*bearer),
            ("another source", chat("/app/chats", "denied"), &user),
            (
                "another type",
                event("order.paid", "denied", json!(1)),
                &user,
            ),
        ] {
            let answer = mode
                .submit(gateway.public(), std::slice::from_ref(&denied), bearer)
                .await;
            assert_eq!(answer.status, 403, "{mode:?} {what}: {}", answer.text());
            assert_eq!(answer.json()["code"], "submission_denied");
            // Nothing of a batch of which one event is denied.
            let batch = [ping("denied"), denied];
            let answer = Mode::Batch.submit(gateway.public(), &batch, bearer).await;
            answer.problem(403);
        }
        for (taken, bearer) in [(ping("p"), ""), (chat("/app/chat", "c"), &*user)] {
            let id = taken["id"].as_str().unwrap().to_owned();
            let answer = mode.submit(gateway.public(), &[taken], bearer).await;
            assert_eq!(answer.status, 202, "{mode:?}: {}", answer.text());
            assert_eq!(client.ids_up_to(&id).await, [id.as_str()], "{mode:?}");
        }
    }
    gateway.stop().await;
}

/// Two tokens allow what each of them allows, and not what one would that had the claims of both.
pub async fn for_each_of_several_tokens(kafka: &Kafka) {
    let gateway = Gateway::with(rules(kafka)).await;
    let together = |one: &Value, other: &Value| {
        let (one, other) = (with_claims(one), with_claims(other));
        format!("Bearer {one}, Bearer {other}")
    };
    let user = json!({ "roles": ["user"] });
    for (bearers, wanted, status) in [
        (
            together(&user, &json!({ "roles": ["admin"] })),
            "order.*",
            200,
        ),
        (
            together(&json!({ "roles": ["admin"] }), &user),
            "order.*",
            200,
        ),
        (
            together(&json!({ "scope": "orders:read", "tier": 2 }), &user),
            "order.paid",
            200,
        ),
        (
            together(&json!({ "scope": "orders:read" }), &json!({ "tier": 2 })),
            "order.paid",
            403,
        ),
    ] {
        let headers = [("authorization", bearers.as_str())];
        let wanted = json!([{ "eventType": wanted }]);
        for over in Over::ALL {
            let opened = Client::try_open(over, gateway.public(), &query(&wanted), &headers).await;
            let opened = opened.map_or_else(|answer| answer.status, |_| 200);
            assert_eq!(opened, status, "{over:?} {wanted}");
            if over.name() != "ws" {
                continue;
            }
            let client = Client::try_open(over, gateway.public(), "", &headers).await;
            let mut client = client.expect("opens without subscriptions");
            client.say("rig.subscriptions_set", &wanted).await;
            let told = client.event().await["type"].take();
            let expected = if status == 200 { "set" } else { "refused" };
            assert_eq!(
                told,
                format!("rig.subscriptions_{expected}"),
                "{over:?} {wanted}"
            );
        }
    }
    gateway.stop().await;
}
