//! TLS errors for people: what is wrong and what to do.

use rustls::{AlertDescription as Alert, CertificateError as Bad, Error};
use std::io;

/// Why a caller's handshake failed, in plain words.
pub fn of_caller(error: &io::Error) -> String {
    let Some(tls) = error.get_ref().and_then(|e| e.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => "it hung up in the TLS handshake".to_owned(),
            _ => format!("the connection broke in the TLS handshake ({error})"),
        };
    };
    match tls {
        Error::NoCertificatesPresented => "it shows no client certificate, and `client_ca` asks for one".to_owned(),
        Error::InvalidCertificate(bad) => match bad {
            Bad::Expired | Bad::ExpiredContext { .. } => "its client certificate has expired".to_owned(),
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                "its client certificate is not valid yet: is this machine's clock right?".to_owned()
            }
            Bad::UnknownIssuer => "its client certificate is signed by none of `client_ca`".to_owned(),
            Bad::BadSignature => {
                "its client certificate is not signed by the authority of that name in `client_ca`: was that made anew?"
                    .to_owned()
            }
            other => format!("its client certificate is not acceptable ({other})"),
        },
        Error::AlertReceived(Alert::UnknownCA | Alert::BadCertificate | Alert::CertificateUnknown) => {
            format!("it does not trust our certificate ({tls})")
        }
        Error::AlertReceived(Alert::CertificateExpired) => "it says that our certificate has expired".to_owned(),
        Error::PeerIncompatible(_) => format!("it and we have no version or cipher of TLS in common ({tls})"),
        Error::NoApplicationProtocol => "it speaks neither HTTP/1.1 nor HTTP/2 (ALPN)".to_owned(),
        Error::InvalidMessage(_) => "what it sent is not TLS".to_owned(),
        other => format!("the TLS handshake failed ({other})"),
    }
}

/// What the session itself failed of, if that is what an error is about.
pub fn failure(error: &(dyn std::error::Error + 'static)) -> Option<io::Error> {
    let error = error.downcast_ref::<io::Error>()?;
    let tls = error.get_ref()?.downcast_ref::<Error>()?;
    Some(io::Error::new(error.kind(), tls.clone()))
}

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
            Bad::BadSignature => format!(
                "the certificate of {host} is not signed by the authority of that name that is known here: was that \
                 made anew? set `ca` to its PEM file of now"
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
        Error::AlertReceived(Alert::NoApplicationProtocol) => {
            format!("{host} speaks no HTTP version that this address asks for (ALPN): try https:// instead of h2://")
        }
        Error::InvalidMessage(_) => format!("{host} does not speak TLS on that port"),
        other => format!("TLS with {host} failed: {other}"),
    }
}
