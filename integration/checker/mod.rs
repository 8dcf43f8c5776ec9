//! The history checker: numbered events, clients that come and go, faults at seeded random times, and
//! a comparison of what each client got with what Kafka holds.
//!
//! ```text
//! producers ──Kafka protocol, POST──▶ 12 partitions ──▶ instances (children: killed, frozen, ended)
//!     │                                   │                 ▲
//!     ▼                                   ▼                 │ TCP proxies that cut at random bytes
//!  ledger: sent, acknowledged      log: what Kafka holds    │
//!     │                                   │              clients: SSE, WebSocket, long polling;
//!     └──────────────▶ verdict ◀──────────┘              each at a random instance, with its cursor
//!                         ▲                                 │
//!                         └────────── histories ◀───────────┘
//! ```
//!
//! What is checked: whatever was acknowledged is in Kafka; and each client got, of each partition,
//! just what its filters match, from where it began to the end, once and in Kafka's order.
//!
//! A frame that was cut counts as never received, and the cursor handed back is that of the last
//! whole one. At the end everything is healed, and each client has to reach the last event.
//!
//! A short run and the planted bugs are tests ([`trials`]); `-- check-history --minutes 10 --seed 7`
//! as arguments of the test binary is a long run ([`command`]).
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "partitions, keys and percents are small"
)]

pub mod clients;
pub mod command;
pub mod cursors;
pub mod event;
pub mod faults;
pub mod findings;
pub mod history;
pub mod instances;
pub mod ledger;
pub mod log;
pub mod options;
pub mod producers;
pub mod proxy;
pub mod random;
pub mod report;
pub mod run;
pub mod trials;
pub mod verdict;
pub mod wish;
