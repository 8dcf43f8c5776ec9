//! Reads messages with answers, from Kafka or a request.
//!
//! # Source
//! RIG: binary mode, headers `rig-correlation` and `rig-response-code`, any body; before that, a member `rig` in a
//! structured CloudEvent. CloudEvents 1.0.2: the same two as extension attributes, whose names have no hyphens.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use thiserror::Error;

use super::answer::Answer;
use super::passed::{HeaderLog, Poster, passed_on};
use crate::event::is_json;

/// Why a message is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MessageFault {
    /// Nothing says which command it answers.
    #[error(
        "there is no header rig-correlation, and no CloudEvent in JSON with a member rig or rigcorrelation"
    )]
    NoCorrelation,
    /// Nothing says which status the client gets.
    #[error("there is no header rig-response-code")]
    NoCode,
    /// The status is none.
    #[error("rig-response-code is not a number from 200 to 599")]
    BadCode,
    /// The data of the event are not base64.
    #[error("data_base64 is not base64")]
    BadData,
}

/// A message that says which command it answers.
#[derive(Debug)]
pub(super) struct Message<'a> {
    /// The id of the command.
    pub(super) correlation: Cow<'a, str>,
    headers: &'a [(&'a str, Option<&'a [u8]>)],
    content: Content<'a>,
}

#[derive(Debug)]
enum Content<'a> {
    Binary(&'a [u8]),
    Structured(Box<Structured<'a>>),
}

/// The members of a structured CloudEvent that matter here, of all versions.
#[derive(Debug, Deserialize)]
struct Structured<'a> {
    #[serde(borrow)]
    rig: Option<RigMember<'a>>,
    #[serde(borrow)]
    rigcorrelation: Option<Cow<'a, str>>,
    rigresponsecode: Option<Value>,
    #[serde(borrow, alias = "contenttype", alias = "contentType")]
    datacontenttype: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    data_base64: Option<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
struct RigMember<'a> {
    #[serde(borrow)]
    correlation: Option<Cow<'a, str>>,
    response_code: Option<Value>,
}

/// The header with the id under which an answer comes back: of commands, and of the answers themselves.
pub(in crate::proxy) const CORRELATION_HEADER: &str = "rig-correlation";

const CORRELATION: [&str; 3] = [CORRELATION_HEADER, "ce_rigcorrelation", "ce-rigcorrelation"];
pub(super) const CODE: [&str; 3] = [
    "rig-response-code",
    "ce_rigresponsecode",
    "ce-rigresponsecode",
];

impl<'a> Message<'a> {
    /// Finds out which command a message answers: by its headers, else by the event in its value.
    ///
    /// # Errors
    /// [`MessageFault::NoCorrelation`].
    pub(super) fn read(
        headers: &'a [(&'a str, Option<&'a [u8]>)],
        value: &'a [u8],
    ) -> Result<Self, MessageFault> {
        if let Some(correlation) = header(headers, &CORRELATION) {
            let correlation = std::str::from_utf8(correlation);
            return Ok(Self {
                correlation: correlation.unwrap_or_default().into(),
                headers,
                content: Content::Binary(value),
            });
        }
        let event: Structured<'a> =
            serde_json::from_slice(value).map_err(|_| MessageFault::NoCorrelation)?;
        let member = event.rig.as_ref().and_then(|rig| rig.correlation.clone());
        let correlation = member.or_else(|| event.rigcorrelation.clone());
        Ok(Self {
            correlation: correlation.ok_or(MessageFault::NoCorrelation)?,
            headers,
            content: Content::Structured(Box::new(event)),
        })
    }

    /// Returns what the client gets.
    ///
    /// # Errors
    /// [`MessageFault`], when status or data are missing or none.
    pub(super) fn answer(&self, poster: Poster, log: &HeaderLog) -> Result<Answer, MessageFault> {
        let mut headers = passed_on(self.headers, poster, log);
        let (status, body) = match &self.content {
            Content::Binary(body) => {
                let code = header(self.headers, &CODE).ok_or(MessageFault::NoCode)?;
                let code = std::str::from_utf8(code).map_err(|_| MessageFault::BadCode)?;
                (status(code)?, Bytes::copy_from_slice(body))
            }
            Content::Structured(event) => {
                let status = match header(self.headers, &CODE) {
                    Some(code) => status(std::str::from_utf8(code).unwrap_or_default())?,
                    None => event.status()?,
                };
                (status, event.body(&mut headers)?)
            }
        };
        Ok(Answer {
            status,
            headers,
            body,
        })
    }
}

impl Structured<'_> {
    /// Returns the status, 200 where none is given.
    fn status(&self) -> Result<StatusCode, MessageFault> {
        let member = self.rig.as_ref().and_then(|rig| rig.response_code.as_ref());
        match member.or(self.rigresponsecode.as_ref()) {
            None | Some(Value::Null) => Ok(StatusCode::OK),
            Some(Value::String(text)) => status(text),
            Some(other) => status(&other.to_string()),
        }
    }

    /// Returns the data as they are outside of JSON, and sets the content type.
    fn body(&self, headers: &mut HeaderMap) -> Result<Bytes, MessageFault> {
        headers.remove(CONTENT_TYPE);
        let kind = self.datacontenttype.as_deref();
        let (body, kind) = match (&self.data_base64, self.data) {
            (Some(data), _) => {
                let data = STANDARD.decode(data.as_bytes());
                (data.map_err(|_| MessageFault::BadData)?.into(), kind)
            }
            (None, Some(data)) => (
                data_outside_json(data, kind),
                Some(kind.unwrap_or("application/json")),
            ),
            (None, None) => (Bytes::new(), kind),
        };
        if let Some(Ok(kind)) = kind.map(HeaderValue::from_str) {
            headers.insert(CONTENT_TYPE, kind);
        }
        Ok(body)
    }
}

/// Returns data of an event as they are outside of JSON: a text, where the type is another one and they are a string.
fn data_outside_json(data: &RawValue, kind: Option<&str>) -> Bytes {
    let json = data.get();
    match serde_json::from_str::<String>(json) {
        Ok(text) if !kind.is_none_or(is_json) => text.into(),
        _ => Bytes::copy_from_slice(json.as_bytes()),
    }
}

/// Reads a status, from 200 to 599.
pub(super) fn status(code: &str) -> Result<StatusCode, MessageFault> {
    let is_final = |code: &u16| (200..=599).contains(code);
    let is_number = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
    let code = code.parse().ok().filter(is_final).filter(|_| is_number);
    let status = code.and_then(|code| StatusCode::from_u16(code).ok());
    status.ok_or(MessageFault::BadCode)
}

/// Returns the value of the first header that has one of the names, in any case.
pub(super) fn header<'a>(headers: &[(&str, Option<&'a [u8]>)], names: &[&str]) -> Option<&'a [u8]> {
    let is_named = |name: &str| names.iter().any(|known| name.eq_ignore_ascii_case(known));
    let found = headers.iter().find(|(name, _)| is_named(name));
    found.and_then(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        headers: &[(&str, &str)],
        value: &str,
    ) -> Result<(String, Result<Answer, MessageFault>), MessageFault> {
        let headers: Vec<(&str, Option<&[u8]>)> = headers
            .iter()
            .map(|(name, value)| (*name, Some(value.as_bytes())))
            .collect();
        let message = Message::read(&headers, value.as_bytes())?;
        let answer = message.answer(Poster::Record, &HeaderLog::default());
        Ok((message.correlation.into_owned(), answer))
    }

    fn answer(headers: &[(&str, &str)], value: &str) -> (u16, Option<String>, String) {
        let (correlation, answer) = read(headers, value).unwrap();
        assert_eq!(correlation, "id");
        let answer = answer.unwrap();
        let kind = answer.headers.get(CONTENT_TYPE);
        (
            answer.status.as_u16(),
            kind.map(|kind| kind.to_str().unwrap().to_owned()),
            String::from_utf8(answer.body.to_vec()).unwrap(),
        )
    }

    fn expected(status: u16, kind: &str, body: &str) -> (u16, Option<String>, String) {
        let kind = (!kind.is_empty()).then(|| kind.to_owned());
        (status, kind, body.to_owned())
    }

    #[test]
    fn headers_say_what_the_client_gets_and_the_body_is_anything() {
        for (headers, body, kind) in [
            (
                &[
                    ("rig-correlation", "id"),
                    ("rig-response-code", "201"),
                    ("content-type", "text/plain"),
                ][..],
                "not json",
                "text/plain",
            ),
            (
                &[("RIG-Correlation", "id"), ("Rig-Response-Code", "201")],
                "[1]",
                "",
            ),
            (
                &[
                    ("ce_rigcorrelation", "id"),
                    ("ce_rigresponsecode", "201"),
                    ("ce_specversion", "1.0"),
                    ("Content-Type", "application/json"),
                ],
                "{\"rig\":{\"correlation\":\"other\"}}",
                "application/json",
            ),
            (
                &[("ce-rigcorrelation", "id"), ("ce-rigresponsecode", "201")],
                "",
                "",
            ),
        ] {
            assert_eq!(
                answer(headers, body),
                expected(201, kind, body),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn structured_events_carry_the_same_in_a_member_or_in_attributes() {
        let json = "application/json";
        for (event, expected) in [
            (
                r#"{"rig":{"correlation":"id","response_code":202},"data":{"a": 1.0}}"#,
                expected(202, json, r#"{"a": 1.0}"#),
            ),
            (
                r#"{"rig":{"correlation":"id","response_code":"404"},"data":"x"}"#,
                expected(404, json, "\"x\""),
            ),
            (
                r#"{"specversion":"1.0","rigcorrelation":"id","rigresponsecode":500,"datacontenttype":"text/plain; charset=utf-8","data":"a\nb"}"#,
                expected(500, "text/plain; charset=utf-8", "a\nb"),
            ),
            (
                r#"{"rigcorrelation":"id","contenttype":"application/x+json","data":"x"}"#,
                expected(200, "application/x+json", "\"x\""),
            ),
            (
                r#"{"rigcorrelation":"id","datacontenttype":"x/y","data_base64":"YWI="}"#,
                expected(200, "x/y", "ab"),
            ),
            (
                r#"{"rig":{"correlation":"id"},"data":null}"#,
                expected(200, "", ""),
            ),
            (
                r#"{"rig":{"correlation":"id"},"datacontenttype":"a\r\nb","data":1}"#,
                expected(200, "", "1"),
            ),
        ] {
            for headers in [&[("content-type", "application/cloudevents+json")][..], &[]] {
                assert_eq!(answer(headers, event), expected, "{event}");
            }
        }
    }

    #[test]
    fn what_answers_no_command_is_no_answer() {
        for value in [
            "",
            "x",
            "[]",
            "{}",
            r#"{"rig":1}"#,
            r#"{"rig":{}}"#,
            r#"{"rig":{"correlation":1}}"#,
            r#"{"rigcorrelation":null}"#,
            &"[".repeat(100_000),
            &r#"{"rig":"#.repeat(100_000),
        ] {
            let fault = read(&[("rig-response-code", "200")], value).unwrap_err();
            assert_eq!(fault, MessageFault::NoCorrelation, "{value}");
        }
    }

    #[test]
    fn a_status_is_a_number_from_200_to_599() {
        for code in [
            "", "abc201", "99", "100", "101", "199", "600", "999", "2000", "+200", " 200", "200 ",
            "200.0", "-1", "1e2", "٢٠٠",
        ] {
            let headers = [("rig-correlation", "id"), ("rig-response-code", code)];
            let (_, answer) = read(&headers, "").unwrap();
            assert_eq!(answer, Err(MessageFault::BadCode), "{code}");
        }
        for code in ["199", "600", "20.5", "true", "\"x\"", "[200]"] {
            let event = format!(r#"{{"rig":{{"correlation":"id","response_code":{code}}}}}"#);
            let (_, answer) = read(&[], &event).unwrap();
            assert_eq!(answer, Err(MessageFault::BadCode), "{code}");
        }
        let (_, answer) = read(&[("rig-correlation", "id")], "").unwrap();
        assert_eq!(answer, Err(MessageFault::NoCode));
        let (_, answer) = read(&[], r#"{"rigcorrelation":"id","data_base64":"!"}"#).unwrap();
        assert_eq!(answer, Err(MessageFault::BadData));
    }
}
