//! Secrets in manifests: names of files and options. What a tool encrypts or fills in later is not known.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use serde_json::Value;

use crate::cluster::references::{SecretFacts, SecretFile, is_configuration_file};

/// Reads `data` and `stringData`; the latter wins, as it does at the API server. `None`: all of it is unknown.
pub(super) fn read(document: &Value) -> Option<SecretFacts> {
    let mut files: BTreeMap<&str, SecretFile> = BTreeMap::new();
    for (field, is_text) in [("data", false), ("stringData", true)] {
        let entries = match document.get(field) {
            None | Some(Value::Null) => continue,
            Some(Value::Object(entries)) => entries,
            Some(Value::String(text)) if is_placeholder(text) => return None,
            Some(_) => {
                let unreadable = format!("{field} is not a map; check for a missing colon after a key");
                return Some(SecretFacts { unreadable: Some(unreadable), ..SecretFacts::default() });
            }
        };
        files.extend(entries.iter().map(|(key, value)| (key.as_str(), file(key, value, is_text))));
    }
    let files = files.into_iter().map(|(key, file)| (key.to_owned(), file)).collect();
    Some(SecretFacts { files, unreadable: None })
}

fn file(key: &str, value: &Value, is_text: bool) -> SecretFile {
    let veiled = || SecretFile { veiled: true, ..SecretFile::default() };
    let content = match value {
        Value::String(text) if is_placeholder(text) => return veiled(),
        Value::String(text) if is_text => Some(text.clone().into_bytes()),
        Value::String(text) => decoded(text),
        _ => None,
    };
    let Some(content) = content else { return SecretFile { bad_lines: vec![1], ..SecretFile::default() } };
    let Ok(text) = std::str::from_utf8(&content) else { return SecretFile::of(key, &content) };
    if !is_configuration_file(key) {
        return SecretFile::default();
    }
    if is_placeholder(text) {
        return veiled();
    }
    // A placeholder on a line of its own may become any number of lines.
    let kept: Vec<&str> = text.lines().map(|line| if is_placeholder(line) { "" } else { line }).collect();
    let veiled = text.lines().any(is_placeholder);
    SecretFile { veiled, ..SecretFile::of(key, kept.join("\n").as_bytes()) }
}

/// Go's decoder of base64, which the API server uses, passes over line breaks, as `kubectl kustomize` writes them.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let whole: String = text.chars().filter(|letter| !matches!(letter, '\n' | '\r')).collect();
    serde_json::from_value(Value::from(whole)).ok().map(|ByteString(bytes)| bytes)
}

/// Whether another tool replaces a text before it is applied: SOPS (`ENC[…]`), the plugins of Argo CD (`<path:…>`), vals
/// (`ref+…`), envsubst and Flux (`${…}`), and templates.
fn is_placeholder(text: &str) -> bool {
    const MARKS: [(&str, &str); 4] = [("ENC[", "]"), ("<", ">"), ("${", "}"), ("{{", "}}")];
    let text = text.trim();
    let is_variable = |name: &str| {
        !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    MARKS.iter().any(|(start, end)| text.starts_with(start) && text.ends_with(end))
        || text.starts_with("ref+")
        || text.strip_prefix('$').is_some_and(is_variable)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file_of(field: &str, text: &str) -> SecretFile {
        read(&json!({field: {"s3.conf": text}})).unwrap().files.remove("s3.conf").unwrap()
    }

    #[test]
    fn base64_may_be_folded_but_not_spaced() {
        // [global]\nrepo1-s3-key=a
        for text in ["W2dsb2JhbF0KcmVwbzEtczMta2V5PWE=", "W2dsb2JhbF0K\ncmVwbzEtczMt\r\na2V5PWE=\n"] {
            assert_eq!(file_of("data", text).options.len(), 1, "{text}");
        }
        for text in ["W2dsb2JhbF0K cmVwbzEtczMta2V5PWE=", "not base64!", "W2dsb2JhbF0"] {
            assert_eq!(file_of("data", text).bad_lines, [1], "{text}");
        }
    }

    #[test]
    fn what_is_filled_in_later_is_not_known() {
        let conf = "[global]\nrepo1-s3-key=<path:kv/data/s3#id>\n${MORE_OPTIONS}\n";
        let mixed = file_of("stringData", conf);
        assert!(mixed.veiled && mixed.bad_lines.is_empty() && mixed.options.len() == 1, "{mixed:?}");
        for text in [
            "ENC[AES256_GCM,data:Tr7o=,iv:1=,tag:2=,type:str]",
            "<path:kv/data/s3#conf | base64encode>",
            "ref+vault://kv/s3#conf",
            "${S3_CONF}",
            "$S3_CONF",
            "{{ .Values.s3Conf }}",
        ] {
            for field in ["data", "stringData"] {
                let file = file_of(field, text);
                assert!(file.veiled && file.bad_lines.is_empty(), "{field}: {text}");
            }
        }
        assert!(file_of("data", "PHBhdGg6a3YvZGF0YS9zMyNjb25mPg==").veiled, "an encoded placeholder");
        assert!(!file_of("stringData", "[global]\nrepo1-s3-key=$a").veiled);
        assert_eq!(read(&json!({"stringData": "ENC[AES256_GCM,data:x]"})), None);
        assert!(read(&json!({"stringData": "s3.conf |"})).unwrap().unreadable.is_some());
    }
}
