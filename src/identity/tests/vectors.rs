//! Published examples, as a judge that is not of this house.

use super::super::algorithm::KeyKind;
use super::super::claims::ClaimRules;
use super::super::header::{Parts, decode};
use super::super::key::{PublicKey, VerifyingKey};
use super::*;
use crate::event::JsonPointer;

/// The claims of RFC 7515, A.1 to A.4: `iss` joe, `exp` 1300819380.
const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const BEFORE_EXPIRY_MS: i64 = 1_300_819_379_999;

fn key(key: PublicKey) -> VerifyingKey {
    let usual = key.kind.algorithms();
    VerifyingKey::new(key, &[], usual).unwrap()
}

fn point(kind: KeyKind, x: &str, y: &str) -> VerifyingKey {
    let point = [
        &[4],
        decode(x).unwrap().as_slice(),
        decode(y).unwrap().as_slice(),
    ]
    .concat();
    key(PublicKey::point(kind, &point).unwrap())
}

/// Asserts that the token holds, and no longer does with another signature or after its end.
#[track_caller]
fn assert_holds(key: &VerifyingKey, header: &str, signature: &str) {
    let token = format!("{header}.{PAYLOAD}.{signature}");
    let parts = Parts::of(&token).unwrap();
    key.verify(&parts).unwrap();
    let rules = ClaimRules {
        issuers: vec!["joe".into()],
        audiences: Vec::new(),
        leeway_ms: 0,
        session_field: JsonPointer::parse("/jti").unwrap(),
        user_field: JsonPointer::parse("/iss").unwrap(),
    };
    let claims = rules.read(parts.payload, BEFORE_EXPIRY_MS).unwrap();
    assert_eq!(claims.json()["http://example.com/is_root"], true);
    assert_eq!((claims.session(), claims.user()), (None, Some("joe")));
    assert_eq!(claims.expires_ms(), BEFORE_EXPIRY_MS + 1);
    let later = rules.read(parts.payload, BEFORE_EXPIRY_MS + 1);
    assert_refused(later, TokenError::Expired, header);
    let other = format!("{header}.{PAYLOAD}.{}{signature}", "A");
    assert_eq!(
        key.verify(&Parts::of(&other).unwrap()),
        Err(TokenError::Signature)
    );
}

#[test]
fn rfc_7515_a_1_hs256() {
    let secret =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    assert_holds(
        &key(PublicKey::secret(&decode(secret).unwrap())),
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    );
}

#[test]
fn rfc_7515_a_2_rs256() {
    let modulus = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJ\
        PMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpa\
        SHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5\
        IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    let exponent = decode("AQAB").unwrap();
    assert_holds(
        &key(PublicKey::rsa(&decode(modulus).unwrap(), &exponent).unwrap()),
        "eyJhbGciOiJSUzI1NiJ9",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5\
        jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb\
        1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QO\
        YEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    );
}

#[test]
fn rfc_7515_a_3_es256() {
    let key = point(
        KeyKind::P256,
        "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    );
    assert_holds(
        &key,
        "eyJhbGciOiJFUzI1NiJ9",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    );
}

#[test]
fn rfc_7515_a_4_es512_is_not_supported_and_said_so() {
    let token = format!(
        "eyJhbGciOiJFUzUxMiJ9.{PAYLOAD}.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
    );
    assert_eq!(Parts::of(&token).err(), Some(TokenError::Algorithm));
}

#[test]
fn rfc_7515_a_5_without_a_signature_is_refused() {
    let token = format!("eyJhbGciOiJub25lIn0.{PAYLOAD}.");
    assert_eq!(Parts::of(&token).err(), Some(TokenError::Algorithm));
}

#[test]
fn rfc_8037_a_4_eddsa() {
    let public = decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let key = key(PublicKey::ed25519(&public).unwrap());
    key.verify(&Parts::of(token).unwrap()).unwrap();
}
