//! Timestamp requests: DER (RFC 3161 §2.4.1), and the JSON form that Sigstore's JavaScript client sends.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{ID_SHA_1, ID_SHA_256, ID_SHA_384, ID_SHA_512};
use der::Decode;
use der::asn1::{Any, AnyRef, Int, OctetString};
use serde::Deserialize;
use serde_json::value::RawValue;
use spki::AlgorithmIdentifierOwned;
use vidimus_core::encoding::Base64;
use x509_tsp::{MessageImprint, TimeStampReq};

use super::{POLICY, positive};

/// Octets of a nonce: clients send 8; RFC 3161 asks for "large random".
const NONCE_BYTES: usize = 32;
const MD5: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.5");

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestampRequest {
    pub(super) imprint: MessageImprint,
    pub(super) nonce: Option<Int>,
    pub(super) certificates: bool,
}

/// Why a request is refused. The texts of the first two are what clients of Sigstore's own service know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// SHA-1 or MD5.
    #[error("Weak hash algorithm in timestamp request")]
    WeakHash,
    /// Not a request.
    #[error("Error generating timestamp response: {0}")]
    Malformed(String),
    /// A hash that is not SHA-256, SHA-384 or SHA-512.
    #[error("Unsupported hash algorithm in timestamp request: {0}")]
    UnsupportedHash(String),
    /// The digest is not as long as its algorithm's.
    #[error("Message digest has incorrect length for specified algorithm: {seen} bytes, expected {expected}")]
    DigestLength {
        /// Bytes in the request.
        seen: usize,
        /// Bytes of the algorithm.
        expected: usize,
    },
    /// Another policy than ours: RFC 3161 §2.4.1 has such a request refused.
    #[error("Unsupported policy in timestamp request: {0}; this authority states {POLICY}")]
    Policy(String),
    /// An extension: none is known, and RFC 3161 §2.4.1 has such a request refused.
    #[error("Unsupported extension in timestamp request: {0}")]
    Extension(ObjectIdentifier),
}

#[derive(Debug, Deserialize)]
struct JsonRequest<'a> {
    #[serde(rename = "artifactHash")]
    artifact_hash: Base64,
    #[serde(rename = "hashAlgorithm")]
    hash_algorithm: String,
    #[serde(default)]
    certificates: bool,
    #[serde(default, borrow)]
    nonce: Option<&'a RawValue>,
    #[serde(default, rename = "tsaPolicyOID")]
    policy: Option<String>,
}

impl TimestampRequest {
    /// Reads a `TimeStampReq`.
    pub fn from_der(der: &[u8]) -> Result<Self, RequestError> {
        let request = TimeStampReq::from_der(der).map_err(|e| RequestError::Malformed(e.to_string()))?;
        if let Some(policy) = request.req_policy.filter(|p| *p != POLICY) {
            return Err(RequestError::Policy(policy.to_string()));
        }
        if let Some(extension) = request.extensions.iter().flatten().next() {
            return Err(RequestError::Extension(extension.extn_id));
        }
        check_imprint(&request.message_imprint)?;
        if request.nonce.as_ref().is_some_and(|n| n.as_bytes().len() > NONCE_BYTES) {
            return Err(RequestError::Malformed(format!("a nonce of more than {NONCE_BYTES} bytes")));
        }
        Ok(Self { imprint: request.message_imprint, nonce: request.nonce, certificates: request.cert_req })
    }

    /// Reads a request in JSON.
    pub fn from_json(json: &[u8]) -> Result<Self, RequestError> {
        let malformed = |e: &dyn std::fmt::Display| RequestError::Malformed(e.to_string());
        let request: JsonRequest<'_> = serde_json::from_slice(json).map_err(|e| malformed(&e))?;
        if let Some(policy) = request.policy.filter(|p| !p.is_empty() && *p != POLICY.to_string()) {
            return Err(RequestError::Policy(policy));
        }
        let hash_algorithm = AlgorithmIdentifierOwned { oid: hash_oid(&request.hash_algorithm)?, parameters: Some(null()) };
        let hashed_message = OctetString::new(request.artifact_hash.0).map_err(|e| malformed(&e))?;
        let imprint = MessageImprint { hash_algorithm, hashed_message };
        check_imprint(&imprint)?;
        let nonce = request.nonce.map(|n| decimal(n.get())).transpose()?;
        Ok(Self { imprint, nonce, certificates: request.certificates })
    }
}

fn check_imprint(imprint: &MessageImprint) -> Result<(), RequestError> {
    let expected = match imprint.hash_algorithm.oid {
        ID_SHA_256 => 32,
        ID_SHA_384 => 48,
        ID_SHA_512 => 64,
        ID_SHA_1 | MD5 => return Err(RequestError::WeakHash),
        other => return Err(RequestError::UnsupportedHash(other.to_string())),
    };
    if imprint.hash_algorithm.parameters.as_ref().is_some_and(|p| *p != null()) {
        return Err(RequestError::Malformed("parameters of the hash algorithm".to_owned()));
    }
    let seen = imprint.hashed_message.as_bytes().len();
    if seen != expected {
        return Err(RequestError::DigestLength { seen, expected });
    }
    Ok(())
}

fn hash_oid(name: &str) -> Result<ObjectIdentifier, RequestError> {
    match name.to_ascii_lowercase().as_str() {
        "sha256" => Ok(ID_SHA_256),
        "sha384" => Ok(ID_SHA_384),
        "sha512" => Ok(ID_SHA_512),
        "sha1" | "md5" => Err(RequestError::WeakHash),
        _ => Err(RequestError::UnsupportedHash(name.to_owned())),
    }
}

/// A JSON number of any length as an INTEGER: JavaScript and Go send nonces beyond 64 bits.
fn decimal(text: &str) -> Result<Int, RequestError> {
    let bad = || RequestError::Malformed(format!("nonce {text}: not a non-negative integer of at most {NONCE_BYTES} bytes"));
    let mut bytes = [0u8; NONCE_BYTES];
    if text.is_empty() || text.len() > 3 * NONCE_BYTES || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    for digit in text.bytes() {
        let mut carry = u16::from(digit - b'0');
        for byte in bytes.iter_mut().rev() {
            let [high, low] = (u16::from(*byte) * 10 + carry).to_be_bytes();
            *byte = low;
            carry = u16::from(high);
        }
        if carry != 0 {
            return Err(bad());
        }
    }
    positive(&bytes).map_err(|_| bad())
}

fn null() -> Any {
    AnyRef::NULL.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(fields: &str) -> Result<TimestampRequest, RequestError> {
        let hash = vidimus_core::encoding::encode([7; 32]);
        TimestampRequest::from_json(format!(r#"{{"artifactHash":"{hash}",{fields}}}"#).as_bytes())
    }

    #[test]
    fn der_as_captured_from_a_client() {
        let der = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/wire/q.tsq")).unwrap();
        let request = TimestampRequest::from_der(&der).unwrap();
        assert!(request.certificates);
        assert_eq!(request.nonce.unwrap().as_bytes(), hex::decode("19779e0b35e26720").unwrap());
        assert!(TimestampRequest::from_der(&der[..der.len() - 1]).is_err());
        let sha1 = [&der[..]].concat();
        let weak = hex::encode(sha1).replace("300d06096086480165030402010500", "300906052b0e03021a0500");
        // The lengths around the shorter algorithm identifier: 0x43 - 4 and 0x31 - 4.
        let weak = weak.replacen("3043", "303f", 1).replacen("3031", "302d", 1);
        assert_eq!(TimestampRequest::from_der(&hex::decode(weak).unwrap()), Err(RequestError::WeakHash));
    }

    #[test]
    fn json_accepted() {
        let request = json(r#""hashAlgorithm":"sha256","certificates":true,"nonce":18446744073709551616"#).unwrap();
        assert_eq!(request.nonce.unwrap().as_bytes(), [1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(request.certificates);
        assert_eq!(json(r#""hashAlgorithm":"sha256","nonce":200"#).unwrap().nonce.unwrap().as_bytes(), [0, 200]);
        assert_eq!(json(r#""hashAlgorithm":"sha256","nonce":0"#).unwrap().nonce.unwrap().as_bytes(), [0]);
        assert!(json(r#""hashAlgorithm":"sha256","tsaPolicyOID":"1.3.6.1.4.1.57264.2""#).is_ok());
    }

    #[test]
    fn json_refused() {
        assert_eq!(json(r#""hashAlgorithm":"sha1""#), Err(RequestError::WeakHash));
        assert!(matches!(json(r#""hashAlgorithm":"sha512""#), Err(RequestError::DigestLength { seen: 32, expected: 64 })));
        assert!(matches!(json(r#""hashAlgorithm":"crc32""#), Err(RequestError::UnsupportedHash(_))));
        assert!(matches!(json(r#""hashAlgorithm":"sha256","tsaPolicyOID":"1.2.3""#), Err(RequestError::Policy(_))));
        for nonce in ["-1", "1.5", "1e3", "\"7\"", &"9".repeat(79)] {
            assert!(json(&format!(r#""hashAlgorithm":"sha256","nonce":{nonce}"#)).is_err(), "{nonce}");
        }
    }
}
