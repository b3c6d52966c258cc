//! Certificates: an authority made for one server, and what that server shows in a handshake.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// Where a server finds what it needs to speak TLS.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// The authority, in PEM: who trusts it trusts the server.
    pub(crate) authority: Vec<u8>,
    pub(crate) authority_file: PathBuf,
    pub(crate) certificate_file: PathBuf,
    pub(crate) key_file: PathBuf,
}

impl Certificates {
    /// Makes an authority of its own and a certificate for `localhost` and `127.0.0.1`, as files in `folder`.
    pub(crate) fn make(folder: &Path) -> Self {
        let mut params = CertificateParams::default();
        // Named apart from the server: one with the name of its own issuer would pass for self-signed.
        params.distinguished_name.push(DnType::CommonName, "donjon test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key is made");
        let authority = params.self_signed(&key).expect("an authority signs itself").pem();
        let issuer = Issuer::new(params, key);

        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().expect("a key is made");
        let mut params = CertificateParams::new(names).expect("the names are names");
        params.distinguished_name.push(DnType::CommonName, "donjon test server");
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &issuer).expect("an authority signs").pem();

        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).expect("the server's folder can be written");
            path
        };
        Self {
            authority_file: write("authority.pem", &authority),
            certificate_file: write("server.pem", &certificate),
            key_file: write("server.key", &key.serialize_pem()),
            authority: authority.into_bytes(),
        }
    }
}
