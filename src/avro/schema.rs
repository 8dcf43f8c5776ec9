//! A schema as it is used: every type once, names resolved.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{
    DecimalSchema, FixedSchema, InnerDecimalSchema, Name, RecordSchema, UuidSchema,
};
use serde_json::Value;

/// A schema of a registry, with its id there.
#[derive(Debug)]
pub struct AvroSchema {
    id: u32,
    nodes: Vec<Node>,
    root: NodeId,
}

/// Why a schema cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Not a schema of Avro.
    #[error("not an avro schema: {0}")]
    Invalid(Box<apache_avro::Error>),
    /// A name that is defined nowhere.
    #[error("nothing is called {name:?}")]
    UnknownName {
        /// The name with its namespace.
        name: String,
    },
}

/// Which of the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeId(usize);

/// A type. Logical types are the types below them.
#[derive(Debug)]
pub(super) enum Node {
    /// A record that is being read.
    Reserved,
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    Enum(Vec<String>),
    Array(NodeId),
    Map(NodeId),
    Union(Vec<NodeId>),
    Record(Vec<Field>),
}

/// A field of a record.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) default: Option<Value>,
    pub(super) node: NodeId,
}

impl AvroSchema {
    /// Reads a schema, which may use the named ones of `references`.
    ///
    /// # Errors
    /// [`SchemaError`].
    pub fn parse(id: u32, schema: &str, references: &[String]) -> Result<Self, SchemaError> {
        let (schema, others) = Schema::parse_str_with_list(schema, references)
            .map_err(|error| SchemaError::Invalid(Box::new(error)))?;
        let mut compiler = Compiler::default();
        for named in others.iter().chain([&schema]) {
            compiler.find_names(named, None);
        }
        let root = compiler.add(&schema, None)?;
        Ok(Self {
            id,
            nodes: compiler.nodes,
            root,
        })
    }

    /// Returns the id that the registry gave it.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    pub(super) const fn root(&self) -> NodeId {
        self.root
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id.0).expect("ids are those of this schema")
    }
}

/// Turns a tree with names into nodes.
#[derive(Default)]
struct Compiler<'s> {
    nodes: Vec<Node>,
    /// What is defined under a name, wherever it stands.
    definitions: HashMap<String, &'s Schema>,
    /// The nodes of names that were met.
    compiled: HashMap<String, NodeId>,
}

impl<'s> Compiler<'s> {
    /// Remembers all definitions of a schema.
    fn find_names(&mut self, schema: &'s Schema, namespace: Option<&str>) {
        match schema {
            Schema::Array(array) => self.find_names(&array.items, namespace),
            Schema::Map(map) => self.find_names(&map.types, namespace),
            Schema::Union(union) => {
                for branch in union.variants() {
                    self.find_names(branch, namespace);
                }
            }
            _ => {}
        }
        let Some(name) = definition(schema) else {
            return;
        };
        let name = name.fully_qualified_name(namespace);
        self.definitions.insert(name.fullname(None), schema);
        if let Schema::Record(record) = schema {
            for field in &record.fields {
                self.find_names(&field.schema, name.namespace());
            }
        }
    }

    fn add(&mut self, schema: &'s Schema, namespace: Option<&str>) -> Result<NodeId, SchemaError> {
        if let Some(name) = definition(schema).or(reference(schema)) {
            return self.add_named(schema, name, namespace);
        }
        let node = match schema {
            Schema::Array(array) => Node::Array(self.add(&array.items, namespace)?),
            Schema::Map(map) => Node::Map(self.add(&map.types, namespace)?),
            Schema::Union(union) => {
                let branches = union.variants().iter();
                let branches = branches.map(|branch| self.add(branch, namespace));
                Node::Union(branches.collect::<Result<_, _>>()?)
            }
            other => simple(other),
        };
        Ok(self.push(node))
    }

    fn add_named(
        &mut self,
        schema: &'s Schema,
        name: &Name,
        namespace: Option<&str>,
    ) -> Result<NodeId, SchemaError> {
        let name = name.fully_qualified_name(namespace);
        let full = name.fullname(None);
        if let Some(id) = self.compiled.get(&full) {
            return Ok(*id);
        }
        let schema = match schema {
            Schema::Ref { .. } => self.definitions.get(&full).copied(),
            _ => Some(schema),
        };
        let schema = schema.ok_or_else(|| SchemaError::UnknownName { name: full.clone() })?;
        let id = self.push(Node::Reserved);
        self.compiled.insert(full, id);
        let node = match schema {
            Schema::Record(record) => self.record(record, name.namespace())?,
            other => simple(other),
        };
        if let Some(reserved) = self.nodes.get_mut(id.0) {
            *reserved = node;
        }
        Ok(id)
    }

    fn record(
        &mut self,
        record: &'s RecordSchema,
        namespace: Option<&str>,
    ) -> Result<Node, SchemaError> {
        let fields = record.fields.iter().map(|field| {
            Ok(Field {
                name: field.name.clone(),
                default: field.default.clone(),
                node: self.add(&field.schema, namespace)?,
            })
        });
        Ok(Node::Record(fields.collect::<Result<_, _>>()?))
    }

    fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }
}

/// Returns the name that a schema defines.
const fn definition(schema: &Schema) -> Option<&Name> {
    match schema {
        Schema::Record(RecordSchema { name, .. }) => Some(name),
        Schema::Enum(definition) => Some(&definition.name),
        Schema::Fixed(FixedSchema { name, .. })
        | Schema::Duration(FixedSchema { name, .. })
        | Schema::Uuid(UuidSchema::Fixed(FixedSchema { name, .. }))
        | Schema::Decimal(DecimalSchema {
            inner: InnerDecimalSchema::Fixed(FixedSchema { name, .. }),
            ..
        }) => Some(name),
        _ => None,
    }
}

const fn reference(schema: &Schema) -> Option<&Name> {
    match schema {
        Schema::Ref { name } => Some(name),
        _ => None,
    }
}

/// Returns the node of a type that has no other ones in it.
fn simple(schema: &Schema) -> Node {
    match schema {
        Schema::Boolean => Node::Boolean,
        Schema::Int | Schema::Date | Schema::TimeMillis => Node::Int,
        Schema::Long
        | Schema::TimeMicros
        | Schema::TimestampMillis
        | Schema::TimestampMicros
        | Schema::TimestampNanos
        | Schema::LocalTimestampMillis
        | Schema::LocalTimestampMicros
        | Schema::LocalTimestampNanos => Node::Long,
        Schema::Float => Node::Float,
        Schema::Double => Node::Double,
        Schema::String | Schema::Uuid(UuidSchema::String) => Node::String,
        Schema::Bytes
        | Schema::BigDecimal
        | Schema::Uuid(UuidSchema::Bytes)
        | Schema::Decimal(DecimalSchema {
            inner: InnerDecimalSchema::Bytes,
            ..
        }) => Node::Bytes,
        Schema::Fixed(fixed)
        | Schema::Duration(fixed)
        | Schema::Uuid(UuidSchema::Fixed(fixed))
        | Schema::Decimal(DecimalSchema {
            inner: InnerDecimalSchema::Fixed(fixed),
            ..
        }) => Node::Fixed(fixed.size),
        Schema::Enum(definition) => Node::Enum(definition.symbols.clone()),
        // The others are handled where they are met.
        Schema::Null
        | Schema::Array(_)
        | Schema::Map(_)
        | Schema::Union(_)
        | Schema::Record(_)
        | Schema::Ref { .. } => Node::Null,
    }
}
