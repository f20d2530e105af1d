//! The certificates of a cluster, as Kubernetes reads them.

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose};

use crate::support::web::{Authority, Issued};

/// For a server that is reached by these names and addresses.
pub(crate) fn server(authority: &Authority, names: &[&str]) -> Issued {
    authority.issue_with(names, |params| {
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        allow(params, ExtendedKeyUsagePurpose::ServerAuth);
    })
}

/// For a client: the common name is the user, each organization a group.
pub(crate) fn client(authority: &Authority, user: &str, groups: &[&str]) -> Issued {
    authority.issue_with(&[], |params| {
        params.distinguished_name.push(DnType::CommonName, user);
        for group in groups {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        allow(params, ExtendedKeyUsagePurpose::ClientAuth);
    })
}

fn allow(params: &mut CertificateParams, usage: ExtendedKeyUsagePurpose) {
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
}
