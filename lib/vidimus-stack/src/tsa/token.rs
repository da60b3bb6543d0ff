//! The timestamp token: a `TSTInfo` in CMS `SignedData` (RFC 3161 §2.4.2, RFC 5652, RFC 5816).

use aws_lc_rs::digest::{SHA256, digest};
use cms::cert::{CertificateChoices, IssuerAndSerialNumber};
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{CertificateSet, EncapsulatedContentInfo, SignedData, SignerIdentifier, SignerInfo, SignerInfos};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5911::{ID_CONTENT_TYPE, ID_MESSAGE_DIGEST, ID_SIGNED_DATA, ID_SIGNING_TIME};
use const_oid::db::rfc5912::ID_SHA_256;
use der::asn1::{Any, GeneralizedTime, Int, OctetString, SetOfVec};
use der::{Encode, Sequence};
use jiff::Timestamp;
use x509_cert::Certificate;
use x509_cert::attr::Attribute;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::serial_number::SerialNumber;
use x509_tsp::{Accuracy, TspVersion, TstInfo};

use super::{POLICY, TimestampRequest};
use crate::pki::certificate::{IssueError, algorithm, date_time, serial_number, time};
use crate::pki::key::{EcKey, signature_algorithm};

/// RFC 3161 §2.4.2, `id-ct-TSTInfo`.
const ID_CT_TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
/// RFC 5035 §3, `id-aa-signingCertificateV2`.
const SIGNING_CERTIFICATE_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");
/// Accuracy in seconds: times are cut to whole seconds.
const ACCURACY: u64 = 1;

/// The signing leaf, with the parts of a token that never change.
#[derive(Debug)]
pub(super) struct Signer {
    key: EcKey,
    certificate: Certificate,
    sid: SignerIdentifier,
    signing_certificate: Attribute,
}

/// RFC 3161 §2.4.2 `TimeStampResp`, granted.
#[derive(Sequence)]
struct Response {
    status: Status,
    token: ContentInfo,
}

#[derive(Sequence)]
struct Status {
    status: u8,
}

/// RFC 5035 §3 `SigningCertificateV2` and its parts; the hash algorithm is SHA-256, the default, and therefore absent.
#[derive(Sequence)]
struct SigningCertificateV2 {
    certs: Vec<EssCertIdV2>,
}

#[derive(Sequence)]
struct EssCertIdV2 {
    cert_hash: OctetString,
    issuer_serial: IssuerSerial,
}

#[derive(Sequence)]
struct IssuerSerial {
    issuer: Vec<GeneralName>,
    serial_number: SerialNumber,
}

impl Signer {
    pub(super) fn new(key: EcKey, certificate: Certificate) -> Result<Self, IssueError> {
        let tbs = &certificate.tbs_certificate;
        let sid = SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer: tbs.issuer.clone(),
            serial_number: tbs.serial_number.clone(),
        });
        let signing_certificate = attribute(SIGNING_CERTIFICATE_V2, &signing_certificate(&certificate)?)?;
        Ok(Self { key, certificate, sid, signing_certificate })
    }

    pub(super) fn respond(&self, request: &TimestampRequest, now: Timestamp) -> Result<Vec<u8>, IssueError> {
        let info = self.tst_info(request, now)?.to_der()?;
        let signed_data = SignedData {
            version: CmsVersion::V3,
            digest_algorithms: SetOfVec::try_from(vec![algorithm(ID_SHA_256)])?,
            encap_content_info: EncapsulatedContentInfo {
                econtent_type: ID_CT_TST_INFO,
                econtent: Some(Any::encode_from(&OctetString::new(info.as_slice())?)?),
            },
            certificates: if request.certificates { Some(self.certificates()?) } else { None },
            crls: None,
            signer_infos: SignerInfos(SetOfVec::try_from(vec![self.signer_info(&info, now)?])?),
        };
        let token = ContentInfo { content_type: ID_SIGNED_DATA, content: Any::encode_from(&signed_data)? };
        Ok(Response { status: Status { status: 0 }, token }.to_der()?)
    }

    fn tst_info(&self, request: &TimestampRequest, now: Timestamp) -> Result<TstInfo, IssueError> {
        Ok(TstInfo {
            version: TspVersion::V1,
            policy: POLICY,
            message_imprint: request.imprint.clone(),
            serial_number: Int::new(serial_number()?.as_bytes())?,
            gen_time: GeneralizedTime::from_date_time(date_time(now)?),
            accuracy: Some(Accuracy { seconds: Some(ACCURACY), millis: None, micros: None }),
            ordering: false,
            nonce: request.nonce.clone(),
            tsa: Some(GeneralName::DirectoryName(self.certificate.tbs_certificate.subject.clone())),
            extensions: None,
        })
    }

    fn signer_info(&self, info: &[u8], now: Timestamp) -> Result<SignerInfo, IssueError> {
        let signed_attrs = SetOfVec::try_from(vec![
            attribute(ID_CONTENT_TYPE, &ID_CT_TST_INFO)?,
            attribute(ID_SIGNING_TIME, &time(now)?)?,
            attribute(ID_MESSAGE_DIGEST, &OctetString::new(digest(&SHA256, info).as_ref())?)?,
            self.signing_certificate.clone(),
        ])?;
        // RFC 5652 §5.4: what is signed is the SET OF itself, not the [0] it travels in.
        let signature = self.key.sign(&signed_attrs.to_der()?)?;
        Ok(SignerInfo {
            version: CmsVersion::V1,
            sid: self.sid.clone(),
            digest_alg: algorithm(ID_SHA_256),
            signed_attrs: Some(signed_attrs),
            signature_algorithm: signature_algorithm(),
            signature: OctetString::new(signature)?,
            unsigned_attrs: None,
        })
    }

    fn certificates(&self) -> Result<CertificateSet, der::Error> {
        Ok(CertificateSet(SetOfVec::try_from(vec![CertificateChoices::Certificate(self.certificate.clone())])?))
    }
}

fn signing_certificate(certificate: &Certificate) -> Result<SigningCertificateV2, der::Error> {
    let tbs = &certificate.tbs_certificate;
    Ok(SigningCertificateV2 {
        certs: vec![EssCertIdV2 {
            cert_hash: OctetString::new(digest(&SHA256, &certificate.to_der()?).as_ref())?,
            issuer_serial: IssuerSerial {
                issuer: vec![GeneralName::DirectoryName(tbs.issuer.clone())],
                serial_number: tbs.serial_number.clone(),
            },
        }],
    })
}

fn attribute<T: Encode + der::Tagged>(oid: ObjectIdentifier, value: &T) -> Result<Attribute, der::Error> {
    let value = der::Decode::from_der(&value.to_der()?)?;
    Ok(Attribute { oid, values: SetOfVec::try_from(vec![value])? })
}
