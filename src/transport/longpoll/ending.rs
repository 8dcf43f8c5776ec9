//! Sessions of clients that poll which end before their time: killed by an operator, or with their token.

use http::header::{HeaderValue, SET_COOKIE};
use http::{HeaderMap, Response};

use super::answers::list;
use crate::dispatch::ControlEvent;
use crate::http::Body;
use crate::telemetry::now_ms;

/// Why a session has ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// An operator has ended it.
    Killed,
    /// Its token has expired.
    Expired,
}

impl Ended {
    fn event(self) -> ControlEvent {
        match self {
            Self::Killed => ControlEvent::session_killed(),
            Self::Expired => ControlEvent::session_expired(),
        }
    }

    /// Returns the last answer of the session: why it has ended, after `events`; `last` is where the client
    /// stands. It takes the cookie back that names the session.
    pub(super) fn answer(self, mut events: Vec<Vec<u8>>, last: &str) -> Response<Body> {
        events.push(self.event().to_json(now_ms()));
        let mut response = list(&events, last);
        forget_session(response.headers_mut());
        response
    }
}

fn forget_session(headers: &mut HeaderMap) {
    let gone = HeaderValue::from_static("connection_token=; Max-Age=0; Path=/; HttpOnly");
    headers.append(SET_COOKIE, gone);
}
