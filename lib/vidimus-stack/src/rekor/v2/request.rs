//! What is posted to Rekor v2, read as protobuf's JSON is read: either spelling of a name, either alphabet of base64, and no unknown
//! field.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{Deserialize, Deserializer, de};
use vidimus_core::{Algorithm, Digest, dsse, encoding::encode};

use crate::verifier::{self, KeyType, PublicKey, Refused};

/// Characters of an error message. Names of unknown fields are the client's and may be long.
const MESSAGE: usize = 400;

/// An entry that may be logged: its signature is good.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proposal {
    /// The canonical body.
    pub(super) body: Vec<u8>,
}

/// A request that can not become an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Invalid(String);

impl Invalid {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl From<Refused> for Invalid {
    fn from(refused: Refused) -> Self {
        Self(match refused {
            Refused::Signature => "invalid hashedrekord request: verifying signature: invalid signature".to_owned(),
            other => format!("invalid hashedrekord request: {other}"),
        })
    }
}

impl Proposal {
    /// Reads a request, checks its signature and writes the body.
    pub(super) fn read(json: &[u8]) -> Result<Self, Invalid> {
        // serde would read a list as the members of a message in their order.
        if json.iter().find(|b| !b.is_ascii_whitespace()).is_some_and(|b| *b != b'{') {
            return Err(Invalid::new("proto: syntax error (line 1:1): unexpected token"));
        }
        let request: CreateEntryRequest = serde_json::from_slice(json).map_err(|e| Invalid(protojson_error(json, &e)))?;
        match (request.hashed_rekord, request.dsse) {
            (Some(request), None) => Self::from_hashed_rekord(&request),
            (None, Some(request)) => Self::from_dsse(&request),
            (None, None) => Err(Invalid::new("invalid type, must be hashedrekord")),
            (Some(_), Some(_)) => Err(Invalid::new("proto: oneof dev.sigstore.rekor.v2.CreateEntryRequest.spec is already set")),
        }
    }

    fn from_hashed_rekord(request: &HashedRekordRequest) -> Result<Self, Invalid> {
        let key = request.signature.verifier.key()?;
        let digest = Digest::new(key.default_hash(), request.digest.0.as_slice());
        let digest = digest.map_err(|e| Invalid(format!("invalid hashedrekord request: {e}")))?;
        Self::new(&key, &digest, &request.signature.content.0, &request.signature.verifier)
    }

    /// The digest of what the envelope's signature is over is all that is logged.
    fn from_dsse(request: &DsseRequest) -> Result<Self, Invalid> {
        let ([signature], [verifier]) = (&request.envelope.signatures[..], &request.verifiers[..]) else {
            return Err(Invalid::new("invalid dsse request: exactly one signature and one verifier are supported"));
        };
        let key = verifier.key()?;
        let pae = dsse::pae(&request.envelope.payload_type, &request.envelope.payload.0);
        let digest = Digest::of(key.default_hash(), &pae);
        if key.kind() == KeyType::Ed25519 {
            // DSSE is signed with the pure algorithm, of which a digest proves nothing.
            return Err(Invalid::new("invalid dsse request: Ed25519 signatures can not be logged by digest"));
        }
        Self::new(&key, &digest, &signature.sig.0, verifier)
    }

    fn new(key: &PublicKey, digest: &Digest, signature: &[u8], verifier: &Verifier) -> Result<Self, Invalid> {
        key.verify_digest(digest, signature)?;
        Ok(Self { body: body(digest, signature, &verifier.key_details, verifier.der()?) })
    }
}

/// A key or certificate in DER.
#[derive(Debug, Clone, Copy)]
pub(super) enum VerifierDer<'a> {
    PublicKey(&'a [u8]),
    Certificate(&'a [u8]),
}

/// The canonical body (RFC 8785). Written by hand, since it is on the path of every entry and no value in it needs escaping; a test
/// compares it with the general way.
pub(super) fn body(digest: &Digest, signature: &[u8], key_details: &str, verifier: VerifierDer<'_>) -> Vec<u8> {
    let algorithm = match digest.algorithm() {
        Algorithm::Sha256 => "SHA2_256",
        Algorithm::Sha384 => "SHA2_384",
        Algorithm::Sha512 => "SHA2_512",
    };
    let (member, der) = match verifier {
        VerifierDer::PublicKey(der) => ("publicKey", der),
        VerifierDer::Certificate(der) => ("x509Certificate", der),
    };
    format!(
        concat!(
            r#"{{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{{"hashedRekordV002":{{"data":{{"algorithm":"{}","digest":"{}"}},"#,
            r#""signature":{{"content":"{}","verifier":{{"keyDetails":"{}","{}":{{"rawBytes":"{}"}}}}}}}}}}}}"#
        ),
        algorithm,
        encode(digest.bytes()),
        encode(signature),
        key_details,
        member,
        encode(der),
    )
    .into_bytes()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateEntryRequest {
    #[serde(default, rename = "hashedRekordRequestV002", alias = "hashed_rekord_request_v002")]
    hashed_rekord: Option<HashedRekordRequest>,
    #[serde(default, rename = "dsseRequestV002", alias = "dsse_request_v002")]
    dsse: Option<DsseRequest>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HashedRekordRequest {
    #[serde(default)]
    digest: Lenient,
    #[serde(default)]
    signature: SignatureContent,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureContent {
    #[serde(default)]
    content: Lenient,
    #[serde(default)]
    verifier: Verifier,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DsseRequest {
    envelope: Envelope,
    #[serde(default)]
    verifiers: Vec<Verifier>,
}

/// As protobuf reads it, which is laxer than a DSSE envelope elsewhere.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    #[serde(default)]
    payload: Lenient,
    #[serde(default, rename = "payloadType", alias = "payload_type")]
    payload_type: String,
    #[serde(default)]
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeSignature {
    #[serde(default)]
    sig: Lenient,
    /// Not part of what is logged.
    #[serde(default, rename = "keyid")]
    _keyid: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Verifier {
    #[serde(default, rename = "keyDetails", alias = "key_details")]
    key_details: String,
    #[serde(default, rename = "publicKey", alias = "public_key")]
    public_key: Option<RawBytes>,
    #[serde(default, rename = "x509Certificate", alias = "x509_certificate")]
    certificate: Option<RawBytes>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBytes {
    #[serde(default, rename = "rawBytes", alias = "raw_bytes")]
    raw_bytes: Lenient,
}

impl Verifier {
    fn der(&self) -> Result<VerifierDer<'_>, Invalid> {
        match (&self.public_key, &self.certificate) {
            (Some(key), None) => Ok(VerifierDer::PublicKey(&key.raw_bytes.0)),
            (None, Some(certificate)) => Ok(VerifierDer::Certificate(&certificate.raw_bytes.0)),
            (None, None) => Err(Invalid::new("invalid hashedrekord request: missing verifier")),
            (Some(_), Some(_)) => Err(Invalid::new("proto: oneof dev.sigstore.rekor.v2.Verifier.verifier is already set")),
        }
    }

    /// The key, whose kind must be what `keyDetails` says: verifiers choose the algorithm by that name.
    fn key(&self) -> Result<PublicKey, Invalid> {
        let key = match self.der()? {
            VerifierDer::PublicKey(der) => PublicKey::from_spki(der)?,
            VerifierDer::Certificate(der) => PublicKey::from_certificate(&verifier::certificate(der)?)?,
        };
        let expected = match key.kind() {
            KeyType::P256 => "PKIX_ECDSA_P256_SHA_256",
            KeyType::P384 => "PKIX_ECDSA_P384_SHA_384",
            KeyType::P521 => "PKIX_ECDSA_P521_SHA_512",
            KeyType::Rsa(2048) => "PKIX_RSA_PKCS1V15_2048_SHA256",
            KeyType::Rsa(3072) => "PKIX_RSA_PKCS1V15_3072_SHA256",
            KeyType::Rsa(4096) => "PKIX_RSA_PKCS1V15_4096_SHA256",
            KeyType::Rsa(bits) => return Err(Refused::Unsupported(format!("RSA with {bits} bits")).into()),
            KeyType::Ed25519 => "PKIX_ED25519_PH",
        };
        if self.key_details != expected {
            let why = format!("invalid hashedrekord request: keyDetails {:?} where the key is {expected}", self.key_details);
            return Err(Invalid(why.chars().take(MESSAGE).collect()));
        }
        Ok(key)
    }
}

/// Base64 as protobuf's JSON takes it: standard or URL alphabet, padded or not.
#[derive(Debug, Default)]
struct Lenient(Vec<u8>);

const LAX: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LAX);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LAX);

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Lenient;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a base64 string")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Lenient, E> {
                let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
                engine.decode(text).map(Lenient).map_err(|_| E::custom("invalid value for bytes field"))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A parse error in the words of protobuf's JSON reader, which clients and their users know.
fn protojson_error(json: &[u8], error: &serde_json::Error) -> String {
    let text = error.to_string();
    let (line, mut column) = (error.line(), error.column());
    let unknown = text.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')).map(|(name, _)| name);
    let what = match unknown {
        Some(name) => {
            // serde_json reports the end of the name, protobuf its beginning.
            column = column.saturating_sub(name.len() + 1).max(1);
            format!("unknown field {name:?}")
        }
        None if error.is_eof() => return "proto: unexpected end of input".to_owned(),
        None => text.split(" at line ").next().unwrap_or_default().to_owned(),
    };
    if json.is_empty() {
        return "proto: syntax error (line 1:1): unexpected token ".to_owned();
    }
    let kind = if error.is_syntax() { "syntax error (" } else { "(" };
    let mut message = format!("proto: {kind}line {line}:{column}): {what}");
    // What a client sent comes back to it, but not without end.
    if message.len() > MESSAGE {
        message = message.chars().take(MESSAGE).collect();
    }
    message
}
