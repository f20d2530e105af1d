//! Names, PEM and pairs of key and certificate, good and bad.

use super::*;

fn pair(names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).expect("certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn every_suite_and_curve_of_rustls_has_its_go_name() {
    let names = [
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ];
    for name in names {
        assert!(cipher_suite(name).is_ok(), "{name}");
    }
    assert_eq!(names.len(), backend::ALL_CIPHER_SUITES.len());
    for name in ["X25519", "CurveP256", "CurveP384"] {
        assert!(curve(name).is_ok(), "{name}");
    }
}

#[test]
fn what_rustls_lacks_is_told_apart_from_nonsense() {
    let reason = |name| cipher_suite(name).expect_err("refused");
    assert!(reason("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA").contains("CBC"));
    assert!(reason("TLS_RSA_WITH_AES_128_GCM_SHA256").contains("forward secrecy"));
    assert!(reason("TLS_MADE_UP").contains("is not a cipher suite"));
    assert!(tls_version("TLS11").expect_err("refused").contains("not supported"));
    assert!(tls_version("SSL30").expect_err("refused").contains("is not a TLS version"));
    assert!(curve("CurveP521").expect_err("refused").contains("not supported"));
    assert!(curve("P256").expect_err("refused").contains("is not a curve"));
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (certificate, key) = pair(&["a"]);
    let (_, other_key) = pair(&["b"]);
    let chain = || certificates(certificate.as_bytes()).expect("chain");
    assert!(identity(chain(), private_key(key.as_bytes()).expect("key")).is_ok());
    let refused = identity(chain(), private_key(other_key.as_bytes()).expect("key")).expect_err("mismatch");
    assert!(refused.contains("does not match"), "{refused}");
}

#[test]
fn pem_mistakes_are_named() {
    let (certificate, key) = pair(&["a"]);
    assert!(
        certificates(key.as_bytes()).expect_err("key for certificate").contains("contains no certificate")
    );
    assert!(
        private_key(certificate.as_bytes())
            .expect_err("certificate for key")
            .contains("contains no private key")
    );
    let locked = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    assert!(private_key(locked.as_bytes()).expect_err("locked").contains("openssl pkey"));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(certificates(broken.as_bytes()).expect_err("broken").contains("unreadable"));
}
