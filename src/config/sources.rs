//! Where settings come from: flags, the environment, a file; and how they become one command line.
//!
//! Each setting is defined once, as a field of a `clap` struct. Its flag is the field's name with
//! hyphens, its variable the name in capitals, its key in the file the name as it is. A flag wins over
//! the environment, the environment over the file, the file over the default.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};

use super::ConfigError;

/// Settings whose values are never printed, and whose variables have a variant `NAME_FILE`.
pub(super) const SECRETS: [&str; 8] = [
    "api_token",
    "https_keyfile_pass",
    "jwt_secret_key",
    "node_cookie",
    "kafka_sasl",
    "kafka_schema_registry_password",
    "kafka_ssl_keyfile_pass",
    "kafka_properties",
];

/// Arguments that are no settings.
const NOT_SETTINGS: [&str; 3] = ["help", "version", "config"];

/// The variable that names the file, where no flag does.
pub(super) const FILE_VARIABLE: &str = "SLUICEGATE_CONFIG";

/// The environment of a process, or one that a test makes up.
pub type Environment = BTreeMap<String, String>;

/// Where a value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Flag(String),
    Variable(String),
    VariableFile(String, PathBuf),
    File(String, PathBuf),
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::VariableFile(name, path) => {
                write!(f, "the file {} that {name} names", path.display())
            }
            Self::File(key, path) => write!(f, "key {key} in {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The command line that all sources together make, and where each value came from.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) arguments: Vec<OsString>,
    pub(super) origins: BTreeMap<String, Origin>,
}

/// Adds the variable's name to the help of every setting.
pub(super) fn with_variables_in_help(command: Command) -> Command {
    command.mut_args(|arg| {
        if NOT_SETTINGS.contains(&arg.get_id().as_str()) {
            return arg;
        }
        let name = variable(&arg);
        let text = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let is_secret = SECRETS.contains(&arg.get_id().as_str());
        let file = if is_secret {
            format!(" or {name}_FILE")
        } else {
            String::new()
        };
        arg.help(format!("{text} [env: {name}{file}]"))
    })
}

/// Merges the flags with what the environment and the file add to them.
pub(super) fn merge(
    command: &Command,
    flags: Vec<OsString>,
    environment: &Environment,
) -> Result<Merged, ConfigError> {
    let file = read_file(command, &flags, environment)?;
    let mut merged = Merged {
        arguments: vec!["sluicegate".into()],
        origins: BTreeMap::new(),
    };
    for arg in settings(command) {
        let id = arg.get_id().as_str();
        let flag = flag(arg);
        let found = if is_given(&flags, &flag) {
            merged.origins.insert(id.to_owned(), Origin::Flag(flag));
            continue;
        } else {
            from_environment(arg, environment)?.or_else(|| file.get(id).cloned())
        };
        if let Some((value, origin)) = found {
            merged.arguments.push(format!("{flag}={value}").into());
            merged.origins.insert(id.to_owned(), origin);
        }
    }
    merged.arguments.extend(flags);
    Ok(merged)
}

/// Returns the arguments that are settings, in the order of the help.
pub(super) fn settings(command: &Command) -> impl Iterator<Item = &Arg> {
    command
        .get_arguments()
        .filter(|arg| !NOT_SETTINGS.contains(&arg.get_id().as_str()))
}

fn variable(arg: &Arg) -> String {
    arg.get_id().as_str().to_ascii_uppercase()
}

fn flag(arg: &Arg) -> String {
    format!(
        "--{}",
        arg.get_long().unwrap_or_else(|| arg.get_id().as_str())
    )
}

fn is_given(flags: &[OsString], flag: &str) -> bool {
    flags
        .iter()
        .filter_map(|given| given.to_str())
        .any(|given| {
            given == flag
                || given
                    .strip_prefix(flag)
                    .is_some_and(|rest| rest.starts_with('='))
        })
}

/// Looks a setting up in the environment; an empty variable counts as none, as in RIG.
fn from_environment(
    arg: &Arg,
    environment: &Environment,
) -> Result<Option<(String, Origin)>, ConfigError> {
    let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let name = variable(arg);
    let value = set(&name);
    let file_name = format!("{name}_FILE");
    let path = set(&file_name).filter(|_| SECRETS.contains(&arg.get_id().as_str()));
    match (value, path) {
        (Some(_), Some(_)) => Err(ConfigError::Both { name, file_name }),
        (Some(value), None) => Ok(Some((value.clone(), Origin::Variable(name)))),
        (None, None) => Ok(None),
        (None, Some(path)) => {
            let path = PathBuf::from(path);
            let text = read(&path, &file_name)?;
            let value = text.trim_end_matches(['\r', '\n']).to_owned();
            Ok(Some((value, Origin::VariableFile(file_name, path))))
        }
    }
}

fn read(path: &Path, named_by: &str) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        named_by: named_by.to_owned(),
        source,
    })
}

type FileSettings = BTreeMap<String, (String, Origin)>;

/// Reads the file that `--config` or the environment names.
fn read_file(
    command: &Command,
    flags: &[OsString],
    environment: &Environment,
) -> Result<FileSettings, ConfigError> {
    let by_variable = environment
        .get(FILE_VARIABLE)
        .filter(|path| !path.is_empty());
    let (path, named_by) = match (given_file(flags), by_variable) {
        (Some(path), _) => (path, "--config"),
        (None, Some(path)) => (PathBuf::from(path), FILE_VARIABLE),
        (None, None) => return Ok(FileSettings::new()),
    };
    let text = read(&path, named_by)?;
    let table: toml::Table =
        text.parse()
            .map_err(|source: toml::de::Error| ConfigError::NotToml {
                path: path.clone(),
                reason: source.to_string(),
            })?;
    let mut found = FileSettings::new();
    for (key, value) in table {
        let id = key.replace('-', "_").to_ascii_lowercase();
        if !settings(command).any(|arg| arg.get_id().as_str() == id) {
            return Err(ConfigError::UnknownKey {
                nearest: nearest(command, &id),
                key,
                path,
            });
        }
        let text = as_text(&value).ok_or_else(|| ConfigError::NotAValue {
            key: key.clone(),
            path: path.clone(),
        })?;
        found.insert(id, (text, Origin::File(key, path.clone())));
    }
    Ok(found)
}

fn given_file(flags: &[OsString]) -> Option<PathBuf> {
    let mut flags = flags.iter();
    while let Some(flag) = flags.next() {
        if flag == "--config" {
            return flags.next().map(PathBuf::from);
        }
        if let Some(path) = flag
            .to_str()
            .and_then(|flag| flag.strip_prefix("--config="))
        {
            return Some(PathBuf::from(path));
        }
    }
    None
}

/// Writes a value of the file as its flag would have it; a list with commas.
fn as_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(as_text).collect();
            Some(items?.join(","))
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

/// Returns the known name that is most like `id`.
fn nearest(command: &Command, id: &str) -> String {
    settings(command)
        .map(|arg| arg.get_id().as_str())
        .max_by(|a, b| strsim::jaro(a, id).total_cmp(&strsim::jaro(b, id)))
        .unwrap_or_default()
        .to_owned()
}
