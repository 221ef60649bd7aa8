//! The RSA key of a certificate. Nothing else of it is looked at: what a certificate is worth is decided by the address it came from.

use aws_lc_rs::signature::RsaPublicKeyComponents;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::trust::RsaKey;

/// The object identifier of RSA keys, with its tag and length.
const RSA: [u8; 11] = [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
/// `[0]`, the version of a certificate.
const VERSION: u8 = 0xA0;

/// Reads the key of the first certificate in a PEM document.
pub fn rsa_key(pem: &[u8]) -> Result<RsaKey, String> {
    let der = first_certificate(pem).ok_or_else(|| "it is not a certificate in PEM".to_owned())?;
    key_of(&der).ok_or_else(|| "it is not a certificate with an RSA key".to_owned())
}

fn first_certificate(pem: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(pem).ok()?;
    let (_, after) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (encoded, _) = after.split_once("-----END CERTIFICATE-----")?;
    STANDARD.decode(encoded.split_ascii_whitespace().collect::<String>()).ok()
}

fn key_of(der: &[u8]) -> Option<RsaKey> {
    let mut certificate = Reader(Reader(der).take(SEQUENCE)?);
    let mut body = Reader(certificate.take(SEQUENCE)?);
    if body.0.first() == Some(&VERSION) {
        body.take(VERSION)?;
    }
    body.take(INTEGER)?;
    // Algorithm, issuer, validity, subject.
    for _ in 0..4 {
        body.take(SEQUENCE)?;
    }
    let mut info = Reader(body.take(SEQUENCE)?);
    if !info.take(SEQUENCE)?.starts_with(&RSA) {
        return None;
    }
    let bits = info.take(BIT_STRING)?.strip_prefix(&[0])?;
    let mut key = Reader(Reader(bits).take(SEQUENCE)?);
    Some(RsaPublicKeyComponents { n: positive(key.take(INTEGER)?), e: positive(key.take(INTEGER)?) })
}

/// Without the zero that marks a number as positive.
fn positive(number: &[u8]) -> Vec<u8> {
    number.strip_prefix(&[0]).unwrap_or(number).to_vec()
}

/// Reads DER from the front.
struct Reader<'d>(&'d [u8]);

impl<'d> Reader<'d> {
    /// The content of the next value, if it has this tag.
    fn take(&mut self, tag: u8) -> Option<&'d [u8]> {
        let rest = self.0.strip_prefix(&[tag])?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7F => (usize::from(first), rest),
            0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
            0x82 => {
                let (length, rest) = rest.split_at_checked(2)?;
                (length.iter().fold(0, |sum, byte| sum * 256 + usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }
}
