//! Reads the values at several JSON pointers in one pass over the text.

mod reader;

use memchr::memchr;

use super::json::string_value;
use super::pointer::JsonPointer;
use super::scalar::Scalar;
use reader::Reader;

/// Several JSON pointers as one tree of names. Reading builds no tree of the event and skips what no pointer leads to.
#[derive(Debug, Clone, Default)]
pub struct PointerSet {
    root: Node,
    len: usize,
}

/// What to do with the value at one place of an event.
#[derive(Debug, Clone, Default)]
struct Node {
    /// The members that pointers lead through.
    children: Vec<(Box<str>, Self)>,
    /// The positions of the pointers that end here.
    ends: Vec<usize>,
}

impl PointerSet {
    /// Joins `pointers`; equal ones are allowed.
    #[must_use]
    pub fn new(pointers: &[JsonPointer]) -> Self {
        let mut root = Node::default();
        for (position, pointer) in pointers.iter().enumerate() {
            root.add(pointer.tokens(), position);
        }
        Self {
            root,
            len: pointers.len(),
        }
    }

    /// Returns the value at each pointer, in the order given to [`PointerSet::new`].
    ///
    /// `None` means missing: no such member, an array on the way or at the end, an object at the end, or a number
    /// without an exact form. JSON `null` is [`Scalar::Null`]. Of repeated names the last counts, as in a browser.
    /// `json` should be the text of a validated event; a broken text gives `None` for all.
    #[must_use]
    pub fn extract(&self, json: &[u8]) -> Vec<Option<Scalar>> {
        let mut found = vec![None; self.len];
        if self.len > 0 && self.root.read(&mut Reader::new(json), &mut found).is_none() {
            found.fill(None);
        }
        found
    }
}

impl Node {
    /// Recurses as deep as a pointer has levels, which [`JsonPointer::parse`] limits.
    fn add<'a>(&mut self, mut tokens: impl Iterator<Item = &'a str>, position: usize) {
        let mut node = self;
        for token in tokens.by_ref() {
            let known = node.children.iter().position(|(name, _)| **name == *token);
            let index = known.unwrap_or_else(|| {
                node.children.push((token.into(), Self::default()));
                node.children.len() - 1
            });
            let Some((_, child)) = node.children.get_mut(index) else {
                return;
            };
            node = child;
        }
        node.ends.push(position);
    }

    /// Reads the value at the reader; returns `None` when the text is broken.
    fn read(&self, reader: &mut Reader<'_>, found: &mut [Option<Scalar>]) -> Option<()> {
        self.clear(found);
        if reader.peek()? == b'{' && !self.children.is_empty() {
            return self.read_members(reader, found);
        }
        let raw = reader.value()?;
        if !self.ends.is_empty() {
            let value = std::str::from_utf8(raw).ok().and_then(Scalar::from_json);
            let mut places = self.ends.iter();
            if let Some(last) = places.next_back() {
                for place in places {
                    put(found, *place, value.clone());
                }
                put(found, *last, value);
            }
        }
        Some(())
    }

    fn read_members(&self, reader: &mut Reader<'_>, found: &mut [Option<Scalar>]) -> Option<()> {
        reader.at += 1;
        if reader.peek()? == b'}' {
            reader.at += 1;
            return Some(());
        }
        loop {
            if reader.peek()? != b'"' {
                return None;
            }
            let name = reader.string()?;
            reader.expect(b':')?;
            match self.child(name) {
                Some(child) => child.read(reader, found)?,
                None => {
                    reader.value()?;
                }
            }
            match reader.peek()? {
                b',' => reader.at += 1,
                b'}' => {
                    reader.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    /// Returns the node of the member whose name is `quoted`, a JSON string with its quotes.
    fn child(&self, quoted: &[u8]) -> Option<&Self> {
        let inner = quoted.get(1..quoted.len().checked_sub(1)?)?;
        let by_name = |name: &[u8]| {
            self.children
                .iter()
                .find_map(|(child, node)| (child.as_bytes() == name).then_some(node))
        };
        if memchr(b'\\', inner).is_some() {
            let name = string_value(std::str::from_utf8(quoted).ok()?)?;
            by_name(name.as_bytes())
        } else {
            by_name(inner)
        }
    }

    /// Forgets what an earlier member of the same name had.
    fn clear(&self, found: &mut [Option<Scalar>]) {
        for end in &self.ends {
            if let Some(place) = found.get_mut(*end) {
                *place = None;
            }
        }
        for (_, child) in &self.children {
            child.clear(found);
        }
    }
}

fn put(found: &mut [Option<Scalar>], place: usize, value: Option<Scalar>) {
    if let Some(found) = found.get_mut(place) {
        *found = value;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn extract(pointers: &[&str], json: &str) -> Vec<Option<Scalar>> {
        let pointers: Vec<JsonPointer> = pointers
            .iter()
            .map(|text| JsonPointer::parse(text).unwrap())
            .collect();
        PointerSet::new(&pointers).extract(json.as_bytes())
    }

    #[test]
    fn values_come_in_the_order_of_the_pointers() {
        let json = r#" { "type" : "t", "data" : { "age" : 30 , "name":"al\u0069ce", "ok":true, "no":null, "deep":{"x":[1,{"y":"]}"}],"z":"\"}"} } } "#;
        assert_eq!(
            extract(
                &[
                    "/data/name",
                    "/data/age",
                    "/type",
                    "/data/ok",
                    "/data/no",
                    "/data/deep/z",
                    "/nothing"
                ],
                json
            ),
            [
                Some("alice".into()),
                Some(30.into()),
                Some("t".into()),
                Some(true.into()),
                Some(Scalar::Null),
                Some("\"}".into()),
                None
            ]
        );
    }

    #[test]
    fn arrays_scalars_and_containers_on_the_way_mean_missing() {
        for json in [
            r#"{"data":"text"}"#,
            r#"{"data":5}"#,
            r#"{"data":1E400}"#,
            r#"{"data":null}"#,
            r#"{"data":["name"]}"#,
            r#"{"data":[{"name":"x"}]}"#,
            r#"{"data":{"name":{"name":"x"}}}"#,
            r#"{"data":{"name":["x"]}}"#,
            r#"{"data":{}}"#,
            r#"{}"#,
            r#"[]"#,
            r#""data""#,
            "",
        ] {
            assert_eq!(extract(&["/data/name"], json), [None], "{json}");
        }
        assert_eq!(extract(&["/list/0"], r#"{"list":["x"]}"#), [None]);
    }

    #[test]
    fn a_pointer_may_be_the_start_of_another() {
        assert_eq!(
            extract(&["/a", "/a/b"], r#"{"a":{"b":1}}"#),
            [None, Some(1.into())]
        );
        assert_eq!(
            extract(&["/a", "/a/b"], r#"{"a":1}"#),
            [Some(1.into()), None]
        );
        assert_eq!(
            extract(&["/a/b", "/a/b"], r#"{"a":{"b":1}}"#),
            [Some(1.into()), Some(1.into())]
        );
    }

    #[test]
    fn of_repeated_names_the_last_counts() {
        assert_eq!(extract(&["/a"], r#"{"a":1,"a":2}"#), [Some(2.into())]);
        assert_eq!(extract(&["/a/b"], r#"{"a":{"b":1},"a":{"c":2}}"#), [None]);
        assert_eq!(extract(&["/a/b"], r#"{"a":{"b":1},"a":3}"#), [None]);
        assert_eq!(
            extract(&["/a/b"], r#"{"a":{"b":1},"\u0061":{"b":4}}"#),
            [Some(4.into())]
        );
    }

    #[test]
    fn names_with_escapes_are_understood() {
        assert_eq!(
            extract(
                &["/a~1b", "/m~0n", "/q\"", "/"],
                r#"{"a\/b":1,"m~n":2,"q\"":3,"":4}"#
            ),
            [
                Some(1.into()),
                Some(2.into()),
                Some(3.into()),
                Some(4.into())
            ]
        );
    }

    #[test]
    fn numbers_keep_their_exact_value() {
        let json = r#"{"a":9007199254740993,"b":1E400,"c":0.1}"#;
        let number = |text| Scalar::from_json(text);
        assert_eq!(
            extract(&["/a", "/b", "/c"], json),
            [number("9007199254740993"), number("1e400"), number("0.10")]
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[ab\\\\\"\\]},{\\u{e4}\\n]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[ab\"]{0,1}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Follows the pointer as [`PointerSet`] promises: through objects only.
    fn follow<'a>(value: &'a Value, pointer: &JsonPointer) -> Option<&'a Value> {
        pointer
            .tokens()
            .try_fold(value, |value, token| value.as_object()?.get(token))
    }

    proptest! {
        #[test]
        fn finds_what_a_tree_finds(
            value in any_json(),
            paths in proptest::collection::vec(proptest::collection::vec("[ab\"]{0,1}", 1..4), 1..5),
            is_pretty in any::<bool>(),
        ) {
            let pointers: Vec<JsonPointer> =
                paths.iter().map(|path| JsonPointer::parse(&format!("/{}", path.join("/"))).unwrap()).collect();
            let text = if is_pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let expected: Vec<Option<Scalar>> = pointers
                .iter()
                .map(|pointer| follow(&value, pointer).and_then(|found| Scalar::from_json(&found.to_string())))
                .collect();
            prop_assert_eq!(PointerSet::new(&pointers).extract(text.unwrap().as_bytes()), expected);
        }

        #[test]
        fn broken_texts_never_panic(bytes in proptest::collection::vec(prop_oneof![
            Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b'"'), Just(b'\\'), Just(b':'), Just(b','), Just(b'a'), any::<u8>()
        ], 0..40)) {
            let pointers = [JsonPointer::parse("/a").unwrap(), JsonPointer::parse("/a/a").unwrap()];
            prop_assert_eq!(PointerSet::new(&pointers).extract(&bytes).len(), 2);
        }
    }
}
