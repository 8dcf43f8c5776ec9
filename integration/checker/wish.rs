//! What a client subscribes to, and the naive matcher that says what it has to get.

use serde_json::{Value, json};

use super::event::{CITIES, Content, END_TYPE, LEVELS, TYPES, subject_of};
use super::random::Random;

/// A list of subscriptions: an event is wanted if at least one fits.
#[derive(Debug, Clone)]
pub struct Wish(Vec<Part>);

#[derive(Debug, Clone)]
struct Part {
    types: Types,
    /// Alternatives; none means no constraint.
    one_of: Vec<Vec<Constraint>>,
    subject_prefix: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Types {
    All,
    Exact(&'static str),
    Prefix(&'static str),
}

#[derive(Debug, Clone, Copy)]
enum Constraint {
    City(&'static str),
    Level(u8),
}

impl Wish {
    /// Returns the wish for all events.
    pub fn everything() -> Self {
        Self(vec![Part::of(Types::All)])
    }

    /// Returns some wish; `keys` is how many keys there are.
    pub fn random(random: &mut Random, keys: u16) -> Self {
        let count = random.pick(&[1, 1, 2, 3]);
        Self((0..count).map(|_| Part::random(random, keys)).collect())
    }

    pub fn matches(&self, content: &Content) -> bool {
        content.event_type == END_TYPE || self.0.iter().any(|part| part.matches(content))
    }

    /// Returns the value of the query parameter `subscriptions`.
    pub fn to_json(&self) -> Value {
        let end = json!({ "eventType": END_TYPE });
        self.0.iter().map(Part::to_json).chain([end]).collect()
    }
}

impl Part {
    const fn of(types: Types) -> Self {
        Self {
            types,
            one_of: Vec::new(),
            subject_prefix: None,
        }
    }

    fn random(random: &mut Random, keys: u16) -> Self {
        let mut part = Self::of(match random.below(6) {
            0 => Types::All,
            1 => Types::Prefix("orders."),
            _ => Types::Exact(random.pick(&TYPES)),
        });
        // A field can be constrained only where each type that fits declares it.
        if !matches!(part.types, Types::All) && random.percent(60) {
            let alternatives = 1 + random.below(2);
            part.one_of = (0..alternatives).map(|_| constraints(random)).collect();
        }
        if random.percent(20) {
            let key = random.below(usize::from(keys)) as u16;
            // The prefix of key 1 is also that of the keys 10 to 19.
            let prefix = subject_of(key);
            part.subject_prefix = Some(prefix.trim_end_matches('-').to_owned());
        }
        part
    }

    fn matches(&self, content: &Content) -> bool {
        let fits = |alternative: &Vec<Constraint>| {
            alternative
                .iter()
                .all(|constraint| constraint.holds(content))
        };
        let type_fits = match self.types {
            Types::All => true,
            Types::Exact(name) => content.event_type == name,
            Types::Prefix(prefix) => content.event_type.starts_with(prefix),
        };
        let prefix = self.subject_prefix.as_ref();
        type_fits
            && (self.one_of.is_empty() || self.one_of.iter().any(fits))
            && prefix.is_none_or(|prefix| content.subject().starts_with(prefix))
    }

    fn to_json(&self) -> Value {
        let mut part = match self.types {
            Types::All => json!({ "eventType": "*" }),
            Types::Exact(name) => json!({ "eventType": name }),
            Types::Prefix(prefix) => json!({ "eventType": format!("{prefix}*") }),
        };
        if !self.one_of.is_empty() {
            let alternatives = self.one_of.iter().map(|alternative| {
                let pairs = alternative.iter().copied().map(Constraint::to_pair);
                Value::Object(pairs.collect())
            });
            part["oneOf"] = alternatives.collect();
        }
        if let Some(prefix) = &self.subject_prefix {
            part["filters"] = json!([{ "prefix": { "subject": prefix } }]);
        }
        part
    }
}

impl Constraint {
    fn holds(&self, content: &Content) -> bool {
        match self {
            Self::City(city) => content.city == *city,
            Self::Level(level) => content.level == *level,
        }
    }

    fn to_pair(self) -> (String, Value) {
        match self {
            Self::City(city) => ("city".to_owned(), json!(city)),
            Self::Level(level) => ("level".to_owned(), json!(level)),
        }
    }
}

fn constraints(random: &mut Random) -> Vec<Constraint> {
    let city = Constraint::City(random.pick(&CITIES));
    let level = Constraint::Level((random.next() % u64::from(LEVELS)) as u8);
    match random.below(3) {
        0 => vec![city],
        1 => vec![level],
        _ => vec![city, level],
    }
}
