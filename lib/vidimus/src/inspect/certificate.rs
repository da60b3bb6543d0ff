//! X.509 certificates (RFC 5280), with Fulcio's claims by name, and public keys.

use const_oid::{
    ObjectIdentifier,
    db::{DB, rfc5280, rfc5912, rfc6962, rfc8410},
};
use der::{
    Decode, Encode,
    asn1::{OctetString, UintRef},
};
use jiff::Timestamp;
use vidimus_core::{
    Digest, ParseError, encoding,
    fulcio::{Claims, Extension as Claim, Identity, SUBJECT_ALT_NAME},
    limits,
};
use vidimus_verify::PublicKey;
use x509_cert::{
    Certificate, Version,
    ext::{
        Extension,
        pkix::{AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage},
    },
    spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef},
    time::Time,
};

use super::{
    Kind, sct,
    value::{Fields, Value},
};

const FORMAT: &str = "certificate";
/// A certificate of the chains we read is 1 to 3 KiB.
const CERTIFICATE_BYTES: usize = 64 << 10;
/// Fulcio writes up to 30.
const EXTENSIONS: usize = 64;

/// A DER certificate under base64.
pub(super) fn from_base64(text: &str) -> Result<Value, ParseError> {
    Ok(Value::document(Kind::Certificate, content(&encoding::decode(text)?)?))
}

/// A DER public key under base64.
pub(super) fn key_from_base64(text: &str) -> Result<Value, ParseError> {
    Ok(Value::document(Kind::PublicKey, key(&encoding::decode(text)?)?))
}

/// A public key in TUF metadata: PEM, or hex, which is left as it is.
pub(super) fn key_from_tuf(text: &str) -> Result<Value, ParseError> {
    if text.starts_with("-----BEGIN ") { from_pem(text) } else { Ok(Value::text(text)) }
}

/// Certificates and public keys in PEM: one, or a list.
pub(super) fn from_pem(text: &str) -> Result<Value, ParseError> {
    let blocks = encoding::pem_blocks(text)?;
    limits::check_count("PEM", "blocks", blocks.len(), limits::CHAIN)?;
    let one = |block: &encoding::PemBlock| match block.label.as_str() {
        "CERTIFICATE" => Ok(Value::document(Kind::Certificate, content(&block.der)?)),
        "PUBLIC KEY" => Ok(Value::document(Kind::PublicKey, key(&block.der)?)),
        // Whatever this is, it may be a secret: its name is all that is repeated.
        other => Err(ParseError::at("PEM", other, "neither a certificate nor a public key")),
    };
    match blocks.as_slice() {
        [] => Err(ParseError::new("PEM", "no block")),
        [block] => one(block),
        many => many.iter().map(one).collect::<Result<_, _>>().map(Value::List),
    }
}

/// What a DER certificate says.
pub(super) fn content(der: &[u8]) -> Result<Value, ParseError> {
    limits::check_len(FORMAT, der.len(), CERTIFICATE_BYTES)?;
    let certificate = Certificate::from_der(der).map_err(|e| ParseError::new(FORMAT, e))?;
    let tbs = &certificate.tbs_certificate;
    let extensions = tbs.extensions.as_deref().unwrap_or_default();
    limits::check_count(FORMAT, "extensions", extensions.len(), EXTENSIONS)?;
    let mut fields = Fields::default();
    fields.put("subjectAlternativeName", Value::List(names(extensions)));
    fields.put("claims", Value::Fields(claims(extensions)));
    fields.text("notBefore", time(tbs.validity.not_before));
    fields.text("notAfter", time(tbs.validity.not_after));
    fields.text("subject", tbs.subject.to_string());
    fields.text("issuer", tbs.issuer.to_string());
    fields.text("serialNumber", ::hex::encode(tbs.serial_number.as_bytes()));
    fields.text(
        "version",
        match tbs.version {
            Version::V1 => "1",
            Version::V2 => "2",
            Version::V3 => "3",
        },
    );
    fields.put("publicKey", spki(&tbs.subject_public_key_info)?);
    fields.put("extensions", Value::Fields(others(extensions)));
    let critical = extensions.iter().filter(|e| e.critical).map(|e| Value::Text(oid_name(e.extn_id)));
    fields.put("critical", Value::List(critical.collect()));
    fields.text("signatureAlgorithm", oid_name(certificate.signature_algorithm.oid));
    fields.text("signature", encoding::encode(certificate.signature.raw_bytes()));
    fields.text("sha256", Digest::sha256(der).hex());
    Ok(Value::Fields(fields))
}

/// The names; one that cannot be read says why.
fn names(extensions: &[Extension]) -> Vec<Value> {
    let of = |extension: &Extension| match Claims::from_extensions(std::slice::from_ref(extension)) {
        Ok(claims) => claims.identities.iter().map(name).collect(),
        Err(e) => vec![raw(&extension.extn_value).noted("unreadable", e.to_string())],
    };
    extensions.iter().filter(|e| e.extn_id == SUBJECT_ALT_NAME).flat_map(of).collect()
}

fn name(identity: &Identity) -> Value {
    let kind = match identity {
        Identity::Dns(_) => "dns",
        Identity::Email(_) => "email",
        Identity::Ip(_) => "ip",
        Identity::Uri(_) => "uri",
        Identity::Username(_) => "username",
        _ => "other",
    };
    Value::Fields(Fields(vec![(kind.into(), Value::text(identity.as_str()))]))
}

/// Fulcio's claims by name, in the certificate's order, repeated ones repeated.
fn claims(extensions: &[Extension]) -> Fields {
    let mut fields = Fields::default();
    for extension in extensions {
        let Some(claim) = Claim::from_oid(&extension.extn_id) else { continue };
        let value = match Claims::from_extensions(std::slice::from_ref(extension)) {
            Ok(claims) => Value::text(claims.get(claim).unwrap_or_default()),
            Err(e) => raw(&extension.extn_value).noted("unreadable", e.to_string()),
        };
        fields.put(claim.name(), value);
    }
    fields
}

/// The extensions that are neither names nor claims.
fn others(extensions: &[Extension]) -> Fields {
    let mut fields = Fields::default();
    for extension in extensions {
        if extension.extn_id == SUBJECT_ALT_NAME || Claim::from_oid(&extension.extn_id).is_some() {
            continue;
        }
        let value = decoded(extension).unwrap_or_else(|why| raw(&extension.extn_value).noted("unreadable", why));
        fields.put(oid_name(extension.extn_id), value);
    }
    fields
}

fn decoded(extension: &Extension) -> Result<Value, String> {
    let bytes = extension.extn_value.as_bytes();
    let text = |e: der::Error| e.to_string();
    Ok(match extension.extn_id {
        rfc5280::ID_CE_KEY_USAGE => {
            let usage = KeyUsage::from_der(bytes).map_err(text)?;
            Value::List(usage.0.into_iter().map(|u| Value::Text(lower_first(&format!("{u:?}")))).collect())
        }
        rfc5280::ID_CE_EXT_KEY_USAGE => {
            let usage = ExtendedKeyUsage::from_der(bytes).map_err(text)?;
            Value::List(usage.0.into_iter().map(|oid| Value::Text(oid_name(oid))).collect())
        }
        rfc5280::ID_CE_BASIC_CONSTRAINTS => {
            let constraints = BasicConstraints::from_der(bytes).map_err(text)?;
            let mut fields = Fields::default();
            fields.put("ca", Value::plain(constraints.ca));
            if let Some(len) = constraints.path_len_constraint {
                fields.put("pathLen", Value::plain(len));
            }
            Value::Fields(fields)
        }
        rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER => raw(&OctetString::from_der(bytes).map_err(text)?),
        rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER => {
            let id = AuthorityKeyIdentifier::from_der(bytes).map_err(text)?;
            // The long form names the issuer's certificate instead of its key; nobody here writes it.
            id.key_identifier.as_ref().map_or_else(|| raw(&extension.extn_value), raw)
        }
        rfc6962::CT_PRECERT_SCTS => {
            let list = OctetString::from_der(bytes).map_err(text)?;
            Value::document(Kind::SctList, sct::list(list.as_bytes()).map_err(|e| e.to_string())?)
        }
        _ => raw(&extension.extn_value),
    })
}

fn raw(bytes: &OctetString) -> Value {
    Value::Text(::hex::encode(bytes.as_bytes()))
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_ascii_lowercase().to_string() + chars.as_str()).unwrap_or_default()
}

/// A time of a certificate.
pub(super) fn time(time: Time) -> String {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| time.to_string(), |t| t.to_string())
}

/// What a DER `SubjectPublicKeyInfo` says, or a bare `RSAPublicKey`, the form of some old entries of trust roots.
pub(super) fn key(der: &[u8]) -> Result<Value, ParseError> {
    let read = |der: &[u8]| SubjectPublicKeyInfoOwned::from_der(der).map_err(|e| ParseError::new("public key", e));
    match PublicKey::from_pkcs1(der) {
        Ok(bare) => spki(&read(bare.spki())?),
        Err(_) => spki(&read(der)?),
    }
}

fn spki(key: &SubjectPublicKeyInfoOwned) -> Result<Value, ParseError> {
    let der = key.to_der().map_err(|e| ParseError::new("public key", e))?;
    let id = vidimus_core::digest::sha256(&der);
    let mut fields = Fields::default();
    let algorithm =
        SubjectPublicKeyInfoRef::from_der(&der).map_or_else(|_| oid_name(key.algorithm.oid), |key| key_algorithm(&key));
    fields.text("algorithm", algorithm);
    // One number in the two spellings of the field: log ids are hex in Rekor v1, hints base64 in bundles.
    fields.put("sha256", Value::text(::hex::encode(id)).noted("base64", encoding::encode(id)));
    fields.text("subjectPublicKeyInfo", encoding::encode(&der));
    Ok(Value::Fields(fields))
}

/// The algorithm of a key, with curve or size.
pub(super) fn key_algorithm(key: &SubjectPublicKeyInfoRef<'_>) -> String {
    match key.algorithm.oid {
        rfc5912::ID_EC_PUBLIC_KEY => match key.algorithm.parameters_oid() {
            Ok(rfc5912::SECP_256_R_1) => "ECDSA P-256".to_owned(),
            Ok(rfc5912::SECP_384_R_1) => "ECDSA P-384".to_owned(),
            Ok(rfc5912::SECP_521_R_1) => "ECDSA P-521".to_owned(),
            Ok(curve) => format!("ECDSA {}", oid_name(curve)),
            Err(_) => "ECDSA without a named curve".to_owned(),
        },
        rfc5912::RSA_ENCRYPTION => match rsa_bits(key) {
            Some(bits) => format!("RSA {bits}"),
            None => "RSA".to_owned(),
        },
        rfc8410::ID_ED_25519 => "Ed25519".to_owned(),
        other => oid_name(other),
    }
}

/// The length of an RSA modulus.
pub(crate) fn rsa_bits(key: &SubjectPublicKeyInfoRef<'_>) -> Option<usize> {
    #[derive(der::Sequence)]
    struct RsaPublicKey<'a> {
        modulus: UintRef<'a>,
        exponent: UintRef<'a>,
    }
    let RsaPublicKey { modulus, exponent: _ } = RsaPublicKey::from_der(key.subject_public_key.as_bytes()?).ok()?;
    let first = modulus.as_bytes().first()?;
    Some(modulus.as_bytes().len() * 8 - usize::try_from(first.leading_zeros()).ok()?)
}

/// The name of an object identifier without the prefix of its arc, or its numbers.
pub(super) fn oid_name(oid: ObjectIdentifier) -> String {
    if oid == rfc6962::CT_PRECERT_SCTS {
        return "signedCertificateTimestamps".to_owned();
    }
    let Some(name) = DB.by_oid(&oid) else { return oid.to_string() };
    ["id-ce-", "id-kp-", "id-pe-", "id-aa-", "id-"].iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_extension_hides_no_other() {
        let pem = include_str!("../../../../testdata/fulcio/email.pem");
        let der = encoding::pem_one(pem, "CERTIFICATE").unwrap();
        // The issuer claim's UTF8String becomes an INTEGER of the same length.
        let at = der.windows(3).position(|w| w == [0x04, 0x1d, 0x0c]).unwrap();
        let mut broken = der.clone();
        broken[at + 2] = 0x02;
        let value = serde_json::to_value(content(&broken).unwrap()).unwrap();
        assert!(value["claims"]["IssuerV2"]["unreadable"].as_str().unwrap().contains("IssuerV2"), "{value}");
        assert_eq!(value["claims"]["TokenSubject"], "user-1");
        assert_eq!(value["subjectAlternativeName"][0]["email"], "dev@signet.test");
    }

    #[test]
    fn refuses_what_is_not_a_certificate() {
        assert!(content(b"").is_err());
        assert!(content(&[0x30; 100]).is_err());
        assert!(content(&vec![0; CERTIFICATE_BYTES + 1]).is_err());
        assert!(key(b"\x30\x00").is_err());
    }

    #[test]
    fn a_private_key_is_not_repeated() {
        let secret = encoding::pem("PRIVATE KEY", b"hunter2");
        let error = from_pem(&secret).unwrap_err().to_string();
        assert!(error.contains("PRIVATE KEY") && !error.contains(&encoding::encode(b"hunter2")), "{error}");
    }
}
