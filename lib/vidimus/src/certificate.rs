//! What a certificate says, for pictures and reports. Says nothing about whether to believe it.

use std::collections::BTreeMap;

use der::Decode;
use jiff::Timestamp;
use vidimus_core::{
    encoding::pem,
    fulcio::{Claims, Extension, Identity},
};
use x509_cert::{Certificate, ext::pkix::SubjectKeyIdentifier, time::Time};

/// Who a certificate is about, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) identity: String,
    pub(crate) issuer: Option<String>,
    pub(crate) not_before: Timestamp,
}

impl Summary {
    /// Reads DER; `None` if it is not a certificate with a name.
    pub(crate) fn of(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let claims = Claims::from_certificate(&certificate).ok()?;
        Some(Self {
            identity: claims.identity()?.as_str().to_owned(),
            issuer: claims.issuer().map(str::to_owned),
            not_before: timestamp(certificate.tbs_certificate.validity.not_before)?,
        })
    }
}

/// A certificate in the words of `ec`'s report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Details {
    /// Hex subject key identifier.
    pub(crate) key_id: String,
    /// The certificate, PEM.
    pub(crate) pem: String,
    /// Names and values.
    pub(crate) metadata: BTreeMap<String, String>,
}

impl Details {
    /// Reads DER; what cannot be read is left out.
    pub(crate) fn of(der: &[u8]) -> Self {
        let mut details = Self { pem: pem("CERTIFICATE", der), ..Self::default() };
        let Ok(certificate) = Certificate::from_der(der) else { return details };
        let tbs = &certificate.tbs_certificate;
        if let Ok(Some((_, ski))) = tbs.get::<SubjectKeyIdentifier>() {
            details.key_id = hex::encode(ski.0.as_bytes());
        }
        let mut put = |name: &str, value: String| {
            if !value.is_empty() {
                details.metadata.insert(name.to_owned(), value);
            }
        };
        put("Subject", tbs.subject.to_string());
        put("Issuer", tbs.issuer.to_string());
        put("Serial Number", serial(&tbs.serial_number));
        put("Not Before", time(tbs.validity.not_before));
        put("Not After", time(tbs.validity.not_after));
        if let Ok(claims) = Claims::from_certificate(&certificate) {
            put("Subject Alternative Name", names(&claims.identities));
            for (extension, value) in claims.extensions.iter() {
                if let Some(name) = label(extension) {
                    put(name, value.to_owned());
                }
            }
        }
        details
    }
}

/// `ec`'s name for one of Fulcio's extensions.
fn label(extension: Extension) -> Option<&'static str> {
    // The arcs of 1.3.6.1.4.1.57264.1, as Fulcio's documentation numbers them.
    let oid = extension.oid();
    let arc = oid.arcs().last()?;
    Some(match arc {
        1 => "Fulcio Issuer",
        2 => "Fulcio GitHub Workflow Trigger",
        3 => "Fulcio GitHub Workflow SHA",
        4 => "Fulcio GitHub Workflow Name",
        5 => "Fulcio GitHub Workflow Repository",
        6 => "Fulcio GitHub Workflow Ref",
        8 => "Fulcio Issuer (V2)",
        9 => "Fulcio Build Signer URI",
        10 => "Fulcio Build Signer Digest",
        11 => "Fulcio Runner Environment",
        12 => "Fulcio Source Repository URI",
        13 => "Fulcio Source Repository Digest",
        14 => "Fulcio Source Repository Ref",
        15 => "Fulcio Source Repository Identifier",
        16 => "Fulcio Source Repository Owner URI",
        17 => "Fulcio Source Repository Owner Identifier",
        18 => "Fulcio Build Config URI",
        19 => "Fulcio Build Config Digest",
        20 => "Fulcio Build Trigger",
        21 => "Fulcio Run Invocation URI",
        _ => return None,
    })
}

/// `Email Addresses:…`, `URIs:…`, as `ec` joins them.
fn names(identities: &[Identity]) -> String {
    let list = |prefix: &str, pick: fn(&Identity) -> bool| {
        let names: Vec<_> = identities.iter().filter(|i| pick(i)).map(Identity::as_str).collect();
        (!names.is_empty()).then(|| format!("{prefix}:{}", names.join(", ")))
    };
    let lists = [
        list("DNS Names", |i| matches!(i, Identity::Dns(_))),
        list("Email Addresses", |i| matches!(i, Identity::Email(_))),
        list("IP Addresses", |i| matches!(i, Identity::Ip(_))),
        list("URIs", |i| matches!(i, Identity::Uri(_))),
        list("Other Names", |i| matches!(i, Identity::Username(_) | Identity::Other(_))),
    ];
    lists.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn serial(number: &x509_cert::serial_number::SerialNumber) -> String {
    number.as_bytes().iter().map(|b| format!("{b:02x}")).collect()
}

fn timestamp(time: Time) -> Option<Timestamp> {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok()?;
    Timestamp::from_second(seconds).ok()
}

fn time(time: Time) -> String {
    timestamp(time).map(|t| t.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use vidimus_core::encoding::pem_one;

    use super::*;

    fn fixture(name: &str) -> Vec<u8> {
        let path = format!("{}/../../testdata/fulcio/{name}.pem", env!("CARGO_MANIFEST_DIR"));
        pem_one(&std::fs::read_to_string(path).unwrap(), "CERTIFICATE").unwrap()
    }

    #[test]
    fn an_email_certificate() {
        let summary = Summary::of(&fixture("email")).unwrap();
        assert!(summary.identity.contains('@'), "{summary:?}");
        assert!(summary.issuer.is_some());
        let details = Details::of(&fixture("email"));
        assert_eq!(details.metadata["Subject Alternative Name"], format!("Email Addresses:{}", summary.identity));
        assert_eq!(Some(&details.metadata["Fulcio Issuer"]), summary.issuer.as_ref());
        assert_eq!(details.key_id.len(), 40);
        assert!(details.pem.starts_with("-----BEGIN CERTIFICATE-----\n"));
    }

    #[test]
    fn a_workflow_certificate() {
        let metadata = Details::of(&fixture("github")).metadata;
        for name in ["Fulcio GitHub Workflow Repository", "Fulcio Build Signer URI", "Fulcio Run Invocation URI", "Not After"] {
            assert!(metadata.contains_key(name), "{name} in {metadata:?}");
        }
    }

    #[test]
    fn what_is_no_certificate_says_nothing() {
        assert_eq!(Summary::of(b"nonsense"), None);
        assert!(Details::of(b"nonsense").metadata.is_empty());
    }
}
