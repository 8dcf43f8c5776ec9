//! The codec against known bytes, against another implementation, and against hostile bytes.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Oracle;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::decode::unframe;
use super::*;

fn schema(id: u32, schema: &Value) -> AvroSchema {
    AvroSchema::parse(id, &schema.to_string(), &[]).unwrap()
}

fn person() -> Value {
    json!({"type": "record", "name": "person", "namespace": "a.b", "fields": [
        {"name": "username", "type": ["null", "string"]},
        {"name": "food", "type": {"type": "record", "name": "food", "fields": [
            {"name": "vegetable", "type": ["null", "string"]},
        ]}},
    ]})
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn round_trip(schema: &AvroSchema, data: &Value) -> Value {
    let framed = schema
        .encode(data)
        .unwrap_or_else(|error| panic!("{data}: {error}"));
    let (id, datum) = unframe(&framed).unwrap();
    assert_eq!(id, schema.id());
    schema.decode(datum).unwrap()
}

#[test]
fn bytes_are_those_that_rig_wrote() {
    for (schema, data, bytes) in [
        (
            schema(1, &json!("string")),
            json!("simple test message"),
            "00000000012673696d706c652074657374206d657373616765",
        ),
        (
            schema(2, &person()),
            json!({"username": "Jeff", "food": {"vegetable": "tomato"}}),
            "000000000202084a656666020c746f6d61746f",
        ),
    ] {
        assert_eq!(hex(&schema.encode(&data).unwrap()), bytes);
        assert_eq!(round_trip(&schema, &data), data);
    }
}

#[test]
fn every_kind_of_type_goes_there_and_back() {
    let logical = |of: &str, logical: &str| json!({"type": of, "logicalType": logical});
    let tree = json!({"type": "record", "name": "node", "fields": [
        {"name": "value", "type": "int"},
        {"name": "next", "type": ["null", "node"], "default": null},
    ]});
    for (schema_of, values) in [
        (json!("null"), json!([null])),
        (json!("boolean"), json!([true, false])),
        (
            json!("int"),
            json!([0, -1, 63, 64, 2_147_483_647, -2_147_483_648_i64]),
        ),
        (json!("long"), json!([0, i64::MAX, i64::MIN, -64, 64, 8192])),
        (json!("float"), json!([0.1, -2.5, 3.0, "NaN", "-Infinity"])),
        (json!("double"), json!([0.1, 1e300, -0.0, "Infinity"])),
        (json!("string"), json!(["", "äö\u{0}\u{1F600}"])),
        (json!("bytes"), json!(["", "\u{0}\u{ff}a"])),
        (
            json!({"type": "fixed", "name": "f", "size": 2}),
            json!(["\u{0}\u{fe}"]),
        ),
        (
            json!({"type": "enum", "name": "e", "symbols": ["A", "B"]}),
            json!(["A", "B"]),
        ),
        (
            json!({"type": "array", "items": "long"}),
            json!([[], [1, 2, 3]]),
        ),
        (
            json!({"type": "map", "values": "string"}),
            json!([{}, {"a": "1", "b": ""}]),
        ),
        (
            json!(["null", "boolean", "long", "double", "string"]),
            json!([null, true, 5, 0.5, "x"]),
        ),
        (
            tree,
            json!([{"value": 1, "next": {"value": 2, "next": null}}]),
        ),
        (logical("int", "date"), json!([19_000])),
        (
            logical("long", "timestamp-millis"),
            json!([1_700_000_000_000_i64]),
        ),
        (logical("string", "uuid"), json!(["any text"])),
        (
            json!({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}),
            json!(["\u{1}\u{2}"]),
        ),
    ] {
        let schema = schema(7, &schema_of);
        for value in values.as_array().unwrap() {
            assert_eq!(&round_trip(&schema, value), value, "{schema_of}");
        }
    }
}

#[test]
fn what_is_left_out_gets_its_default_or_null() {
    let schema = schema(
        1,
        &json!({"type": "record", "name": "r", "fields": [
            {"name": "a", "type": "int", "default": 7},
            {"name": "b", "type": ["null", "string"]},
            {"name": "c", "type": {"type": "array", "items": "int"}, "default": []},
        ]}),
    );
    assert_eq!(
        round_trip(&schema, &json!({})),
        json!({"a": 7, "b": null, "c": []})
    );
}

#[test]
fn what_does_not_fit_is_named() {
    let person = schema(1, &person());
    let list = schema(
        1,
        &json!({"type": "array", "items": ["null", {"type": "record", "name": "r",
        "fields": [{"name": "a\u{5f}b", "type": "int"}]}]}),
    );
    for (schema, data, message) in [
        (
            &person,
            json!({"username": 1, "food": {}}),
            "data/username: expected a string",
        ),
        (&person, json!({"username": "x"}), "data/food: is missing"),
        (
            &person,
            json!({"food": {"meat": "x"}}),
            "data/food/meat: is no field of the schema",
        ),
        (&person, json!("x"), "data: expected an object"),
        (
            &list,
            json!([null, {"a_b": "x"}]),
            "data/1/a_b: expected an integer of 32 bits",
        ),
        (
            &list,
            json!([{"a_b": 2_147_483_648_i64}]),
            "data/0/a_b: expected an integer of 32 bits",
        ),
        (
            &list,
            json!([{"a_b": 1.5}]),
            "data/0/a_b: expected an integer of 32 bits",
        ),
        (&list, json!([{}]), "data/0/a_b: is missing"),
        (
            &list,
            json!([{"a_b": 1, "\n\u{1b}": 1}]),
            "data/0/\\n\\u{1b}: is no field of the schema",
        ),
    ] {
        assert_eq!(schema.encode(&data).unwrap_err().to_string(), message);
    }
    let bytes = schema(1, &json!("bytes"));
    assert!(bytes.encode(&json!("\u{100}")).is_err());
    assert_eq!(hex(&bytes.encode_bytes(b"\xff").unwrap()), "000000000102ff");
    let maybe = schema(1, &json!(["null", "bytes"]));
    assert_eq!(
        hex(&maybe.encode_bytes(b"\xff").unwrap()),
        "00000000010202ff"
    );
    let more = json!({"username": null, "food": {"meat": 1}, "age": 7});
    assert_eq!(hex(&person.encode_known(&more).unwrap()), "00000000010000");
    assert_eq!(person.encode_bytes(b"x").unwrap_err().fault, Fault::Bytes);
}

#[test]
fn a_schema_that_can_be_read_in_many_ways_costs_no_more_than_others() {
    let branch = |name: &str, last: &str| {
        json!({"type": "record", "name": name, "fields": [
            {"name": "next", "type": ["null", "x", "y"]}, {"name": last, "type": "int"},
        ]})
    };
    let text = json!(["null", {"type": "record", "name": "x", "fields": [
        {"name": "next", "type": ["null", "x", branch("y", "n")]}, {"name": "n", "type": "int"},
    ]}, "y"]);
    let schema = schema(1, &text);
    let mut data = json!("wrong");
    for _ in 0..50 {
        data = json!({"n": 1, "next": data});
    }
    assert_eq!(schema.encode(&data).unwrap_err().fault, Fault::TooMuch);
    for _ in 0..50 {
        data = json!({"n": 1, "next": data});
    }
    assert!(schema.encode(&data).is_err());
}

#[test]
fn schemas_may_use_others_by_name() {
    let money = json!({"type": "record", "name": "a.Money", "fields": [
        {"name": "unit", "type": "a.Unit"}, {"name": "amount", "type": "long"}]});
    let unit = json!({"type": "enum", "name": "a.Unit", "symbols": ["EUR", "USD"]});
    let order = json!({"type": "record", "name": "a.Order", "fields": [
        {"name": "price", "type": "a.Money"}, {"name": "tax", "type": "Money"}]});
    for others in [
        [money.to_string(), unit.to_string()],
        [unit.to_string(), money.to_string()],
    ] {
        let schema = AvroSchema::parse(5, &order.to_string(), &others).unwrap();
        let data =
            json!({"price": {"unit": "USD", "amount": 5}, "tax": {"unit": "EUR", "amount": 1}});
        assert_eq!(round_trip(&schema, &data), data);
    }
    assert!(AvroSchema::parse(5, &order.to_string(), &[]).is_err());
    for garbage in [
        "",
        "{",
        "\"nothing\"",
        "{\"type\":\"record\"}",
        "[[]]",
        "null",
    ] {
        assert!(AvroSchema::parse(5, garbage, &[]).is_err(), "{garbage}");
    }
}

#[test]
fn bytes_that_lie_are_refused_and_cost_nothing() {
    let string = json!("string");
    let nulls = json!({"type": "array", "items": "null"});
    let nested = json!({"type": "array", "items": {"type": "array", "items": "null"}});
    let tree =
        json!({"type": "record", "name": "n", "fields": [{"name": "n", "type": ["null", "n"]}]});
    let endless = json!({"type": "record", "name": "n", "fields": [{"name": "n", "type": "n"}]});
    let large = json!({"type": "fixed", "name": "f", "size": 1_000_000_000_000_i64});
    let block = [0xfe, 0xff, 0xff, 0xff, 0x0f];
    for (of, bytes, expected) in [
        (&string, vec![0x06, b'a'], Malformed::Cut),
        (
            &string,
            vec![0xfe, 0xff, 0xff, 0xff, 0xff, 0x0f],
            Malformed::Cut,
        ),
        (&string, vec![0x01], Malformed::BadNumber),
        (&string, vec![0x02, 0xff], Malformed::NotUtf8),
        (&string, vec![0x02, b'a', b'b'], Malformed::TooLong(1)),
        (&string, vec![0xff; 11], Malformed::BadNumber),
        (&json!("boolean"), vec![2], Malformed::BadBoolean),
        (
            &json!("int"),
            vec![0x80, 0x80, 0x80, 0x80, 0x10],
            Malformed::BadNumber,
        ),
        (&json!(["null"]), vec![2], Malformed::NotInSchema),
        (&json!(["null", "int"]), vec![], Malformed::Cut),
        (&nulls, block.to_vec(), Malformed::TooMuch),
        (&nested, block.repeat(1000), Malformed::TooMuch),
        (&tree, vec![2; 1_000_000], Malformed::TooDeep),
        (&endless, vec![], Malformed::TooDeep),
        (&large, vec![0; 10], Malformed::Cut),
    ] {
        assert_eq!(schema(1, of).decode(&bytes), Err(expected), "{of}");
    }
    for framed in [
        &b""[..],
        b"\x00\x00\x00",
        b"\x01\x00\x00\x00\x01a",
        b"{\"a\":1}",
    ] {
        assert_eq!(unframe(framed), Err(Malformed::NoFrame));
    }
}

const MIXED: &str = r#"{"type": "record", "name": "m", "fields": [
    {"name": "i", "type": "int"}, {"name": "l", "type": ["null", "long"]}, {"name": "s", "type": "string"},
    {"name": "d", "type": "double"}, {"name": "list", "type": {"type": "array", "items": "string"}},
    {"name": "map", "type": {"type": "map", "values": ["null", "boolean"]}}]}"#;

proptest! {
    #[test]
    fn another_implementation_reads_what_is_written(
        i: i32, l: Option<i64>, s: String, d in -1e9..1e9_f64, list: Vec<String>,
        map in proptest::collection::btree_map("[a-z]{0,3}", any::<Option<bool>>(), 0..4),
    ) {
        let data = json!({"i": i, "l": l, "s": s, "d": d, "list": list, "map": map});
        let ours = AvroSchema::parse(1, MIXED, &[]).unwrap();
        let framed = ours.encode(&data).unwrap();
        prop_assert_eq!(&ours.decode(&framed[5..]).unwrap(), &data);
        let theirs = Schema::parse_str(MIXED).unwrap();
        let reader = GenericDatumReader::builder(&theirs).build().unwrap();
        let read: Oracle = reader.read_value(&mut &framed[5..]).unwrap();
        prop_assert_eq!(Value::try_from(read).unwrap(), data);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let schema = AvroSchema::parse(1, MIXED, &[]).unwrap();
        if let Ok(data) = schema.decode(&bytes) {
            prop_assert_eq!(round_trip(&schema, &data), data);
        }
    }
}
