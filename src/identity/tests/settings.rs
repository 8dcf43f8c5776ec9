//! What stops the start.

use clap::Parser as _;

use super::*;

#[derive(clap::Parser)]
struct Settings {
    #[command(flatten)]
    identity: IdentityConfig,
}

fn read(arguments: &[&str]) -> Result<IdentityConfig, String> {
    let all = std::iter::once("test").chain(arguments.iter().copied());
    let read = Settings::try_parse_from(all);
    read.map(|settings| settings.identity)
        .map_err(|error| error.to_string())
}

#[track_caller]
fn refused(arguments: &[&str]) -> IdentityError {
    read(arguments)
        .unwrap()
        .check()
        .expect_err("should be refused")
}

#[test]
fn without_settings_nothing_is_configured_and_the_defaults_are_the_documented_ones() {
    let config = read(&[]).unwrap();
    assert!(!config.is_configured());
    assert_eq!(config.check(), Ok(()));
    assert_eq!(
        format!("{config:?}"),
        format!("{:?}", IdentityConfig::default())
    );
}

#[test]
fn lists_and_durations_are_read() {
    let config = read(&[
        "--jwt-secret-key=s",
        "--jwt-alg=hs256,HS512",
        "--jwt-issuer=a,b",
        "--jwt-audience=c",
        "--jwt-leeway=30s",
        "--jwt-session-field=/a/b",
    ])
    .unwrap();
    assert_eq!(config.jwt_alg, [Algorithm::Hs256, Algorithm::Hs512]);
    assert_eq!(config.issuers(), ["a".into(), "b".into()] as [Box<str>; 2]);
    assert_eq!(config.jwt_leeway.as_secs(), 30);
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn values_out_of_range_are_refused() {
    for argument in [
        "--jwt-alg=none",
        "--jwt-alg=HS256,NONE",
        "--jwt-alg=ES512",
        "--jwt-leeway=11m",
        "--jwt-jwks-refresh=0s",
        "--jwt-jwks-cooldown=999ms",
        "--jwt-jwks-url=id.example/keys",
        "--jwt-jwks-url=file:///keys",
        "--jwt-oidc-issuer=id.example",
        "--jwt-oidc-issuer=https://id.example?a=b",
        "--jwt-session-field=jti",
        "--jwt-user-field=",
    ] {
        assert!(read(&[argument]).is_err(), "{argument}");
    }
}

#[test]
fn keys_come_from_one_place() {
    let (secret, url, issuer) = (
        "--jwt-secret-key=s",
        "--jwt-jwks-url=https://a.example/keys",
        "--jwt-oidc-issuer=https://a.example",
    );
    for (arguments, one, other) in [
        ([secret, url], "JWT_SECRET_KEY", "JWT_JWKS_URL"),
        ([secret, issuer], "JWT_SECRET_KEY", "JWT_OIDC_ISSUER"),
        ([url, issuer], "JWT_JWKS_URL", "JWT_OIDC_ISSUER"),
    ] {
        assert_eq!(
            refused(&arguments),
            IdentityError::TwoSources { one, other }
        );
    }
    for argument in [secret, url, issuer] {
        assert_eq!(read(&[argument]).unwrap().check(), Ok(()), "{argument}");
    }
    assert_eq!(
        refused(&[issuer, "--jwt-issuer=x"]),
        IdentityError::TwoIssuers
    );
}

#[test]
fn rules_without_a_key_are_refused() {
    for (argument, setting) in [
        ("--jwt-issuer=a", "JWT_ISSUER"),
        ("--jwt-audience=a", "JWT_AUDIENCE"),
    ] {
        assert_eq!(refused(&[argument]), IdentityError::NoKey { setting });
    }
    assert_eq!(read(&["--jwt-alg=HS256"]).unwrap().check(), Ok(()));
}

#[test]
fn a_blank_secret_is_refused() {
    for secret in [" ", "\n", "\t \r\n"] {
        assert_eq!(with_secret(secret).check(), Err(IdentityError::BlankSecret));
    }
}

#[test]
fn a_pem_that_is_no_public_key_is_refused() {
    let pair = Pair::p256();
    let public = pair.public_pem();
    let cut = public.replace("-----END PUBLIC KEY-----", "");
    let bad_base64 = "-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----\n";
    let bad_der = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    let request = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n";
    for (text, expected) in [
        (pair.key.serialize_pem(), PemError::Private),
        (
            "-----BEGIN RSA PRIVATE KEY-----\n".to_owned(),
            PemError::Private,
        ),
        (format!("{public}{public}"), PemError::Several),
        (cut, PemError::Unreadable),
        (bad_base64.to_owned(), PemError::Unreadable),
        (bad_der.to_owned(), PemError::Unreadable),
        (
            bad_der.replace("PUBLIC KEY", "CERTIFICATE"),
            PemError::Unreadable,
        ),
        (request.to_owned(), PemError::NothingOfUse),
    ] {
        let error = with_secret(&text).check().unwrap_err();
        assert_eq!(error, IdentityError::Pem { source: expected }, "{text}");
        assert!(error.to_string().starts_with("JWT_SECRET_KEY "), "{error}");
    }
}

#[test]
fn a_key_that_is_too_weak_or_not_supported_is_refused() {
    // RSA with 1,024 bits, and a point on secp256k1.
    let rsa_1024 = "-----BEGIN PUBLIC KEY-----\nMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCqGKukO1De7zhZj6+H0qtjTkVxwTCpvKe4eCZ0\nFPqri0cb2JZfXJ/DgYSF6vUpwmJG8wVQZKjeGcjDOL5UlsuusFncCzWBQ7RKNUSesmQRMSGkVb1/\n3j+skZ6UtW+5u09lHNsj6tQ51s1SPrCBkedbNf0Tp0GbMJDyR4e9T04ZZwIDAQAB\n-----END PUBLIC KEY-----\n";
    let error = with_secret(rsa_1024).check().unwrap_err();
    assert_eq!(
        error,
        IdentityError::Pem {
            source: PemError::Unsupported
        }
    );
}

#[test]
fn an_algorithm_that_does_not_fit_the_key_is_refused() {
    let (p256, ed25519) = (Pair::p256().public_pem(), Pair::ed25519().public_pem());
    let rsa = Pair::rsa().public_pem();
    for (key, algorithm) in [
        (p256.as_str(), Algorithm::Hs256),
        (&rsa, Algorithm::Hs256),
        (&rsa, Algorithm::Hs512),
        (&p256, Algorithm::Es384),
        (&p256, Algorithm::Rs256),
        (&ed25519, Algorithm::Es256),
        (SECRET, Algorithm::Rs256),
        (SECRET, Algorithm::Es256),
    ] {
        let config = IdentityConfig {
            jwt_alg: vec![algorithm],
            ..with_secret(key)
        };
        let error = config.check().unwrap_err();
        let is_named = matches!(
            error,
            IdentityError::AlgorithmOfAnotherKey { algorithm: named, .. } if named == algorithm
        );
        assert!(is_named, "{error}");
    }
}

#[test]
fn a_key_set_verifies_nothing_with_a_secret() {
    for argument in [
        "--jwt-jwks-url=https://a.example/keys",
        "--jwt-oidc-issuer=https://a.example",
    ] {
        let error = refused(&[argument, "--jwt-alg=RS256,HS256"]);
        let is_named = matches!(error, IdentityError::SecretAlgorithmForKeySet { .. });
        assert!(is_named, "{error}");
        let allowed = read(&[argument, "--jwt-alg=RS256,ES256"]).unwrap();
        assert_eq!(allowed.check(), Ok(()));
    }
}
