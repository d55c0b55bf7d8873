//! What a token is held against: a shared secret, or a public key that was parsed when the file was loaded.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// RSA keys of fewer bits are broken.
const RSA_BITS_MIN: usize = 2048;
/// The library takes none of more.
const RSA_BITS_MAX: usize = 8192;

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of RFC 7518 and RFC 8037")]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    ES256,
    ES384,
    ES512,
    PS256,
    PS384,
    PS512,
    EdDSA,
}

impl Algorithm {
    /// All of them, by their names. `none` is not among them.
    const ALL: [(&'static str, Algorithm); 13] = [
        ("HS256", Algorithm::HS256),
        ("HS384", Algorithm::HS384),
        ("HS512", Algorithm::HS512),
        ("RS256", Algorithm::RS256),
        ("RS384", Algorithm::RS384),
        ("RS512", Algorithm::RS512),
        ("ES256", Algorithm::ES256),
        ("ES384", Algorithm::ES384),
        ("ES512", Algorithm::ES512),
        ("PS256", Algorithm::PS256),
        ("PS384", Algorithm::PS384),
        ("PS512", Algorithm::PS512),
        ("EdDSA", Algorithm::EdDSA),
    ];

    /// By its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, algorithm)| algorithm)
    }

    /// Of a shared secret.
    fn shared(self) -> Option<hmac::Algorithm> {
        match self {
            Algorithm::HS256 => Some(hmac::HMAC_SHA256),
            Algorithm::HS384 => Some(hmac::HMAC_SHA384),
            Algorithm::HS512 => Some(hmac::HMAC_SHA512),
            _ => None,
        }
    }

    /// Of a public key.
    fn public(self) -> Option<&'static dyn VerificationAlgorithm> {
        Some(match self {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => return None,
            Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
            Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
            Algorithm::ES512 => &signature::ECDSA_P521_SHA512_FIXED,
            Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
            Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
            Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
            Algorithm::EdDSA => &signature::ED25519,
        })
    }

    /// Whether tokens are signed by a private key, so that the file has to have the public one.
    #[must_use]
    pub fn is_asymmetric(self) -> bool {
        self.public().is_some()
    }
}

/// The public key of a PEM text, if tokens of the algorithm can be verified with it.
#[must_use]
pub fn public_key(algorithm: Algorithm, pem: &str) -> Option<ParsedPublicKey> {
    let verifies = algorithm.public()?;
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (rest, key) = SubjectPublicKeyInfo::from_der(&der).ok()?;
    // The library looks at the length of a key only when it verifies.
    let fits = match key.parsed().ok()? {
        PublicKey::RSA(key) => (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&key.key_size()),
        _ => true,
    };
    (fits && rest.is_empty()).then(|| ParsedPublicKey::new(verifies, &*der).ok()).flatten()
}

/// What the tokens of one credential are held against.
pub struct Signed {
    /// The one algorithm that its tokens may name.
    pub algorithm: Algorithm,
    key: Key,
}

enum Key {
    Secret(Box<[u8]>),
    Public(Box<ParsedPublicKey>),
    /// There is none that could verify anything.
    Nothing,
}

/// How a signature was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// It is right.
    Yes,
    /// It is not.
    No,
    /// There is nothing to hold it against.
    NoKey,
}

impl Signed {
    /// A credential of a file.
    pub(super) fn new(algorithm: &str, secret: &str, pem: Option<&str>) -> Option<Signed> {
        let algorithm = Algorithm::parse(algorithm)?;
        let key = match (algorithm.is_asymmetric(), pem) {
            (false, _) => Key::Secret(secret.as_bytes().into()),
            (true, Some(pem)) => public_key(algorithm, pem).map_or(Key::Nothing, |key| Key::Public(Box::new(key))),
            (true, None) => Key::Nothing,
        };
        Some(Signed { algorithm, key })
    }

    /// Whether the signature is that of the message; `secret` brings a shared secret into the form that holds.
    pub fn verify(&self, message: &[u8], signature: &[u8], secret: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Verified {
        let right = match &self.key {
            Key::Nothing => return Verified::NoKey,
            Key::Public(key) => key.verify_sig(message, signature).is_ok(),
            Key::Secret(text) => {
                let (Some(algorithm), Some(secret)) = (self.algorithm.shared(), secret(text)) else {
                    return Verified::NoKey;
                };
                hmac::verify(&hmac::Key::new(algorithm, &secret), message, signature).is_ok()
            }
        };
        if right { Verified::Yes } else { Verified::No }
    }
}
