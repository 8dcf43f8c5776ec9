//! Makes answers of replies over NATS.
//!
//! # Source
//! RIG: the payload is the body, with status 200 and type `application/json`. NATS services: the headers
//! `Nats-Service-Error` and `Nats-Service-Error-Code` of a service that failed.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::answer::Answer;
use super::message::{CODE, MessageFault, header, status};
use super::passed::{Poster, passed_on};
use super::run::Answers;

/// What the names of headers begin with that are for NATS itself.
const OF_NATS: &str = "nats-";
const ERROR: [&str; 1] = ["Nats-Service-Error"];
const ERROR_CODE: [&str; 1] = ["Nats-Service-Error-Code"];

impl Answers {
    /// Makes an answer of a reply, whose command is known: with the status of `rig-response-code` or of a service's
    /// error, else 200, and with the headers that are for the client. The text of such an error is the body where there
    /// is none.
    ///
    /// # Errors
    /// [`MessageFault::BadCode`] for a `rig-response-code` that is none.
    pub(in crate::proxy) fn of_reply(
        &self,
        headers: &[(Box<str>, Box<str>)],
        body: Bytes,
    ) -> Result<Answer, MessageFault> {
        let headers: Vec<(&str, Option<&[u8]>)> = headers
            .iter()
            .map(|(name, value)| (&**name, Some(value.as_bytes())))
            .collect();
        let status = status_of(&headers)?;
        let fault = fault_of(&headers).filter(|_| body.is_empty());
        let for_client: Vec<_> = headers
            .into_iter()
            .filter(|(name, _)| !name.to_ascii_lowercase().starts_with(OF_NATS))
            .collect();
        let mut headers = passed_on(&for_client, Poster::Record, &self.headers);
        if fault.is_some() {
            let text = HeaderValue::from_static("text/plain; charset=utf-8");
            headers.insert(CONTENT_TYPE, text);
        }
        let json = HeaderValue::from_static("application/json");
        headers.entry(CONTENT_TYPE).or_insert(json);
        Ok(Answer {
            status,
            headers,
            body: fault.unwrap_or(body),
        })
    }
}

/// Returns the text in which a service says what went wrong.
fn fault_of(headers: &[(&str, Option<&[u8]>)]) -> Option<Bytes> {
    let is_answer = header(headers, &CODE).is_some();
    let text = header(headers, &ERROR).filter(|text| !is_answer && !text.is_empty());
    text.map(Bytes::copy_from_slice)
}

fn status_of(headers: &[(&str, Option<&[u8]>)]) -> Result<StatusCode, MessageFault> {
    if let Some(code) = header(headers, &CODE) {
        return status(std::str::from_utf8(code).unwrap_or_default());
    }
    let code =
        header(headers, &ERROR_CODE).map(|code| std::str::from_utf8(code).unwrap_or_default());
    if code.is_none() && header(headers, &ERROR).is_none() {
        return Ok(StatusCode::OK);
    }
    // A service may use codes that are none of HTTP.
    let failed = code.and_then(|code| status(code).ok());
    let failed = failed.filter(|code| code.is_client_error() || code.is_server_error());
    Ok(failed.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_that_of_the_contract_or_of_a_services_error_or_200() {
        for (headers, expected) in [
            (&[][..], Ok(200)),
            (&[("x", "y")], Ok(200)),
            (&[("Rig-Response-Code", "201")], Ok(201)),
            (
                &[("rig-response-code", "201"), ("Nats-Service-Error", "no")],
                Ok(201),
            ),
            (&[("rig-response-code", "abc")], Err(MessageFault::BadCode)),
            (&[("Nats-Service-Error", "no")], Ok(500)),
            (&[("Nats-Service-Error-Code", "404")], Ok(404)),
            (&[("nats-service-error-code", "7")], Ok(500)),
            (&[("Nats-Service-Error-Code", "200")], Ok(500)),
        ] {
            let headers: Vec<(&str, Option<&[u8]>)> = headers
                .iter()
                .map(|(name, value)| (*name, Some(value.as_bytes())))
                .collect();
            let status = status_of(&headers).map(|status| status.as_u16());
            assert_eq!(status, expected, "{headers:?}");
        }
    }
}
