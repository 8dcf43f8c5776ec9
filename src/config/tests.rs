use std::path::Path;

use super::*;

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn load(flags: &[&str], variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let flags = flags.iter().map(OsString::from).collect();
    Config::load(flags, &environment(variables)).map(|(config, _)| config)
}

/// Writes a file for one test and removes it at the end.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn with(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sluicegate-{}", uuid::Uuid::new_v4()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn needs_no_setting() {
    let config = load(&[], &[]).unwrap();
    assert_eq!(config.public_address().to_string(), "0.0.0.0:4000");
    assert_eq!(config.internal_address().to_string(), "127.0.0.1:4010");
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let file = TemporaryFile::with(
        "inbound_port = 1\napi-http-port = 2\nkafka_source_topics = [\"a\", \"b\"]",
    );
    let variables = [("INBOUND_PORT", "3"), ("SLUICEGATE_CONFIG", file.path())];
    let config = load(&["--inbound-port", "5"], &variables).unwrap();
    assert_eq!(
        (config.process.inbound_port, config.process.api_http_port),
        (5, 2)
    );
    assert_eq!(config.source.topics(), ["a", "b"]);
    let config = load(&[], &variables).unwrap();
    assert_eq!(config.process.inbound_port, 3);
    let config = load(&["--config", file.path()], &[]).unwrap();
    assert_eq!(config.process.inbound_port, 1);
}

#[test]
fn a_bad_value_is_told_with_its_name_as_it_was_written() {
    for (flags, variables, parts) in [
        (
            &[][..],
            &[("INBOUND_PORT", "many")][..],
            ["environment variable INBOUND_PORT", "\"many\""],
        ),
        (
            &["--inbound-port=70000"],
            &[],
            ["flag --inbound-port", "70000"],
        ),
        (
            &[],
            &[("SHUTDOWN_GRACE", "soon")],
            ["environment variable SHUTDOWN_GRACE", "duration"],
        ),
        (
            &[],
            &[("CORS", "a,*")],
            ["environment variable CORS", "\"a,*\""],
        ),
        (
            &[],
            &[("EXTRACTORS", "{\"a\":5}")],
            ["environment variable EXTRACTORS", "a"],
        ),
        (
            &[],
            &[("EXTRACTORS", "/no/such/file")],
            ["environment variable EXTRACTORS", "No such file"],
        ),
        (
            &[],
            &[("REPLAY_RING_BYTES", "1")],
            ["environment variable REPLAY_RING_BYTES", "OUTBOX_BYTES"],
        ),
    ] {
        let message = load(flags, variables).unwrap_err().to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn secrets_come_from_files_and_are_never_printed() {
    let file = TemporaryFile::with("s3cret\n");
    let config = load(&[], &[("NODE_COOKIE_FILE", file.path())]).unwrap();
    assert_eq!(config.shared.node_cookie.reveal(), "s3cret");
    assert!(!format!("{config:?}").contains("s3cret"));
    let both = [("NODE_COOKIE_FILE", file.path()), ("NODE_COOKIE", "x")];
    assert!(
        load(&[], &both)
            .unwrap_err()
            .to_string()
            .contains("both set")
    );
    let bad = load(&[], &[("KAFKA_SASL", "hush:hush")])
        .unwrap_err()
        .to_string();
    assert!(bad.contains("KAFKA_SASL") && !bad.contains("hush"), "{bad}");
    let program = program::parse(
        vec!["check-config".into()],
        &environment(&[
            ("NODE_COOKIE", "s3cret"),
            ("INBOUND_PORT", "5"),
            ("KAFKA_PROPERTIES", "ssl.key.password=s3cret"),
        ]),
    );
    let Ok(Program::Print(text)) = program else {
        panic!("{program:?}")
    };
    assert!(!text.contains("s3cret"), "{text}");
    assert!(
        text.contains("inbound_port = \"5\"  # environment variable INBOUND_PORT"),
        "{text}"
    );
}

#[test]
fn what_definitions_of_apis_cannot_rely_on_is_a_warning_of_the_check() {
    let apis = r#"[{"id": "a", "name": "a", "auth_type": "jwt", "proxy": {"target_url": "http://x", "port": 1},
        "version_data": {"default": {"endpoints": [{"id": "e", "method": "GET", "path_regex": "/e", "secured": true}]}}}]"#;
    let warns = |variables: &[(&str, &str)]| {
        let program = program::parse(vec!["check-config".into()], &environment(variables));
        let Ok(Program::Print(text)) = program else {
            panic!("{program:?}")
        };
        text.contains("# Warning: api \"a\", endpoint \"e\": it is secured, and there is no key")
    };
    assert!(warns(&[("PROXY_CONFIG_FILE", apis)]));
    assert!(!warns(&[
        ("PROXY_CONFIG_FILE", apis),
        ("JWT_SECRET_KEY", "0123456789abcdef0123456789abcdef")
    ]));
}

#[test]
fn unknown_names_are_refused_with_the_nearest_known_one() {
    let file = TemporaryFile::with("inbond_port = 5");
    let message = load(&["--config", file.path()], &[])
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("inbond_port") && message.contains("inbound_port"),
        "{message}"
    );
    assert!(load(&["--inbond-port", "5"], &[]).is_err());
    assert!(load(&["--config", "/no/such/file"], &[]).is_err());
    assert!(Path::new(file.path()).exists());
}

#[test]
fn protection_that_is_not_there_is_not_promised() {
    for name in ["SUBSCRIPTION_CHECK", "SUBMISSION_CHECK", "HTTPS_CERTFILE"] {
        let message = load(&[], &[(name, "jwt_validation")])
            .unwrap_err()
            .to_string();
        assert!(message.contains(name), "{message}");
    }
    assert!(
        load(
            &[],
            &[("SUBSCRIPTION_CHECK", "NO_CHECK"), ("JWT_SECRET_KEY", "")]
        )
        .is_ok()
    );
}

#[test]
fn the_help_lists_every_setting_with_its_variable_and_default() {
    let help = sources::with_variables_in_help(Settings::command())
        .render_help()
        .to_string();
    for part in [
        "--inbound-port",
        "[env: INBOUND_PORT]",
        "[default: 4000]",
        "NODE_COOKIE_FILE",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
}
