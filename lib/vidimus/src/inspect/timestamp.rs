//! RFC 3161 timestamps: an authority's whole answer, or the signed token alone.
//!
//! The token's shape is read here field by field and not through a ready-made structure, because answers of authorities of all ages
//! are shown: with fractions of a second, with failure codes, without a token.

use cms::{
    cert::CertificateChoices,
    content_info::ContentInfo,
    signed_data::{SignedData, SignerIdentifier, SignerInfo},
};
use const_oid::{ObjectIdentifier, db::rfc5911};
use der::{
    Any, AnyRef, Decode, Encode, Sequence, Tag, Tagged,
    asn1::{BitString, Int, OctetString, OctetStringRef},
};
use vidimus_core::{ParseError, encoding, limits};
use x509_cert::{ext::pkix::name::GeneralName, spki::AlgorithmIdentifierOwned};

use super::{
    Kind,
    certificate::{self, oid_name},
    value::{Fields, Value},
};

const FORMAT: &str = "timestamp";
/// Answers are 1 to 10 KiB, mostly certificates.
const TIMESTAMP_BYTES: usize = 256 << 10;
/// RFC 3161 §2.4.2: a token is signed by one authority.
const SIGNERS: usize = 4;
/// `id-ct-TSTInfo`, RFC 3161 §2.4.2.
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");

#[derive(Sequence)]
struct Response {
    status: StatusInfo,
    #[asn1(optional = "true")]
    token: Option<Any>,
}

#[derive(Sequence)]
struct StatusInfo {
    status: u8,
    #[asn1(optional = "true")]
    text: Option<Vec<String>>,
    #[asn1(optional = "true")]
    failure: Option<BitString>,
}

#[derive(Sequence)]
struct TstInfo {
    version: u8,
    policy: ObjectIdentifier,
    imprint: MessageImprint,
    serial_number: Int,
    // GeneralizedTime; der's own type knows no fractions of a second.
    gen_time: Any,
    #[asn1(optional = "true")]
    accuracy: Option<Accuracy>,
    #[asn1(default = "Default::default")]
    ordering: bool,
    #[asn1(optional = "true")]
    nonce: Option<Int>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    tsa: Option<GeneralName>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", constructed = "true", optional = "true")]
    extensions: Option<Vec<x509_cert::ext::Extension>>,
}

#[derive(Sequence)]
struct MessageImprint {
    algorithm: AlgorithmIdentifierOwned,
    digest: OctetString,
}

#[derive(Sequence)]
struct Accuracy {
    #[asn1(optional = "true")]
    seconds: Option<u64>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    millis: Option<u16>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    micros: Option<u16>,
}

/// An answer or token under base64.
pub(super) fn from_base64(text: &str) -> Result<Value, ParseError> {
    Ok(Value::document(Kind::Timestamp, content(&encoding::decode(text)?)?))
}

/// What a DER answer or token says.
pub(super) fn content(der: &[u8]) -> Result<Value, ParseError> {
    limits::check_len(FORMAT, der.len(), TIMESTAMP_BYTES)?;
    // The answer starts with a sequence, the token with an object identifier: neither can be read as the other.
    if let Ok(info) = ContentInfo::from_der(der) {
        return token(&info).map(Value::Fields);
    }
    let response = Response::from_der(der).map_err(bad)?;
    let mut fields = Fields::default();
    fields.text("status", status_name(response.status.status));
    if let Some(lines) = response.status.text {
        fields.put("statusString", Value::List(lines.into_iter().map(Value::Text).collect()));
    }
    if let Some(failure) = response.status.failure {
        fields.put(
            "failInfo",
            Value::List(failure.bits().enumerate().filter(|(_, on)| *on).map(|(n, _)| Value::Text(failure_name(n))).collect()),
        );
    }
    if let Some(info) = response.token {
        let info = info.to_der().and_then(|der| ContentInfo::from_der(&der)).map_err(bad)?;
        fields.0.extend(token(&info)?.0);
    }
    Ok(Value::Fields(fields))
}

fn bad(e: der::Error) -> ParseError {
    ParseError::new(FORMAT, e)
}

/// RFC 3161 §2.4.2.
fn status_name(status: u8) -> String {
    let names = ["granted", "grantedWithMods", "rejection", "waiting", "revocationWarning", "revocationNotification"];
    names.get(usize::from(status)).map_or_else(|| format!("unknown ({status})"), |name| (*name).to_owned())
}

fn failure_name(bit: usize) -> String {
    match bit {
        0 => "badAlg".to_owned(),
        2 => "badRequest".to_owned(),
        5 => "badDataFormat".to_owned(),
        14 => "timeNotAvailable".to_owned(),
        15 => "unacceptedPolicy".to_owned(),
        16 => "unacceptedExtension".to_owned(),
        17 => "addInfoNotAvailable".to_owned(),
        25 => "systemFailure".to_owned(),
        other => format!("bit {other}"),
    }
}

fn token(info: &ContentInfo) -> Result<Fields, ParseError> {
    if info.content_type != rfc5911::ID_SIGNED_DATA {
        return Err(ParseError::new(FORMAT, format_args!("it carries {}, not signed data", oid_name(info.content_type))));
    }
    let signed = info.content.decode_as::<SignedData>().map_err(bad)?;
    if signed.encap_content_info.econtent_type != TST_INFO {
        let seen = oid_name(signed.encap_content_info.econtent_type);
        return Err(ParseError::new(FORMAT, format_args!("it signs {seen}, not a timestamp")));
    }
    let content = signed.encap_content_info.econtent.as_ref().ok_or_else(|| ParseError::new(FORMAT, "it signs nothing"))?;
    let content = content.decode_as::<OctetStringRef<'_>>().map_err(bad)?;
    let mut fields = tst_info(TstInfo::from_der(content.as_bytes()).map_err(bad)?)?;
    let signers = &signed.signer_infos.0;
    limits::check_count(FORMAT, "signers", signers.len(), SIGNERS)?;
    fields.put("signers", Value::List(signers.iter().map(signer).collect()));
    let certificates = signed.certificates.iter().flat_map(|set| set.0.iter());
    let certificates = certificates.map(included).collect::<Result<Vec<_>, _>>()?;
    limits::check_count(FORMAT, "certificates", certificates.len(), limits::CHAIN)?;
    fields.put("certificates", Value::List(certificates));
    Ok(fields)
}

fn tst_info(info: TstInfo) -> Result<Fields, ParseError> {
    let mut fields = Fields::default();
    fields.text("genTime", gen_time(&info.gen_time)?);
    if let Some(accuracy) = info.accuracy {
        let millis = accuracy.millis.unwrap_or(0);
        let micros = accuracy.micros.unwrap_or(0);
        fields.text("accuracy", format!("{} s {millis} ms {micros} µs", accuracy.seconds.unwrap_or(0)));
    }
    let mut imprint = Fields::default();
    imprint.text("algorithm", oid_name(info.imprint.algorithm.oid));
    imprint.text("digest", ::hex::encode(info.imprint.digest.as_bytes()));
    fields.put("messageImprint", Value::Fields(imprint));
    if let Some(tsa) = info.tsa {
        fields.text(
            "tsa",
            match tsa {
                GeneralName::DirectoryName(name) => name.to_string(),
                other => format!("{other:?}"),
            },
        );
    }
    fields.text("policy", info.policy.to_string());
    fields.text("serialNumber", ::hex::encode(info.serial_number.as_bytes()));
    if let Some(nonce) = info.nonce {
        fields.text("nonce", ::hex::encode(nonce.as_bytes()));
    }
    fields.put("ordering", Value::plain(info.ordering));
    fields.put("version", Value::plain(info.version));
    let extensions = info.extensions.unwrap_or_default();
    if !extensions.is_empty() {
        let oids = extensions.iter().map(|e| Value::Text(oid_name(e.extn_id)));
        fields.put("extensions", Value::List(oids.collect()));
    }
    Ok(fields)
}

/// `YYYYMMDDhhmmss[.f…]Z` as RFC 3339 text.
fn gen_time(time: &Any) -> Result<String, ParseError> {
    let err = || ParseError::at(FORMAT, "genTime", "not a GeneralizedTime in UTC");
    if time.tag() != Tag::GeneralizedTime {
        return Err(err());
    }
    let text = std::str::from_utf8(time.value()).map_err(|_| err())?;
    let (whole, fraction) = text.strip_suffix('Z').and_then(|t| t.split_at_checked(14)).ok_or_else(err)?;
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let fraction_ok = fraction.is_empty() || fraction.strip_prefix('.').is_some_and(|f| !f.is_empty() && digits(f));
    if !digits(whole) || !fraction_ok {
        return Err(err());
    }
    let part = |range| whole.get(range).unwrap_or_default();
    Ok(format!("{}-{}-{}T{}:{}:{}{fraction}Z", part(0..4), part(4..6), part(6..8), part(8..10), part(10..12), part(12..14)))
}

fn signer(signer: &SignerInfo) -> Value {
    let mut fields = Fields::default();
    match &signer.sid {
        SignerIdentifier::IssuerAndSerialNumber(id) => {
            fields.text("issuer", id.issuer.to_string());
            fields.text("serialNumber", ::hex::encode(id.serial_number.as_bytes()));
        }
        SignerIdentifier::SubjectKeyIdentifier(id) => fields.text("subjectKeyIdentifier", ::hex::encode(id.0.as_bytes())),
    }
    fields.text("digestAlgorithm", oid_name(signer.digest_alg.oid));
    fields.text("signatureAlgorithm", oid_name(signer.signature_algorithm.oid));
    let mut attributes = Fields::default();
    for attribute in signer.signed_attrs.iter().flat_map(|set| set.iter()) {
        let mut values: Vec<_> = attribute.values.iter().map(attribute_value).collect();
        let value = if values.len() == 1 { values.remove(0) } else { Value::List(values) };
        attributes.put(oid_name(attribute.oid), value);
    }
    fields.put("signedAttributes", Value::Fields(attributes));
    fields.text("signature", encoding::encode(signer.signature.as_bytes()));
    Value::Fields(fields)
}

/// Times, digests and object identifiers in words, all else in hex.
fn attribute_value(value: &Any) -> Value {
    let any = AnyRef::from(value);
    let text = match any.tag() {
        Tag::UtcTime | Tag::GeneralizedTime => {
            any.to_der().ok().and_then(|der| x509_cert::time::Time::from_der(&der).ok()).map(certificate::time)
        }
        Tag::ObjectIdentifier => {
            any.decode_as::<ObjectIdentifier>().ok().map(|oid| if oid == TST_INFO { "tSTInfo".to_owned() } else { oid_name(oid) })
        }
        Tag::OctetString => Some(::hex::encode(any.value())),
        _ => None,
    };
    Value::Text(text.unwrap_or_else(|| ::hex::encode(any.value())))
}

fn included(choice: &CertificateChoices) -> Result<Value, ParseError> {
    match choice {
        CertificateChoices::Certificate(certificate) => {
            let der = certificate.to_der().map_err(bad)?;
            Ok(Value::document(Kind::Certificate, certificate::content(&der)?))
        }
        CertificateChoices::Other(other) => Ok(Value::Text(oid_name(other.other_cert_format))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &[u8] = include_bytes!("../../../../testdata/wire/r.tsr");

    #[test]
    fn answer_and_token_say_the_same() {
        let answer = serde_json::to_value(content(RESPONSE).unwrap()).unwrap();
        assert_eq!(answer["status"], "granted");
        assert_eq!(answer["genTime"], "2026-11-21T20:37:05Z");
        let token = Response::from_der(RESPONSE).unwrap().token.unwrap().to_der().unwrap();
        let token = serde_json::to_value(content(&token).unwrap()).unwrap();
        assert_eq!(token["signers"], answer["signers"]);
        assert_eq!(token.get("status"), None);
    }

    #[test]
    fn a_refusal_has_its_reasons() {
        // status rejection, "no", badAlg (bit 0) and systemFailure (bit 25)
        let refusal = ::hex::decode("30113 00f020102 30040c026e6f 0305068000 0040".replace(' ', "")).unwrap();
        let mut refusal = refusal;
        refusal[1] = u8::try_from(refusal.len() - 2).unwrap();
        refusal[3] = u8::try_from(refusal.len() - 4).unwrap();
        let value = serde_json::to_value(content(&refusal).unwrap()).unwrap();
        assert_eq!(value["status"], "rejection");
        assert_eq!(value["statusString"][0], "no");
        assert_eq!(value["failInfo"], serde_json::json!(["badAlg", "systemFailure"]));
    }

    #[test]
    fn times_with_and_without_fractions() {
        let of = |text: &str| gen_time(&Any::new(Tag::GeneralizedTime, text.as_bytes()).unwrap());
        assert_eq!(of("20261121203705Z").unwrap(), "2026-11-21T20:37:05Z");
        assert_eq!(of("20261121203705.25Z").unwrap(), "2026-11-21T20:37:05.25Z");
        for bad in ["", "Z", "20261121203705", "2026112120370Z", "20261121203705.Z", "20261121203705+0100", "2026é12120370Z"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn refuses_truncation() {
        for end in [0, 1, 10, 100, RESPONSE.len() - 1] {
            assert!(content(&RESPONSE[..end]).is_err(), "{end}");
        }
        assert!(content(&vec![0x30; TIMESTAMP_BYTES + 1]).is_err());
    }
}
