//! What a reload may change, and whether it does.
//!
//! TLS is on or off from the start, and a reload only removes users or stops requesting client certificates if the file does this
//! explicitly, so that a truncated file never disables authentication. Open connections keep the certificate and the client CA of their
//! handshake; passwords, headers and the rate limit of the current configuration apply to each request.

use crate::http::tls::client_certificate::ClientAuthType;

use super::WebConfig;

/// Why a reload may not change one configuration to another.
pub(super) fn refused_change(from: &WebConfig, to: &WebConfig) -> Option<&'static str> {
    if !from.users.is_empty() && to.users.is_empty() && !to.states_no_users {
        return Some(
            "this would remove all users; to require no password, set basic_auth_users: {} explicitly, or restart the process",
        );
    }
    let (from, to) = match (&from.tls, &to.tls) {
        (None, None) => return None,
        (None, Some(_)) => {
            return Some("this would enable TLS, which requires a restart; restart the process");
        }
        (Some(_), None) => {
            return Some("this would disable TLS, which requires a restart; restart the process");
        }
        (Some(from), Some(to)) => (from, to),
    };
    let asked = |auth: ClientAuthType| auth != ClientAuthType::NoClientCert;
    if asked(from.client_auth) && !asked(to.client_auth) && !to.states_client_auth {
        return Some(
            "this would remove client_auth_type; to request no certificate, set client_auth_type: NoClientCert explicitly, or \
             restart the process",
        );
    }
    (from.limits_client_names && !to.limits_client_names && asked(to.client_auth)).then_some(
        "this would remove client_allowed_sans, which requires a restart; restart the process to accept all names",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::web_config::{WebConfigError, WebConfigHandle};

    /// A certificate of its own, with its key.
    fn certificate() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    struct Site {
        directory: tempfile::TempDir,
        handle: WebConfigHandle,
    }

    impl Site {
        async fn new(text: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let (certificate, key) = certificate();
            for (name, text) in [("server.crt", &certificate), ("server.key", &key), ("ca.crt", &certificate)]
            {
                std::fs::write(directory.path().join(name), text).unwrap();
            }
            std::fs::write(directory.path().join("web.yml"), text).unwrap();
            let handle = WebConfigHandle::load(Some(&directory.path().join("web.yml"))).await.unwrap();
            Self { directory, handle }
        }

        async fn reload(&self, text: &str) -> Result<(), WebConfigError> {
            std::fs::write(self.directory.path().join("web.yml"), text).unwrap();
            self.handle.reload().await
        }
    }

    const HASH: &str = "$2b$04$J/V.ixkdeDIm2W4JNuvWeuLcyxoCTrKVx5LsnB6iQzJ8Yf6UxS0mS";
    const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
    const CLIENTS: &str = "  client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n";
    const NAMES: &str = "  client_allowed_sans:\n  - scraper.example\n";

    #[tokio::test]
    async fn a_file_without_its_end_opens_nothing() {
        let users = format!("basic_auth_users:\n  alice: {HASH}\n  bob: {HASH}\n");
        for whole in [format!("{TLS}{CLIENTS}{NAMES}{users}"), format!("{users}{TLS}{CLIENTS}{NAMES}")] {
            let site = Site::new(&whole).await;
            for length in 0..whole.len() {
                let result = site.reload(&whole[..length]).await;
                let current = site.handle.current();
                let tls = current.tls.as_ref().unwrap();
                let is_closed = !current.users.is_empty()
                    && tls.client_auth == ClientAuthType::RequireAndVerifyClientCert
                    && tls.limits_client_names;
                assert!(is_closed, "{length} bytes: {result:?}\n{}", &whole[..length]);
            }
        }
    }

    #[tokio::test]
    async fn what_the_file_says_is_done() {
        let users = format!("basic_auth_users:\n  alice: {HASH}\n");
        let site = Site::new(&format!("{TLS}{CLIENTS}{users}")).await;
        let refused = |result: Result<(), WebConfigError>| result.unwrap_err().problem;
        assert!(refused(site.reload(&format!("{TLS}{CLIENTS}")).await).contains("basic_auth_users: {}"));
        let empty = site.reload(&format!("{TLS}{CLIENTS}basic_auth_users:\n")).await;
        assert!(refused(empty).contains("has no users"));
        assert!(refused(site.reload(&format!("{TLS}{users}")).await).contains("NoClientCert"));
        let open = format!("{TLS}  client_auth_type: NoClientCert\nbasic_auth_users: {{}}\n");
        site.reload(&open).await.unwrap();
        assert!(site.handle.current().users.is_empty());
        // What is not there cannot be removed.
        site.reload(TLS).await.unwrap();
        site.reload(&format!("{TLS}{CLIENTS}{NAMES}{users}")).await.unwrap();
        let unnamed = site.reload(&format!("{TLS}{CLIENTS}{users}")).await;
        assert!(refused(unnamed).contains("client_allowed_sans"));
    }
}
