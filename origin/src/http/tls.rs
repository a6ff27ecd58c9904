//! TLS for outgoing requests: ring for cryptography (aws-lc needs cmake and more), and whom we trust.

use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// Trusts what the machine trusts, so that a company's own authority works; where the machine has no list at all, as in
/// a bare container, Mozilla's.
pub(super) fn config() -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
