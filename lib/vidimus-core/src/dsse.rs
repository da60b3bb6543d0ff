//! DSSE envelopes and their pre-authentication encoding (secure-systems-lab/dsse, protocol v1.0.2).
//!
//! The payload is kept as the bytes that were signed. Nothing here verifies a signature.

use serde::{Deserialize, Serialize};

use crate::{
    ParseError,
    encoding::Base64,
    limits,
    protobuf::{self, Unknown},
};

/// The payload type of in-toto statements.
pub const IN_TOTO_PAYLOAD: &str = "application/vnd.in-toto+json";

/// A signed payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// The signed bytes.
    pub payload: Base64,
    /// What the bytes are; part of what is signed.
    #[serde(alias = "payload_type")]
    pub payload_type: String,
    /// The signatures, each over [`pae`].
    pub signatures: Vec<Signature>,
}

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The signature's bytes.
    pub sig: Base64,
    /// An unauthenticated hint about the key. Old cosign writes `""`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub keyid: String,
}

impl Envelope {
    /// An envelope with one signature and no key id.
    pub fn new(payload_type: impl Into<String>, payload: Vec<u8>, signature: Vec<u8>) -> Self {
        Self {
            payload: Base64(payload),
            payload_type: payload_type.into(),
            signatures: vec![Signature { sig: Base64(signature), keyid: String::new() }],
        }
    }

    /// Reads an envelope and checks its limits: at least one signature, at most [`limits::DSSE_SIGNATURES`].
    pub fn from_json(json: &[u8]) -> Result<Self, ParseError> {
        limits::check_len("DSSE envelope", json.len(), limits::ATTESTATION_BYTES)?;
        let envelope: Self = protobuf::read("DSSE envelope", json, Unknown::Ignored)?;
        envelope.check()?;
        Ok(envelope)
    }

    /// Checks the limits of an envelope that came inside another document.
    pub fn check(&self) -> Result<(), ParseError> {
        if self.signatures.is_empty() {
            return Err(ParseError::at("DSSE envelope", "signatures", "none"));
        }
        limits::check_count("DSSE envelope", "signatures", self.signatures.len(), limits::DSSE_SIGNATURES)
    }

    /// The bytes that the signatures are over.
    pub fn pae(&self) -> Vec<u8> {
        pae(&self.payload_type, &self.payload.0)
    }
}

/// The pre-authentication encoding: `"DSSEv1" SP len(type) SP type SP len(payload) SP payload`.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {} {} ", payload_type.len(), payload_type, payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pae_of_the_specification() {
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn an_envelope_without_signatures_is_refused() {
        let json = br#"{"payload":"e30=","payloadType":"t","signatures":[]}"#;
        assert_eq!(Envelope::from_json(json).unwrap_err().at, "signatures");
    }

    #[test]
    fn reads_what_old_and_new_cosign_and_others_write() {
        for json in [
            &br#"{"payloadType":"t","payload":"e30=","signatures":[{"keyid":"","sig":"AA=="}]}"#[..],
            br#"{"payload":"e30=","payloadType":"t","signatures":[{"sig":"AA=="}]}"#,
            // The envelope's specification has URL-safe base64 too, and members that are to be ignored.
            br#"{"payload":"e30","payload_type":"t","signatures":[{"sig":"AA","cert":"x"}],"more":1}"#,
        ] {
            assert_eq!(Envelope::from_json(json).unwrap(), Envelope::new("t", b"{}".to_vec(), vec![0]));
        }
    }
}
