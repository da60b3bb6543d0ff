//! `log.binding`: the body of a log entry describes this signature, by this key or certificate, over this artifact.
//!
//! Without it, any valid entry of the log would do (CVE-2022-36056). Each kind of entry names the three in its own way; where a kind
//! cannot be compared completely, the entry is refused.

use std::io::Write as _;

use vidimus_core::{
    Algorithm, Digest, ParseError,
    bundle::TlogEntry,
    digest::Hasher,
    dsse::Envelope,
    encoding,
    rekor::{Body, DsseV001, HashedRekordV001, HashedRekordV002, IntotoV001, IntotoV002},
};

use crate::{CheckId, Content, Rejection, key::PublicKey, signature::Signed, x509::Certificate};

/// What the entry must describe.
pub(crate) struct Expected<'a> {
    pub(crate) signed: &'a Signed<'a>,
    /// The signer's certificate. None for managed keys.
    pub(crate) certificate: Option<&'a Certificate>,
    pub(crate) key: &'a PublicKey,
}

/// Why an entry does not fit.
enum Mismatch {
    Malformed(String),
    Different(&'static str),
    DigestUnknown(Algorithm),
}

impl From<ParseError> for Mismatch {
    fn from(error: ParseError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Checks an entry of the log `log`.
pub(crate) fn check(entry: &TlogEntry, log: &str, expected: &Expected<'_>) -> Result<(), Rejection> {
    let index = entry.log_index.0;
    compare(entry, expected).map_err(|mismatch| match mismatch {
        Mismatch::Malformed(why) => Rejection::LogEntryMalformed { check: CheckId::LogBinding, index, why },
        Mismatch::Different(what) => Rejection::LogEntryMismatch { log: log.to_owned(), index, what: what.to_owned() },
        Mismatch::DigestUnknown(wanted) => Rejection::digest_unknown(CheckId::LogBinding, wanted),
    })
}

fn compare(entry: &TlogEntry, expected: &Expected<'_>) -> Result<(), Mismatch> {
    let body = Body::parse(&entry.canonicalized_body.0)?;
    if body.kind_version() != entry.kind_version {
        return Err(Mismatch::Different("its body is of another kind"));
    }
    match (body, expected.signed.content()) {
        (Body::HashedRekordV001(body), _) => hashedrekord_v001(&body, expected),
        (Body::HashedRekordV002(body), _) => hashedrekord_v002(&body, expected),
        (Body::DsseV001(body), Content::Envelope { envelope, .. }) => dsse_v001(&body, envelope, expected),
        (Body::IntotoV001(body), Content::Envelope { envelope, text }) => intoto_v001(&body, envelope, text.as_ref(), expected),
        (Body::IntotoV002(body), Content::Envelope { envelope, .. }) => intoto_v002(&body, envelope, expected),
        _ => Err(Mismatch::Different("its kind is for envelopes, and this is none")),
    }
}

fn hashedrekord_v001(body: &HashedRekordV001, expected: &Expected<'_>) -> Result<(), Mismatch> {
    expected.is_digest(&body.data.hash.to_digest()?)?;
    expected.is_signature(&body.signature.content.0)?;
    expected.is_pem(&body.signature.public_key.content.0)
}

fn hashedrekord_v002(body: &HashedRekordV002, expected: &Expected<'_>) -> Result<(), Mismatch> {
    expected.is_digest(&body.content.data.to_digest()?)?;
    expected.is_signature(&body.content.signature.content.0)?;
    let verifier = &body.content.signature.verifier;
    match (&verifier.x509_certificate, &verifier.public_key) {
        (Some(certificate), None) => expected.is_certificate(&certificate.raw_bytes.0),
        (None, Some(key)) => expected.is_key(&key.raw_bytes.0),
        _ => Err(Mismatch::Malformed("not exactly one of certificate and key".to_owned())),
    }
}

/// The envelope's hash is of the text that was posted, which nobody has any more; payload, signature and verifier determine everything
/// that matters.
fn dsse_v001(body: &DsseV001, envelope: &Envelope, expected: &Expected<'_>) -> Result<(), Mismatch> {
    is_payload(&body.payload_hash.to_digest()?, envelope)?;
    let [logged] = &body.signatures[..] else { return Err(Mismatch::Different("the number of signatures")) };
    expected.is_signature(&encoding::decode(&logged.signature)?)?;
    expected.is_pem(&logged.verifier.0)
}

/// This kind has no signature; it is in the hash of the envelope's text. cosign logged the text that it then stored as a layer.
fn intoto_v001(body: &IntotoV001, envelope: &Envelope, text: Option<&Digest>, expected: &Expected<'_>) -> Result<(), Mismatch> {
    if let Some(hash) = &body.content.payload_hash {
        is_payload(&hash.to_digest()?, envelope)?;
    }
    let logged = body.content.hash.to_digest()?;
    if text != Some(&logged) && !known_texts(envelope, logged.algorithm()).contains(&logged) {
        return Err(Mismatch::Different("the envelope"));
    }
    expected.is_pem(&body.public_key.0)
}

fn intoto_v002(body: &IntotoV002, envelope: &Envelope, expected: &Expected<'_>) -> Result<(), Mismatch> {
    let hash = body.content.payload_hash.as_ref().ok_or(Mismatch::Different("it has no hash of the payload"))?;
    is_payload(&hash.to_digest()?, envelope)?;
    if body.content.envelope.payload_type != envelope.payload_type {
        return Err(Mismatch::Different("the type of the payload"));
    }
    let [logged] = &body.content.envelope.signatures[..] else { return Err(Mismatch::Different("the number of signatures")) };
    expected.is_signature(&logged.signature()?)?;
    expected.is_pem(&logged.public_key.0)
}

fn is_payload(logged: &Digest, envelope: &Envelope) -> Result<(), Mismatch> {
    if logged.matches(&envelope.payload.0) { Ok(()) } else { Err(Mismatch::Different("the payload")) }
}

/// The digests of the texts that cosign 2 and 3 make of an envelope with one signature. The payload is encoded piece by piece: as a
/// text of its own it would be in memory three times.
fn known_texts(envelope: &Envelope, algorithm: Algorithm) -> [Digest; 2] {
    let payload_type = serde_json::Value::from(envelope.payload_type.as_str());
    let signature = envelope.signatures.first();
    let sig = signature.map(|s| encoding::encode(&s.sig.0)).unwrap_or_default();
    let keyid = serde_json::Value::from(signature.map_or("", |s| &s.keyid));
    let digest = |before: String, after: String| {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(before.as_bytes());
        write!(hasher, "{}", envelope.payload).expect("hashing cannot fail");
        hasher.update(after.as_bytes());
        hasher.finish()
    };
    [
        digest(
            format!(r#"{{"payloadType":{payload_type},"payload":""#),
            format!(r#"","signatures":[{{"keyid":{keyid},"sig":"{sig}"}}]}}"#),
        ),
        digest(r#"{"payload":""#.to_owned(), format!(r#"","payloadType":{payload_type},"signatures":[{{"sig":"{sig}"}}]}}"#)),
    ]
}

impl Expected<'_> {
    fn is_digest(&self, logged: &Digest) -> Result<(), Mismatch> {
        match self.signed.digest(logged.algorithm()) {
            Some(digest) if digest == logged => Ok(()),
            Some(_) => Err(Mismatch::Different("the artifact's digest")),
            None => Err(Mismatch::DigestUnknown(logged.algorithm())),
        }
    }

    fn is_signature(&self, logged: &[u8]) -> Result<(), Mismatch> {
        if logged == self.signed.signature() { Ok(()) } else { Err(Mismatch::Different("the signature")) }
    }

    /// A PEM text with a certificate or a key.
    fn is_pem(&self, pem: &[u8]) -> Result<(), Mismatch> {
        let text = std::str::from_utf8(pem).map_err(|e| Mismatch::Malformed(e.to_string()))?;
        // As every signer writes it, which spares taking it apart.
        if self.certificate.is_some_and(|certificate| text == encoding::pem("CERTIFICATE", certificate.der())) {
            return Ok(());
        }
        let blocks = encoding::pem_blocks(text)?;
        match &blocks[..] {
            [block] if block.label == "CERTIFICATE" => self.is_certificate(&block.der),
            [block] if block.label == "PUBLIC KEY" => self.is_key(&block.der),
            _ => Err(Mismatch::Malformed("not one PEM certificate or public key".to_owned())),
        }
    }

    fn is_certificate(&self, der: &[u8]) -> Result<(), Mismatch> {
        let same = match self.certificate {
            Some(certificate) => certificate.der() == der,
            // A managed key may have been logged with a certificate around it.
            None => Certificate::parse(der)?.spki() == self.key.spki(),
        };
        if same { Ok(()) } else { Err(Mismatch::Different("the certificate")) }
    }

    /// For a signer with a certificate, an entry with the bare key does not say whose signature it is.
    fn is_key(&self, der: &[u8]) -> Result<(), Mismatch> {
        if self.certificate.is_none() && der == self.key.spki() { Ok(()) } else { Err(Mismatch::Different("the key")) }
    }
}
