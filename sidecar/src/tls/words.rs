//! TLS errors for people: what is wrong and what to do.

use rustls::{AlertDescription as Alert, CertificateError as Bad, Error};
use std::io;

/// The error in plain words, of the same kind; errors that are not TLS's own stay as they are.
pub fn in_words(host: &str, error: io::Error) -> io::Error {
    let words = match error.get_ref().and_then(|e| e.downcast_ref::<Error>()) {
        Some(tls) => said(host, tls),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            format!("{host} hung up in the TLS handshake: does that port speak TLS?")
        }
        None => return error,
    };
    io::Error::new(error.kind(), words)
}

fn said(host: &str, error: &Error) -> String {
    match error {
        Error::InvalidCertificate(bad) => match bad {
            Bad::Expired | Bad::ExpiredContext { .. } => {
                format!("the certificate of {host} has expired: renew it there (or set this machine's clock)")
            }
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                format!("the certificate of {host} is not valid yet: is this machine's clock right?")
            }
            Bad::UnknownIssuer => format!(
                "the certificate of {host} is signed by an authority that is not known here: set `ca` to the \
                 authority's PEM file"
            ),
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                format!("the certificate is for another name than {host}: set `server_name` to the name that it is for")
            }
            Bad::Revoked => format!("the certificate of {host} was revoked"),
            other => {
                format!("the certificate of {host} is not acceptable: {}", Error::InvalidCertificate(other.clone()))
            }
        },
        Error::AlertReceived(Alert::CertificateRequired | Alert::NoCertificate) => {
            format!("{host} asks for a client certificate: set `certificate` and `key`")
        }
        Error::AlertReceived(
            Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::UnsupportedCertificate,
        ) => format!("{host} does not accept our client certificate ({error})"),
        Error::AlertReceived(Alert::ProtocolVersion) | Error::PeerIncompatible(_) => {
            format!("{host} and we have no version or cipher of TLS in common ({error}): see `min_version`")
        }
        Error::AlertReceived(Alert::HandshakeFailure) => {
            format!("{host} refuses the handshake: it may ask for a client certificate or an older TLS")
        }
        Error::InvalidMessage(_) => format!("{host} does not speak TLS on that port"),
        other => format!("TLS with {host} failed: {other}"),
    }
}
