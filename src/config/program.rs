//! What the program was asked to do, from its real command line and environment.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;

use clap::CommandFactory as _;

use super::sources::{self, Environment, Merged, Origin, SECRETS};
use super::{Config, ConfigError, Settings, unsupported};

/// What the program was asked to do.
#[derive(Debug)]
pub enum Program {
    /// To run; the names are of variables that are set and have no effect.
    Run(Box<Config>, Vec<&'static str>),
    /// To print a text.
    Print(String),
    /// To ask the instance at this internal address how it is.
    HealthCheck(SocketAddr),
}

/// Reads the command line and the environment of this process.
///
/// # Errors
/// [`ConfigError`] that names the setting; also for `--help` and `--version`, which `clap` words.
pub fn read() -> Result<Program, ConfigError> {
    parse(std::env::args_os().skip(1).collect(), &of_this_process())
}

fn of_this_process() -> Environment {
    // Variables that are not UTF-8 are no settings of ours.
    let readable = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(readable).collect()
}

/// Reads a command line and an environment; the first argument may be a command.
pub(super) fn parse(
    mut arguments: Vec<OsString>,
    environment: &Environment,
) -> Result<Program, ConfigError> {
    let command = arguments
        .first()
        .and_then(|first| first.to_str())
        .map(str::to_owned);
    let is_known = matches!(command.as_deref(), Some("check-config" | "healthcheck"));
    if is_known {
        arguments.remove(0);
    }
    let (config, merged) = Config::load(arguments, environment)?;
    Ok(match command.as_deref() {
        Some("check-config") => Program::Print(in_force(&merged, &config.apis.doubts())),
        Some("healthcheck") => Program::HealthCheck(config.internal_address()),
        _ => Program::Run(Box::new(config), unsupported::without_effect(environment)),
    })
}

/// Lists the settings in force, with where each comes from, below what is doubtful about the definitions of APIs.
fn in_force(merged: &Merged, doubts: &[String]) -> String {
    let command = Settings::command();
    let matches = command.clone().try_get_matches_from(&merged.arguments);
    let mut text = String::from("# The configuration is valid.\n");
    for doubt in doubts {
        text.push_str("# Warning: ");
        text.push_str(doubt);
        text.push('\n');
    }
    for arg in sources::settings(&command) {
        let id = arg.get_id().as_str();
        let raw = matches
            .as_ref()
            .ok()
            .and_then(|matches| matches.get_raw(id));
        let given: Vec<String> = raw
            .into_iter()
            .flatten()
            .map(|value| value.to_string_lossy().into_owned())
            .collect();
        let value = match given.join(",") {
            given if given.is_empty() => "(not set)".to_owned(),
            _ if SECRETS.contains(&id) => "(secret)".to_owned(),
            given => given,
        };
        let origin = merged.origins.get(id).unwrap_or(&Origin::Default);
        if writeln!(text, "{id} = {value:?}  # {origin}").is_err() {
            break;
        }
    }
    text
}
