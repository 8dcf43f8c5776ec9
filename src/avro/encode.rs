//! Plain JSON into Avro.

use std::fmt;

use serde_json::{Map, Value};

use super::schema::{AvroSchema, Field, Node, NodeId};
use crate::event::NESTING_LIMIT;

/// The first byte of a framed value (Confluent, wire format).
pub(super) const MAGIC: u8 = 0;
/// How many values, tried branches among them, one encoding may take: a union of records can be tried in many ways.
const MAX_STEPS: u32 = 1_000_000;

/// Where data is not what its schema says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The names and positions that lead there, the outermost last.
    path: Vec<Box<str>>,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Another kind of value.
    #[error("expected {0}")]
    Expected(&'static str),
    /// Bytes, where the schema has something else.
    #[error("is bytes, which the schema does not take")]
    Bytes,
    /// A field of a record that has neither a value nor a default.
    #[error("is missing")]
    Missing,
    /// A member that the record has no field for.
    #[error("is no field of the schema")]
    Unknown,
    /// Nested too deeply.
    #[error("is nested deeper than {NESTING_LIMIT} levels")]
    TooDeep,
    /// The schema leaves too many ways to read the data.
    #[error("takes too long to fit into the schema")]
    TooMuch,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("data")?;
        for name in self.path.iter().rev() {
            write!(f, "/{}", name.escape_debug())?;
        }
        write!(f, ": {}", self.fault)
    }
}

impl std::error::Error for Mismatch {}

impl Mismatch {
    fn below(mut self, name: impl fmt::Display) -> Self {
        self.path.push(crate::event::shorten(&name.to_string()));
        self
    }

    /// Returns whether another branch of a union is no way out.
    const fn is_final(&self) -> bool {
        matches!(self.fault, Fault::TooDeep | Fault::TooMuch)
    }
}

impl From<Fault> for Mismatch {
    fn from(fault: Fault) -> Self {
        Self {
            path: Vec::new(),
            fault,
        }
    }
}

impl AvroSchema {
    /// Encodes JSON, framed with the schema's id.
    ///
    /// A field that is missing gets its default, or null where it may be null.
    ///
    /// # Errors
    /// [`Mismatch`] names the place in the data.
    pub fn encode(&self, data: &Value) -> Result<Vec<u8>, Mismatch> {
        let mut encoder = Encoder::new(self);
        encoder.write(self.root(), data, 0)?;
        Ok(encoder.out)
    }

    /// As [`encode`](Self::encode), but leaves out what the schema has no field for.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_known(&self, data: &Value) -> Result<Vec<u8>, Mismatch> {
        let mut encoder = Encoder::new(self);
        encoder.leaves_out = true;
        encoder.write(self.root(), data, 0)?;
        Ok(encoder.out)
    }

    /// Encodes bytes, framed with the schema's id: they have to be all there is.
    ///
    /// # Errors
    /// [`Mismatch`] unless the schema is of bytes, or of a union with them.
    pub fn encode_bytes(&self, data: &[u8]) -> Result<Vec<u8>, Mismatch> {
        let mut encoder = Encoder::new(self);
        let is_bytes = |id: &NodeId| matches!(self.node(*id), Node::Bytes);
        match self.node(self.root()) {
            Node::Bytes => {}
            Node::Union(branches) => match branches.iter().position(is_bytes) {
                Some(index) => encoder.length(index),
                None => return Err(Fault::Bytes.into()),
            },
            _ => return Err(Fault::Bytes.into()),
        }
        encoder.length(data.len());
        encoder.out.extend_from_slice(data);
        Ok(encoder.out)
    }
}

struct Encoder<'a> {
    schema: &'a AvroSchema,
    out: Vec<u8>,
    steps: u32,
    /// Whether members that no field takes are left out.
    leaves_out: bool,
}

impl<'a> Encoder<'a> {
    fn new(schema: &'a AvroSchema) -> Self {
        let mut out = Vec::with_capacity(256);
        out.push(MAGIC);
        out.extend_from_slice(&schema.id().to_be_bytes());
        Self {
            schema,
            out,
            steps: 0,
            leaves_out: false,
        }
    }

    fn write(&mut self, node: NodeId, value: &Value, depth: usize) -> Result<(), Mismatch> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(Fault::TooMuch.into());
        }
        if depth > NESTING_LIMIT {
            return Err(Fault::TooDeep.into());
        }
        match self.schema.node(node) {
            Node::Array(items) => self.write_array(*items, value, depth),
            Node::Map(values) => self.write_map(*values, value, depth),
            Node::Union(branches) => self.write_union(branches, value, depth),
            Node::Record(fields) => self.write_record(fields, value, depth),
            simple => Ok(self.write_simple(simple, value)?),
        }
    }

    fn write_simple(&mut self, node: &Node, value: &Value) -> Result<(), Fault> {
        match node {
            Node::Boolean => {
                let truth = value.as_bool().ok_or(Fault::Expected("true or false"))?;
                self.out.push(u8::from(truth));
            }
            Node::Int => {
                let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
                self.long(i64::from(
                    number.ok_or(Fault::Expected("an integer of 32 bits"))?,
                ));
            }
            Node::Long => {
                let number = value.as_i64();
                self.long(number.ok_or(Fault::Expected("an integer of 64 bits"))?);
            }
            Node::Float => {
                #[allow(clippy::cast_possible_truncation, reason = "the schema asks for it")]
                let number = float(value)? as f32;
                self.out.extend_from_slice(&number.to_le_bytes());
            }
            Node::Double => self.out.extend_from_slice(&float(value)?.to_le_bytes()),
            Node::String => {
                let text = value.as_str().ok_or(Fault::Expected("a string"))?;
                self.length(text.len());
                self.out.extend_from_slice(text.as_bytes());
            }
            Node::Bytes => {
                let bytes = bytes(value)?;
                self.length(bytes.len());
                self.out.extend_from_slice(&bytes);
            }
            Node::Fixed(size) => {
                let bytes = bytes(value)?;
                if bytes.len() != *size {
                    return Err(Fault::Expected("bytes of the schema's size"));
                }
                self.out.extend_from_slice(&bytes);
            }
            Node::Enum(symbols) => {
                let index = symbols.iter().position(|symbol| value == symbol.as_str());
                self.length(index.ok_or(Fault::Expected("a symbol of the schema"))?);
            }
            _ if value.is_null() => {}
            _ => return Err(Fault::Expected("null")),
        }
        Ok(())
    }

    fn write_array(&mut self, items: NodeId, value: &Value, depth: usize) -> Result<(), Mismatch> {
        let list = value.as_array().ok_or(Fault::Expected("an array"))?;
        if !list.is_empty() {
            self.length(list.len());
            for (index, item) in list.iter().enumerate() {
                let written = self.write(items, item, depth + 1);
                written.map_err(|error| error.below(index))?;
            }
        }
        self.out.push(0);
        Ok(())
    }

    fn write_map(&mut self, values: NodeId, value: &Value, depth: usize) -> Result<(), Mismatch> {
        let members = value.as_object().ok_or(Fault::Expected("an object"))?;
        if !members.is_empty() {
            self.length(members.len());
            for (name, member) in members {
                self.length(name.len());
                self.out.extend_from_slice(name.as_bytes());
                let written = self.write(values, member, depth + 1);
                written.map_err(|error| error.below(name))?;
            }
        }
        self.out.push(0);
        Ok(())
    }

    /// Writes the first branch that takes the value.
    fn write_union(
        &mut self,
        branches: &[NodeId],
        value: &Value,
        depth: usize,
    ) -> Result<(), Mismatch> {
        let start = self.out.len();
        let mut failed: Option<Mismatch> = None;
        for (index, branch) in branches.iter().enumerate() {
            self.length(index);
            match self.write(*branch, value, depth) {
                Ok(()) => return Ok(()),
                Err(error) if error.is_final() => return Err(error),
                // The branch that came furthest knows best what is wrong.
                Err(error) => {
                    let depth_of = |error: &Mismatch| error.path.len();
                    if failed
                        .as_ref()
                        .is_none_or(|other| depth_of(other) <= depth_of(&error))
                    {
                        failed = Some(error);
                    }
                }
            }
            self.out.truncate(start);
        }
        Err(failed.unwrap_or_else(|| Fault::Expected("nothing").into()))
    }

    fn write_record(
        &mut self,
        fields: &[Field],
        value: &Value,
        depth: usize,
    ) -> Result<(), Mismatch> {
        let members = value.as_object().ok_or(Fault::Expected("an object"))?;
        if !self.leaves_out
            && let Some(unknown) = unknown(fields, members)
        {
            return Err(Mismatch::from(Fault::Unknown).below(unknown));
        }
        for field in fields {
            let given = members.get(&field.name).or(field.default.as_ref());
            let written = match given {
                Some(given) => self.write(field.node, given, depth + 1),
                // Clients leave out what they would say null for.
                None => self
                    .write(field.node, &Value::Null, depth + 1)
                    .map_err(|_| Fault::Missing.into()),
            };
            written.map_err(|error| error.below(&field.name))?;
        }
        Ok(())
    }

    fn length(&mut self, length: usize) {
        self.long(i64::try_from(length).unwrap_or(i64::MAX));
    }

    /// Writes a number in zig-zag and variable length (Avro, binary encoding).
    fn long(&mut self, number: i64) {
        let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
        while rest >= 0x80 {
            self.out.push((rest & 0x7F) as u8 | 0x80);
            rest >>= 7;
        }
        self.out.push((rest & 0x7F) as u8);
    }
}

/// Returns a member that no field takes.
fn unknown<'a>(fields: &[Field], members: &'a Map<String, Value>) -> Option<&'a str> {
    let is_field = |name: &str| fields.iter().any(|field| field.name == name);
    members
        .keys()
        .map(String::as_str)
        .find(|name| !is_field(name))
}

/// Returns a number; what JSON has no number for is a string, as in the JSON of Protocol Buffers.
fn float(value: &Value) -> Result<f64, Fault> {
    let number = match value.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        _ => value.as_f64(),
    };
    number.ok_or(Fault::Expected("a number"))
}

/// Returns the bytes of a string in which each character stands for one (Avro, JSON encoding).
fn bytes(value: &Value) -> Result<Vec<u8>, Fault> {
    let bytes = value
        .as_str()
        .map(|text| text.chars().map(|char| u8::try_from(char).ok()).collect());
    let bytes: Option<Option<Vec<u8>>> = bytes;
    bytes.flatten().ok_or(Fault::Expected(
        "a string of the characters U+0000 to U+00FF",
    ))
}
