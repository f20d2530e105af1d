//! `healthcheck` against real servers: plain, with TLS, with client certificates, unhealthy and absent.

use clap::Parser;
use pgbackrest_keeper::cli::healthcheck::{HealthcheckArgs, run};
use pgbackrest_keeper::http::limits::ServerLimits;
use tokio::net::TcpListener;

use crate::support::kubernetes::ports::free_port;
use crate::support::web::{Authority, Server};
use crate::web::tls_auth::Site;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    args: HealthcheckArgs,
}

/// The line that it would print.
async fn check(flags: &[String]) -> Result<String, String> {
    let flags = std::iter::once("healthcheck".to_owned()).chain(flags.iter().cloned());
    let args = Command::try_parse_from(flags).expect("flags").args;
    run(&args).await.map_err(|error| error.to_string())
}

fn flag(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}

const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

#[tokio::test]
async fn a_plain_exporter_is_healthy_sick_or_absent() {
    let server = Server::start(None, ServerLimits::default()).await;
    let address = server.address;
    let listen = flag("web.listen-address", address);
    assert_eq!(check(std::slice::from_ref(&listen)).await, Ok(format!("http://{address}/healthz: alive")));
    let sick = check(&[flag("url", format_args!("http://{address}/readyz"))]).await.expect_err("not ready");
    assert_eq!(sick, format!("http://{address}/readyz: returned 503 Service Unavailable: no collection yet"));
    server.stop().await;
    // Another test may have bound the port of the server by now.
    let closed = flag("web.listen-address", format_args!("127.0.0.1:{}", free_port()));
    let absent = check(&[closed]).await.expect_err("gone");
    assert!(absent.contains("refused"), "{absent}");
}

#[tokio::test]
async fn an_exporter_that_says_nothing_is_unhealthy_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("free port");
    let listen = flag("web.listen-address", silent.local_addr().expect("address"));
    let error = check(&[listen, flag("timeout", "200ms")]).await.expect_err("silent");
    assert!(error.contains("no response within 200ms"), "{error}");
}

#[tokio::test]
async fn with_tls_only_the_configured_certificate_is_trusted() {
    let site = Site::new();
    let server = site.start(TLS).await;
    let listen = flag("web.listen-address", server.address);
    let config = |site: &Site| flag("web.config.file", site.directory.path().join("web.yml").display());
    let healthy = check(&[listen.clone(), config(&site)]).await;
    assert_eq!(healthy, Ok(format!("https://{}/healthz: alive", server.address)));

    let other = Site::new();
    other.write("web.yml", TLS);
    let error = check(&[listen.clone(), config(&other)]).await.expect_err("another certificate");
    assert!(error.contains("certificate"), "{error}");

    // A certificate renewed by an issuer that the chain holds is as good.
    let renewed = site.authority.issue(&["localhost"]);
    let chain = format!("{}{}", renewed.certificate_pem, site.authority.certificate_pem());
    site.write("server.crt", &chain);
    site.write("server.key", &renewed.key_pem);
    assert!(check(&[listen.clone(), config(&site)]).await.is_ok());

    let unknown = check(&[flag("url", format_args!("https://{}/healthz", server.address))]).await;
    assert!(unknown.expect_err("no certificate known").contains("--web.config.file"));
    site.write("web.yml", "tls_server_cfg:\n");
    let broken = check(&[listen, config(&site)]).await.expect_err("broken configuration");
    assert!(broken.contains("web.yml:1: unknown key"), "{broken}");
    server.stop().await;
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_one_is_asked_for() {
    let site = Site::new();
    let verify = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n";
    let server = site.start(&format!("{TLS}{verify}")).await;
    let asked = [
        flag("web.listen-address", server.address),
        flag("web.config.file", site.directory.path().join("web.yml").display()),
    ];
    let without = check(&asked).await.expect_err("none given");
    assert!(without.contains("RequireAndVerifyClientCert") && without.contains("--cert-file"), "{without}");
    let with = |authority: &Authority| {
        let own = authority.issue(&["probe"]);
        let certificate = site.write("probe.crt", &own.certificate_pem);
        let key = site.write("probe.key", &own.key_pem);
        let own = [flag("cert-file", certificate.display()), flag("key-file", key.display())];
        [asked.clone(), own].concat()
    };
    assert!(check(&with(&site.authority)).await.is_ok());
    assert!(check(&with(&Authority::new())).await.is_err());
    server.stop().await;
}
