//! Avro into plain JSON.

use serde_json::{Map, Number, Value};

use super::encode::MAGIC;
use super::schema::{AvroSchema, Field, Node, NodeId};
use crate::event::NESTING_LIMIT;

/// How many values there may be beyond one for each byte: some take no byte, and a few of them are no attack.
const FREE_VALUES: usize = 10_000;

/// What is wrong with bytes that should be Avro.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The frame of Confluent's clients is not there.
    #[error("no zero byte and schema id at its beginning")]
    NoFrame,
    /// The bytes end too early.
    #[error("cut off")]
    Cut,
    /// There are bytes after the end.
    #[error("{0} bytes too many")]
    TooLong(usize),
    /// A number of more bytes, or out of the range of its type.
    #[error("a number out of range")]
    BadNumber,
    /// A string that is not UTF-8.
    #[error("a string that is not UTF-8")]
    NotUtf8,
    /// A boolean that is neither 0 nor 1.
    #[error("a boolean that is neither true nor false")]
    BadBoolean,
    /// A branch or a symbol that the schema does not have.
    #[error("a branch or a symbol that the schema does not have")]
    NotInSchema,
    /// Nested too deeply.
    #[error("nested deeper than {NESTING_LIMIT} levels")]
    TooDeep,
    /// More values than bytes of this length may stand for.
    #[error("too many values")]
    TooMuch,
}

/// Splits framed bytes into the id of the schema and the datum.
pub(super) fn unframe(framed: &[u8]) -> Result<(u32, &[u8]), Malformed> {
    let frame = framed.split_first_chunk::<5>().ok_or(Malformed::NoFrame)?;
    let ([MAGIC, id @ ..], datum) = frame else {
        return Err(Malformed::NoFrame);
    };
    Ok((u32::from_be_bytes(*id), datum))
}

impl AvroSchema {
    /// Decodes one datum without its frame.
    ///
    /// Of numbers that JSON does not have, `NaN` and the infinities are strings.
    ///
    /// # Errors
    /// [`Malformed`]; also for bytes that are left over.
    pub fn decode(&self, datum: &[u8]) -> Result<Value, Malformed> {
        let mut decoder = Decoder {
            schema: self,
            rest: datum,
            values_left: datum.len().saturating_add(FREE_VALUES),
        };
        let value = decoder.read(self.root(), 0)?;
        match decoder.rest.len() {
            0 => Ok(value),
            left => Err(Malformed::TooLong(left)),
        }
    }
}

struct Decoder<'a> {
    schema: &'a AvroSchema,
    rest: &'a [u8],
    values_left: usize,
}

impl<'a> Decoder<'a> {
    fn read(&mut self, node: NodeId, depth: usize) -> Result<Value, Malformed> {
        if depth > NESTING_LIMIT {
            return Err(Malformed::TooDeep);
        }
        self.values_left = self.values_left.checked_sub(1).ok_or(Malformed::TooMuch)?;
        match self.schema.node(node) {
            Node::Array(items) => self.read_array(*items, depth),
            Node::Map(values) => self.read_map(*values, depth),
            Node::Record(fields) => self.read_record(fields, depth),
            Node::Union(branches) => {
                let index = self.length()?;
                let branch = branches.get(index).ok_or(Malformed::NotInSchema)?;
                self.read(*branch, depth)
            }
            simple => self.read_simple(simple),
        }
    }

    fn read_simple(&mut self, node: &Node) -> Result<Value, Malformed> {
        Ok(match node {
            Node::Boolean => match self.take(1)? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                _ => return Err(Malformed::BadBoolean),
            },
            Node::Int => {
                let number = i32::try_from(self.long()?);
                number.map_err(|_| Malformed::BadNumber)?.into()
            }
            Node::Long => self.long()?.into(),
            Node::Float => {
                // Its own shortest text, not that of the double that is next to it.
                let text = f32::from_le_bytes(self.array()?).to_string();
                float(text.parse().map_err(|_| Malformed::BadNumber)?)
            }
            Node::Double => float(f64::from_le_bytes(self.array()?)),
            Node::String => self.text()?.into(),
            Node::Bytes => {
                let length = self.length()?;
                characters(self.take(length)?)
            }
            Node::Fixed(size) => characters(self.take(*size)?),
            Node::Enum(symbols) => {
                let symbol = symbols.get(self.length()?);
                symbol.ok_or(Malformed::NotInSchema)?.as_str().into()
            }
            _ => Value::Null,
        })
    }

    fn read_array(&mut self, items: NodeId, depth: usize) -> Result<Value, Malformed> {
        let mut list = Vec::new();
        while let Some(count) = self.block()? {
            for _ in 0..count {
                list.push(self.read(items, depth + 1)?);
            }
        }
        Ok(list.into())
    }

    fn read_map(&mut self, values: NodeId, depth: usize) -> Result<Value, Malformed> {
        let mut members = Map::new();
        while let Some(count) = self.block()? {
            for _ in 0..count {
                let name = self.text()?;
                members.insert(name.to_owned(), self.read(values, depth + 1)?);
            }
        }
        Ok(members.into())
    }

    fn read_record(&mut self, fields: &[Field], depth: usize) -> Result<Value, Malformed> {
        let mut members = Map::new();
        for field in fields {
            members.insert(field.name.clone(), self.read(field.node, depth + 1)?);
        }
        Ok(members.into())
    }

    /// Reads how many items the next block has; `None` after the last one.
    fn block(&mut self) -> Result<Option<u64>, Malformed> {
        let count = self.long()?;
        if count < 0 {
            // The size in bytes, for those who skip.
            self.long()?;
        }
        Ok(Some(count.unsigned_abs()).filter(|count| *count > 0))
    }

    fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed::NotUtf8)
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.long()?).map_err(|_| Malformed::BadNumber)
    }

    fn long(&mut self) -> Result<i64, Malformed> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7F);
            // The tenth byte has one bit left.
            if shift == 63 && bits > 1 {
                return Err(Malformed::BadNumber);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed());
            }
        }
        Err(Malformed::BadNumber)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed::Cut)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Cut)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn float(number: f64) -> Value {
    Number::from_f64(number).map_or_else(
        || {
            let name = if number.is_nan() {
                "NaN"
            } else if number > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            };
            name.into()
        },
        Value::Number,
    )
}

/// Returns a string with a character for each byte (Avro, JSON encoding).
fn characters(bytes: &[u8]) -> Value {
    bytes
        .iter()
        .map(|byte| char::from(*byte))
        .collect::<String>()
        .into()
}
