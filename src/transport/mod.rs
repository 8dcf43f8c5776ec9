//! The ways in which clients get their events: server-sent events, WebSocket, long polling.
//!
//! ```text
//! request ─▶ Streams (parameters) ─▶ HandOver ─▶ shard ─Wire─▶ socket, or a pipe to TLS or HTTP/2
//!        └─▶ LongPolling ──────────────────────▶ shard ──────▶ one answer
//! ```
//!
//! # Invariants
//! - A bad parameter is refused before a connection is opened.
//! - What a client wants is in force when it reads `rig.subscriptions_set`.

mod acknowledgements;
mod beginning;
mod carry;
mod change;
mod changes;
mod hand_over;
mod handshake;
mod longpoll;
mod message;
mod refusal;
mod session_id;
mod sse;
mod streams;
mod ws;

pub use acknowledgements::{AcknowledgementConfig, Acknowledgements};
pub use change::{CHANGE_COMMAND, Change, ChangeError};
pub use changes::Changes;
pub use longpoll::{LongPollConfig, LongPolling, STATE_KIND, gone};
pub use message::ClientMessage;
pub use refusal::{SseConfig, SseLimitAnswer};
pub use sse::Sse;
pub use streams::Streams;
pub use ws::{MAX_MESSAGE_BYTES, Ws};

use crate::dispatch::{Format, Wire};
use longpoll::LongPoll;

/// The table of wire formats; the constants below are its indexes.
pub static FORMATS: [&dyn Wire; 4] = [
    &Sse,
    &Ws {
        with_cursors: false,
    },
    &Ws { with_cursors: true },
    &LongPoll,
];

const SSE: Format = Format(0);
const WS: Format = Format(1);
const WS_WITH_CURSORS: Format = Format(2);
const LONG_POLL: Format = Format(3);
