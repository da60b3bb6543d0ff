//! The claims that Fulcio writes into certificates: who the holder is, and what the identity provider said about the job.
//!
//! Specification: Fulcio's `docs/oid-info.md`, arcs `1.3.6.1.4.1.57264.1.1` to `.24`. Arcs 1 to 6 hold the bare bytes of the
//! text, an early mistake that is frozen in every old certificate; arcs 8 and up hold a DER `UTF8String`; arc 7 is not an
//! extension but the type of the `otherName` that carries a user name.
//!
//! This module reads and writes; it does not judge. Whether the issuer is trusted, the certificate valid or the identity the
//! expected one is for `vidimus-verify`. Nothing malformed is ever reported as absent: it is a [`ParseError`].

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use const_oid::ObjectIdentifier;
use der::asn1::{Any, AnyRef, Ia5String, Ia5StringRef, OctetString, PrintableStringRef, Utf8StringRef};
use der::{Decode, Encode, Tag, Tagged};
use serde::{Serialize, Serializer};
use x509_cert::Certificate;
use x509_cert::ext::Extension as X509Extension;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{GeneralName, OtherName};

use crate::ParseError;

const FORMAT: &str = "Fulcio certificate";

/// 1.3.6.1.4.1.57264.1, as its bytes: of an extension's identifier, one byte follows.
const ARC: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01];

/// The type of an `otherName` that carries a user name, `name!domain`: arc 7.
pub const OTHER_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.7");
/// RFC 5280 §4.2.1.6.
pub const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

/// Subject alternative names we are willing to read from one certificate. Fulcio writes exactly one; certificates of other CAs
/// carry a handful.
const NAMES: usize = 64;

macro_rules! extensions {
    ($($(#[$doc:meta])* $variant:ident = $arc:literal, $name:literal, $template:literal;)*) => {
        /// An extension of Fulcio's, in the order in which Fulcio writes them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Extension { $($(#[$doc])* $variant = $arc,)* }

        impl Extension {
            /// All of them, in order.
            pub const ALL: &'static [Extension] = &[$(Extension::$variant,)*];

            /// The object identifier.
            pub const fn oid(self) -> ObjectIdentifier {
                match self {
                    $(Extension::$variant => const { ObjectIdentifier::new_unwrap(concat!("1.3.6.1.4.1.57264.1.", $arc)) },)*
                }
            }

            /// The name that Fulcio's documentation and Go's JSON use: `BuildSignerURI`.
            pub const fn name(self) -> &'static str {
                match self { $(Extension::$variant => $name,)* }
            }

            /// The name that Fulcio's configuration uses in `extension-templates`: `build-signer-uri`.
            pub const fn config_name(self) -> &'static str {
                match self { $(Extension::$variant => $template,)* }
            }
        }
    };
}

extensions! {
    /// The OIDC issuer, bare text. Superseded by [`Extension::IssuerV2`]; both are written.
    Issuer = 1, "Issuer", "issuer";
    /// GitHub's `event_name`. Superseded by [`Extension::BuildTrigger`].
    GithubWorkflowTrigger = 2, "GithubWorkflowTrigger", "github-workflow-trigger";
    /// GitHub's `sha`. Superseded by [`Extension::SourceRepositoryDigest`].
    GithubWorkflowSha = 3, "GithubWorkflowSHA", "github-workflow-sha";
    /// GitHub's `workflow`, a name.
    GithubWorkflowName = 4, "GithubWorkflowName", "github-workflow-name";
    /// GitHub's `repository`, `owner/name`. Superseded by [`Extension::SourceRepositoryUri`].
    GithubWorkflowRepository = 5, "GithubWorkflowRepository", "github-workflow-repository";
    /// GitHub's `ref`. Superseded by [`Extension::SourceRepositoryRef`].
    GithubWorkflowRef = 6, "GithubWorkflowRef", "github-workflow-ref";
    /// The OIDC issuer, as a `UTF8String`.
    IssuerV2 = 8, "IssuerV2", "issuer-v2";
    /// The build instructions that are responsible for signing.
    BuildSignerUri = 9, "BuildSignerURI", "build-signer-uri";
    /// Their immutable version.
    BuildSignerDigest = 10, "BuildSignerDigest", "build-signer-digest";
    /// Whether the build ran on the platform's machines or on the customer's.
    RunnerEnvironment = 11, "RunnerEnvironment", "runner-environment";
    /// The source repository that was built.
    SourceRepositoryUri = 12, "SourceRepositoryURI", "source-repository-uri";
    /// Its immutable version.
    SourceRepositoryDigest = 13, "SourceRepositoryDigest", "source-repository-digest";
    /// The ref that was built.
    SourceRepositoryRef = 14, "SourceRepositoryRef", "source-repository-ref";
    /// The repository's immutable identifier.
    SourceRepositoryIdentifier = 15, "SourceRepositoryIdentifier", "source-repository-identifier";
    /// The repository's owner.
    SourceRepositoryOwnerUri = 16, "SourceRepositoryOwnerURI", "source-repository-owner-uri";
    /// The owner's immutable identifier.
    SourceRepositoryOwnerIdentifier = 17, "SourceRepositoryOwnerIdentifier", "source-repository-owner-identifier";
    /// The top-level build instructions.
    BuildConfigUri = 18, "BuildConfigURI", "build-config-uri";
    /// Their immutable version.
    BuildConfigDigest = 19, "BuildConfigDigest", "build-config-digest";
    /// What started the build.
    BuildTrigger = 20, "BuildTrigger", "build-trigger";
    /// The one execution of the build.
    RunInvocationUri = 21, "RunInvocationURI", "run-invocation-uri";
    /// Whether the source repository was public when signing.
    SourceRepositoryVisibilityAtSigning = 22, "SourceRepositoryVisibilityAtSigning", "source-repository-visibility-at-signing";
    /// The deployment target of the job.
    DeploymentEnvironment = 23, "DeploymentEnvironment", "deployment-environment";
    /// The token's `sub`.
    TokenSubject = 24, "TokenSubject", "subject";
}

impl Extension {
    /// The extension with this object identifier.
    pub fn from_oid(oid: &ObjectIdentifier) -> Option<Self> {
        Self::from_oid_bytes(oid.as_bytes())
    }

    /// The extension with this object identifier, given as the content of its DER.
    fn from_oid_bytes(oid: &[u8]) -> Option<Self> {
        let [arc] = oid.strip_prefix(ARC)? else { return None };
        Self::ALL.iter().copied().find(|e| *e as u8 == *arc)
    }

    /// The extension with this [`Extension::config_name`].
    pub fn from_config_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|e| e.config_name() == name)
    }

    /// The extension that a person means: by its [`Extension::name`] in any case, its [`Extension::config_name`] or its object
    /// identifier.
    pub fn from_any_name(name: &str) -> Option<Self> {
        let named = |e: &Self| e.name().eq_ignore_ascii_case(name) || e.config_name() == name || e.oid().to_string() == name;
        Self::ALL.iter().copied().find(named)
    }

    /// Whether the value is the text's bare bytes instead of DER.
    pub fn is_bare(self) -> bool {
        self <= Self::GithubWorkflowRef
    }

    /// The extension's value (the content of `extnValue`) for a text.
    pub fn encode(self, text: &str) -> Result<Vec<u8>, ParseError> {
        if self.is_bare() {
            return Ok(text.as_bytes().to_vec());
        }
        Utf8StringRef::new(text).and_then(|s| s.to_der()).map_err(|e| ParseError::at(FORMAT, self, e))
    }

    /// Reads the extension's value.
    pub fn decode(self, value: &[u8]) -> Result<String, ParseError> {
        let bad = |why: &dyn fmt::Display| ParseError::at(FORMAT, self, why);
        if self.is_bare() {
            return std::str::from_utf8(value).map(str::to_owned).map_err(|e| bad(&e));
        }
        let any = AnyRef::from_der(value).map_err(|e| bad(&e))?;
        // Fulcio writes UTF8String; Go reads any of these into a string, so certificates with them verify elsewhere.
        let text = match any.tag() {
            Tag::Utf8String => any.decode_as::<Utf8StringRef<'_>>().map(|s| s.as_str().to_owned()),
            Tag::PrintableString => any.decode_as::<PrintableStringRef<'_>>().map(|s| s.as_str().to_owned()),
            Tag::Ia5String => any.decode_as::<Ia5StringRef<'_>>().map(|s| s.as_str().to_owned()),
            tag => return Err(bad(&format_args!("{tag} where a UTF8String was expected"))),
        };
        text.map_err(|e| bad(&e))
    }
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Extension {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Extension values, in Fulcio's order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Extensions(BTreeMap<Extension, String>);

impl Extensions {
    /// No extensions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a value; an empty one is left out, as Fulcio does.
    pub fn set(&mut self, extension: Extension, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.0.insert(extension, text);
        }
    }

    /// The value of an extension.
    pub fn get(&self, extension: Extension) -> Option<&str> {
        self.0.get(&extension).map(String::as_str)
    }

    /// All values, in Fulcio's order.
    pub fn iter(&self) -> impl Iterator<Item = (Extension, &str)> {
        self.0.iter().map(|(e, v)| (*e, v.as_str()))
    }

    /// As X.509 extensions, none of them critical, in Fulcio's order.
    pub fn to_x509(&self) -> Result<Vec<X509Extension>, ParseError> {
        self.iter().map(|(extension, text)| x509_extension(extension, text)).collect()
    }
}

/// One name of a subject alternative name extension.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(tag = "type", content = "value", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Identity {
    /// `dNSName`.
    Dns(String),
    /// `rfc822Name`: a person, logged in by mail address.
    Email(String),
    /// `iPAddress`, as text.
    Ip(String),
    /// `uniformResourceIdentifier`: a CI job, a workload, a service account.
    Uri(String),
    /// `otherName` of type [`OTHER_NAME`]: `name!domain`.
    Username(String),
    /// A kind of name that no Sigstore verifier compares, by the name of the kind.
    Other(String),
}

impl Identity {
    /// The text that identity policies compare.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Dns(s) | Self::Email(s) | Self::Ip(s) | Self::Uri(s) | Self::Username(s) | Self::Other(s) => s,
        }
    }

    /// As a critical subject alternative name extension with this one name: a Fulcio certificate has no subject, and RFC 5280
    /// §4.1.2.6 makes the extension critical then.
    pub fn to_x509(&self) -> Result<X509Extension, ParseError> {
        let value = SubjectAltName(vec![self.to_general_name()?]).to_der().map_err(san)?;
        Ok(X509Extension { extn_id: SUBJECT_ALT_NAME, critical: true, extn_value: OctetString::new(value).map_err(san)? })
    }

    fn to_general_name(&self) -> Result<GeneralName, ParseError> {
        let ia5 = |s: &str| Ia5String::new(s).map_err(san);
        Ok(match self {
            Self::Dns(name) => GeneralName::DnsName(ia5(name)?),
            Self::Email(name) => GeneralName::Rfc822Name(ia5(name)?),
            Self::Uri(name) => GeneralName::UniformResourceIdentifier(ia5(name)?),
            Self::Username(name) => {
                let value = Utf8StringRef::new(name).map_err(san)?;
                GeneralName::OtherName(OtherName { type_id: OTHER_NAME, value: Any::encode_from(&value).map_err(san)? })
            }
            Self::Ip(name) | Self::Other(name) => return Err(san(format_args!("{name}: not a name that a CA of ours writes"))),
        })
    }

    fn from_general_name(name: &GeneralName) -> Result<Self, ParseError> {
        Ok(match name {
            GeneralName::DnsName(s) => Self::Dns(s.to_string()),
            GeneralName::Rfc822Name(s) => Self::Email(s.to_string()),
            GeneralName::UniformResourceIdentifier(s) => Self::Uri(s.to_string()),
            GeneralName::OtherName(other) if other.type_id == OTHER_NAME => {
                Self::Username(other.value.decode_as::<Utf8StringRef<'_>>().map_err(san)?.as_str().to_owned())
            }
            GeneralName::IpAddress(octets) => Self::Ip(ip_text(octets.as_bytes())?),
            GeneralName::OtherName(other) => Self::Other(format!("otherName {}", other.type_id)),
            GeneralName::DirectoryName(name) => Self::Other(format!("directoryName {name}")),
            GeneralName::EdiPartyName(_) => Self::Other("ediPartyName".to_owned()),
            GeneralName::RegisteredId(oid) => Self::Other(format!("registeredID {oid}")),
        })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a certificate says about its holder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Claims {
    /// The subject alternative names, in the certificate's order. Fulcio writes exactly one.
    pub identities: Vec<Identity>,
    /// Fulcio's extensions. Both issuer arcs are kept as they were found; ask [`Claims::issuer`].
    pub extensions: Extensions,
}

impl Claims {
    /// Reads the claims of a certificate. A certificate of another CA simply has none.
    pub fn from_certificate(certificate: &Certificate) -> Result<Self, ParseError> {
        Self::from_extensions(certificate.tbs_certificate.extensions.as_deref().unwrap_or_default())
    }

    /// Reads the claims out of a certificate's extensions.
    pub fn from_extensions(list: &[X509Extension]) -> Result<Self, ParseError> {
        Self::from_values(list.iter().map(|x509| (x509.extn_id.as_bytes(), x509.extn_value.as_bytes())))
    }

    /// Reads the claims out of a certificate's extensions: for each, the content of its object identifier's DER, and its value.
    pub fn from_values<'a>(list: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Self, ParseError> {
        let mut claims = Self::default();
        let mut seen_names = false;
        for (oid, value) in list {
            if oid == SUBJECT_ALT_NAME.as_bytes() {
                if std::mem::replace(&mut seen_names, true) {
                    return Err(san("present twice"));
                }
                claims.identities = identities(value)?;
            } else if let Some(extension) = Extension::from_oid_bytes(oid) {
                let text = extension.decode(value)?;
                // RFC 5280 §4.2: an extension appears once. Readers that keep the first and readers that keep the last
                // would otherwise see two different identities.
                if claims.extensions.0.insert(extension, text).is_some() {
                    return Err(ParseError::at(FORMAT, extension, "present twice"));
                }
            }
        }
        Ok(claims)
    }

    /// The OIDC issuer: arc 8 if there is one, else arc 1.
    pub fn issuer(&self) -> Option<&str> {
        self.get(Extension::IssuerV2).or_else(|| self.get(Extension::Issuer))
    }

    /// The two issuers, arc 1 then arc 8, of a certificate that contradicts itself. Fulcio never writes such a thing, and tools
    /// differ in which of the two they read.
    pub fn issuer_mismatch(&self) -> Option<(&str, &str)> {
        match (self.get(Extension::Issuer), self.get(Extension::IssuerV2)) {
            (Some(old), Some(new)) if old != new => Some((old, new)),
            _ => None,
        }
    }

    /// The value of one extension.
    pub fn get(&self, extension: Extension) -> Option<&str> {
        self.extensions.get(extension)
    }

    /// The identity of a Fulcio certificate, which has exactly one; none if there is no name or more than one.
    pub fn identity(&self) -> Option<&Identity> {
        match self.identities.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }
}

fn x509_extension(extension: Extension, text: &str) -> Result<X509Extension, ParseError> {
    let value = OctetString::new(extension.encode(text)?).map_err(|e| ParseError::at(FORMAT, extension, e))?;
    Ok(X509Extension { extn_id: extension.oid(), critical: false, extn_value: value })
}

fn identities(value: &[u8]) -> Result<Vec<Identity>, ParseError> {
    let names = SubjectAltName::from_der(value).map_err(san)?.0;
    if names.len() > NAMES {
        return Err(san(format_args!("{} names, more than the limit of {NAMES}", names.len())));
    }
    names.iter().map(Identity::from_general_name).collect()
}

fn ip_text(octets: &[u8]) -> Result<String, ParseError> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Ok(Ipv4Addr::from(v4).to_string());
    }
    let v6 = <[u8; 16]>::try_from(octets).map_err(|_| san(format_args!("an IP address of {} bytes", octets.len())))?;
    Ok(Ipv6Addr::from(v6).to_string())
}

fn san(why: impl fmt::Display) -> ParseError {
    ParseError::at(FORMAT, "subject alternative name", why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding;

    fn golden(name: &str) -> Certificate {
        let path = format!("{}/../../testdata/fulcio/{name}.pem", env!("CARGO_MANIFEST_DIR"));
        let der = encoding::pem_one(&std::fs::read_to_string(path).unwrap(), "CERTIFICATE").unwrap();
        Certificate::from_der(&der).unwrap()
    }

    fn fulcio_part(certificate: &Certificate) -> Vec<X509Extension> {
        let all = certificate.tbs_certificate.extensions.as_deref().unwrap();
        all.iter().filter(|e| Extension::from_oid(&e.extn_id).is_some()).cloned().collect()
    }

    fn san_part(certificate: &Certificate) -> X509Extension {
        let all = certificate.tbs_certificate.extensions.as_deref().unwrap();
        all.iter().find(|e| e.extn_id == SUBJECT_ALT_NAME).cloned().unwrap()
    }

    #[test]
    fn golden_certificates_round_trip() {
        for name in ["email", "github", "k8s", "uri"] {
            let certificate = golden(name);
            let claims = Claims::from_certificate(&certificate).unwrap();
            assert_eq!(claims.extensions.to_x509().unwrap(), fulcio_part(&certificate), "{name}");
            assert_eq!(claims.identity().unwrap().to_x509().unwrap(), san_part(&certificate), "{name}");
            assert_eq!(claims.issuer().unwrap(), format!("http://127.0.0.1:5601/{name}"));
            assert_eq!(claims.issuer_mismatch(), None);
        }
    }

    #[test]
    fn golden_values() {
        let claims = Claims::from_certificate(&golden("github")).unwrap();
        let uri = "https://github.com/octo/app/.github/workflows/ci.yml@refs/heads/main";
        assert_eq!(claims.identities, [Identity::Uri(uri.into())]);
        assert_eq!(claims.get(Extension::BuildSignerUri), Some(uri));
        assert_eq!(claims.get(Extension::GithubWorkflowTrigger), Some("push"));
        assert_eq!(claims.get(Extension::RunInvocationUri), Some("https://github.com/octo/app/actions/runs/789/attempts/2"));
        assert_eq!(claims.get(Extension::DeploymentEnvironment), None);
        let email = Claims::from_certificate(&golden("email")).unwrap();
        assert_eq!(email.identity(), Some(&Identity::Email("dev@signet.test".into())));
        assert_eq!(email.get(Extension::TokenSubject), Some("user-1"));
    }

    #[test]
    fn user_name_is_an_other_name() {
        let name = Identity::Username("alice!127.0.0.1".into());
        let x509 = name.to_x509().unwrap();
        let expected = "3021a01f060a2b0601040183bf300107a0110c0f616c69636521 3132372e302e302e31".replace(' ', "");
        assert_eq!(hex::encode(x509.extn_value.as_bytes()), expected);
        assert_eq!(Claims::from_extensions(&[x509]).unwrap().identities, [name]);
    }

    #[test]
    fn malformed_is_an_error_not_an_absence() {
        let with = |extension: Extension, value: &[u8]| X509Extension {
            extn_id: extension.oid(),
            critical: false,
            extn_value: OctetString::new(value).unwrap(),
        };
        let bare_in_v2 = with(Extension::IssuerV2, b"https://issuer");
        let trailing = with(Extension::TokenSubject, b"\x0c\x01aX");
        let wrong_type = with(Extension::TokenSubject, b"\x02\x01\x01");
        let not_utf8 = with(Extension::Issuer, b"\xff");
        for bad in [bare_in_v2, trailing, wrong_type, not_utf8] {
            assert!(Claims::from_extensions(std::slice::from_ref(&bad)).is_err(), "{bad:?}");
        }
        let once = with(Extension::IssuerV2, b"\x0c\x01a");
        assert!(Claims::from_extensions(std::slice::from_ref(&once)).is_ok());
        assert!(Claims::from_extensions(&[once.clone(), once]).is_err());
        let name = Identity::Dns("a".into()).to_x509().unwrap();
        assert!(Claims::from_extensions(&[name.clone(), name.clone()]).is_err());
        let bad_name = X509Extension { extn_value: OctetString::new(&b"\x30\x02\x81\x05"[..]).unwrap(), ..name };
        assert!(Claims::from_extensions(&[bad_name]).is_err());
    }

    #[test]
    fn two_issuers_are_noted() {
        let mut extensions = Extensions::new();
        extensions.set(Extension::Issuer, "https://a");
        extensions.set(Extension::IssuerV2, "https://b");
        let claims = Claims::from_extensions(&extensions.to_x509().unwrap()).unwrap();
        assert_eq!(claims.issuer(), Some("https://b"));
        assert_eq!(claims.issuer_mismatch(), Some(("https://a", "https://b")));
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(Extension::ALL.len(), 23);
        for e in Extension::ALL {
            assert_eq!(Extension::from_oid(&e.oid()), Some(*e));
            assert_eq!(Extension::from_config_name(e.config_name()), Some(*e));
            assert_eq!(e.oid().as_bytes(), [ARC, &[*e as u8]].concat());
        }
        assert_eq!(Extension::TokenSubject.oid().to_string(), "1.3.6.1.4.1.57264.1.24");
        assert_eq!(Extension::from_oid(&OTHER_NAME), None);
    }
}
