//! The expiry of certificates in a Secret.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::ByteString;
use x509_parser::pem::Pem;

use crate::source::credentials;

/// Larger values in a Secret are not searched.
const LONGEST: usize = 1 << 20;

/// By key of the Secret: when its first certificate expires. Keys without certificates are omitted.
pub(super) fn expiries(data: &BTreeMap<String, ByteString>) -> Vec<(String, DateTime<Utc>)> {
    data.iter().filter_map(|(key, content)| Some((key.clone(), first_end(&content.0)?))).collect()
}

fn first_end(content: &[u8]) -> Option<DateTime<Utc>> {
    if content.len() > LONGEST {
        return None;
    }
    let blocks = Pem::iter_from_buffer(content).filter_map(Result::ok);
    let certificates = blocks.filter(|block| block.label == "CERTIFICATE");
    certificates.filter_map(|block| credentials::end(&block)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(year: i32) -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["s3.example".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 2);
        params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn the_first_end_counts_and_other_keys_are_no_certificates() {
        let bundle = format!("# roots\n{}{}", certificate(2040), certificate(2035));
        let data = [
            ("ca.crt", bundle.as_str()),
            (
                "gcs.json",
                r#"{"private_key": "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n"}"#,
            ),
            ("s3.conf", "[global]\nrepo1-s3-key=a"),
            ("broken.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ];
        let data = data
            .iter()
            .map(|(key, text)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec())))
            .collect();
        let found = expiries(&data);
        assert_eq!(found, [("ca.crt".to_owned(), "2035-01-02T00:00:00Z".parse().unwrap())]);
    }
}
