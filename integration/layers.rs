//! The rooms and their layers: an import may only go down, and rooms of one layer do not know each other.

use std::path::{Path, PathBuf};

/// The rooms from the lowest layer to the highest.
const LAYERS: [&[&str]; 11] = [
    &["event", "telemetry", "settings"],
    &["subscription", "kafka", "fetch", "nats"],
    &["replay", "avro"],
    &["dispatch"],
    &["identity"],
    &["source", "shared"],
    &["http", "session"],
    &["access"],
    &["transport", "proxy"],
    &["api"],
    &["app", "config", "main"],
];

pub fn imports_only_go_down() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in files(&source) {
        let relative = file.strip_prefix(&source).unwrap();
        let room = relative
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap();
        let room = room.trim_end_matches(".rs");
        if matches!(room, "lib" | "main") {
            continue;
        }
        let own = layer(room).unwrap_or_else(|| panic!("{room} has no layer; see design"));
        for (number, line) in std::fs::read_to_string(&file).unwrap().lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for import in code.split("crate::").skip(1) {
                let end = import.find(|c: char| !c.is_alphanumeric() && c != '_');
                let other = &import[..end.unwrap_or(import.len())];
                let is_allowed = other == room
                    || layer(other).is_none_or(|layer| layer < own || (layer == own && own == 10));
                // Values of settings are read by every room that has some.
                if !is_allowed && other != "settings" {
                    wrong.push(format!(
                        "{}:{}: {room} imports {other}",
                        relative.display(),
                        number + 1
                    ));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports that go up or sideways:\n{}",
        wrong.join("\n")
    );
}

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
