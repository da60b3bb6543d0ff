//! What clients need to know of a stack: trusted root, signing configuration, and the same as TUF targets.
//!
//! The rules that all clients together impose are kept here, each next to the line that keeps it.

use const_oid::{
    ObjectIdentifier,
    db::rfc4519::{COMMON_NAME, ORGANIZATION_NAME},
};
use der::Decode;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use vidimus_core::{
    bundle::{self, CertificateChain, LogId},
    digest,
    encoding::{self, Base64},
    trust::{
        CLIENT_TRUST_CONFIG_MEDIA_TYPE, CertificateAuthority, ClientTrustConfig, DistinguishedName, PublicKey,
        SIGNING_CONFIG_MEDIA_TYPE, Service, ServiceConfiguration, ServiceSelector, SigningConfig, TRUSTED_ROOT_MEDIA_TYPE,
        TimeRange, TransparencyLog, TrustedRoot,
    },
};

use x509_cert::{Certificate, name::Name};

use crate::{pki::Chain, tuf::Target};

/// Who runs the services: alternatives of one operator are told apart by their version alone.
const OPERATOR: &str = "vidimus-stack";

/// A log's public identity.
#[derive(Debug, Clone)]
pub struct LogKey {
    /// SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
    /// The 32 bytes of its id.
    pub id: Vec<u8>,
    /// `PKIX_ECDSA_P256_SHA_256` or `PKIX_ED25519`.
    pub details: &'static str,
}

/// An authority's public identity.
#[derive(Debug, Clone)]
pub struct AuthorityChain {
    /// Certificates in DER, the one that signs first, the root last.
    pub certificates: Vec<Vec<u8>>,
    /// Common name of the authority.
    pub common_name: String,
    /// Organisation of the authority.
    pub organization: String,
    /// No later than the first thing it signed.
    pub since: Timestamp,
}

impl LogKey {
    /// A log that signs with P-256: its id is the hash of its key.
    pub fn p256(spki: &[u8]) -> Self {
        Self { spki: spki.to_vec(), id: digest::sha256(spki).to_vec(), details: "PKIX_ECDSA_P256_SHA_256" }
    }

    /// A log that signs with Ed25519: its id depends on its name too.
    pub fn ed25519(spki: &[u8], id: [u8; 32]) -> Self {
        Self { spki: spki.to_vec(), id: id.to_vec(), details: "PKIX_ED25519" }
    }
}

impl AuthorityChain {
    /// The authority that a chain belongs to, named after the chain's first certificate.
    pub fn new(chain: &Chain, since: Timestamp) -> Self {
        let certificates: Vec<_> = chain.certificates().iter().map(|certificate| certificate.der.clone()).collect();
        let name = certificates.first().and_then(|der| Certificate::from_der(der).ok()).map(|c| c.tbs_certificate.subject);
        let part = |oid| name.as_ref().and_then(|name| name_part(name, oid)).unwrap_or_default();
        let (common_name, organization) = (part(COMMON_NAME), part(ORGANIZATION_NAME));
        Self { certificates, common_name, organization, since }
    }
}

fn name_part(name: &Name, oid: ObjectIdentifier) -> Option<String> {
    let mut attributes = name.0.iter().flat_map(|rdn| rdn.0.iter());
    let value = &attributes.find(|attribute| attribute.oid == oid)?.value;
    String::from_utf8(value.value().to_vec()).ok()
}

/// Everything public of a stack.
#[derive(Debug, Clone)]
pub struct Material {
    /// `http://HOST:PORT`.
    pub origin: String,
    /// Fulcio: intermediate and root. Bundles carry only the leaf, so the intermediate must be here.
    pub fulcio: AuthorityChain,
    /// Timestamp authority: leaf, intermediate and root. Responses may carry no certificate, so the leaf must be here.
    pub tsa: AuthorityChain,
    /// The CT log.
    pub ct: LogKey,
    /// Rekor v1.
    pub rekor_v1: LogKey,
    /// Rekor v2: another key than v1's, since clients look logs up by id.
    pub rekor_v2: LogKey,
}

impl Material {
    /// The trusted root.
    pub fn trusted_root(&self) -> TrustedRoot {
        let ct = format!("{}/ctlog", self.origin);
        TrustedRoot {
            // The only form that every client reads.
            media_type: TRUSTED_ROOT_MEDIA_TYPE.to_owned(),
            tlogs: vec![self.log(&self.origin, &self.rekor_v1), self.log(&self.origin, &self.rekor_v2)],
            certificate_authorities: vec![authority(&self.origin, &self.fulcio)],
            ctlogs: vec![self.log(&ct, &self.ct)],
            timestamp_authorities: vec![authority(&self.tsa_url(), &self.tsa)],
        }
    }

    /// The signing configuration, offering these versions of Rekor.
    pub fn signing_config(&self, rekor: &[u32]) -> SigningConfig {
        let any = || ServiceConfiguration { selector: Some(ServiceSelector::Any), count: None };
        let service = |url: &str, version| Service {
            url: url.to_owned(),
            major_api_version: version,
            valid_for: Some(TimeRange::since(self.since())),
            operator: OPERATOR.to_owned(),
        };
        SigningConfig {
            media_type: SIGNING_CONFIG_MEDIA_TYPE.to_owned(),
            // 1 although Fulcio's path says v2: the version of its protocol in the configuration.
            ca_urls: vec![service(&self.origin, 1)],
            oidc_urls: vec![service(&self.origin, 1)],
            rekor_tlog_urls: rekor.iter().map(|version| service(&self.origin, *version)).collect(),
            rekor_tlog_config: any(),
            // The full URL: clients post to it as it is.
            tsa_urls: vec![service(&self.tsa_url(), 1)],
            tsa_config: any(),
        }
    }

    /// Both in one file.
    pub fn client_trust_config(&self) -> ClientTrustConfig {
        ClientTrustConfig {
            media_type: CLIENT_TRUST_CONFIG_MEDIA_TYPE.to_owned(),
            trusted_root: self.trusted_root(),
            signing_config: self.signing_config(&[2, 1]),
        }
    }

    /// The TUF targets: today's documents, and for cosign 2 every key and certificate on its own, marked with what it is for.
    pub fn targets(&self) -> Vec<Target> {
        let mut targets = vec![
            plain("trusted_root.json", json_file(&self.trusted_root())),
            plain("signing_config.v0.2.json", json_file(&self.signing_config(&[2, 1]))),
            plain("signing_config_rekor_v1.v0.2.json", json_file(&self.signing_config(&[1]))),
        ];
        targets.extend(self.files().into_iter().map(|file| {
            let custom = json!({"sigstore": {"usage": file.usage, "status": "Active", "uri": file.uri}});
            Target { name: file.name, content: file.pem.into_bytes(), custom: Some(custom) }
        }));
        targets
    }

    /// Every certificate and public key as a PEM file.
    pub fn files(&self) -> Vec<PublicFile> {
        let mut files = Vec::new();
        for (index, der) in self.fulcio.certificates.iter().enumerate() {
            let name =
                if index + 1 == self.fulcio.certificates.len() { "fulcio_v1.crt.pem" } else { "fulcio_intermediate_v1.crt.pem" };
            files.push(PublicFile::certificate(name, der, "Fulcio", &self.origin));
        }
        files.push(PublicFile::key("ctfe.pub", &self.ct, "CTFE", &format!("{}/ctlog", self.origin)));
        // cosign 2 verifies Rekor v1 only; it would take a second key for another v1 shard.
        files.push(PublicFile::key("rekor.pub", &self.rekor_v1, "Rekor", &self.origin));
        for (index, der) in self.tsa.certificates.iter().enumerate() {
            let last = self.tsa.certificates.len() - 1;
            let name = match index {
                0 => "tsa_leaf.crt.pem".to_owned(),
                index if index == last => "tsa_root.crt.pem".to_owned(),
                index => format!("tsa_intermediate_{}.crt.pem", index - 1),
            };
            files.push(PublicFile::certificate(&name, der, "TSA", &self.tsa_url()));
        }
        files
    }

    /// Where the timestamp authority answers.
    pub fn tsa_url(&self) -> String {
        format!("{}/api/v1/timestamp", self.origin)
    }

    /// Keys of logs carry no date. They are older than the first certificate, which lies behind everything a log holds.
    fn since(&self) -> Timestamp {
        whole_second(self.fulcio.since.min(self.tsa.since))
    }

    fn log(&self, base_url: &str, key: &LogKey) -> TransparencyLog {
        TransparencyLog {
            base_url: base_url.to_owned(),
            hash_algorithm: "SHA2_256".to_owned(),
            public_key: PublicKey {
                raw_bytes: Base64(key.spki.clone()),
                key_details: key.details.to_owned(),
                // Required by all clients, and no later than the first entry.
                valid_for: Some(TimeRange::since(self.since())),
            },
            log_id: LogId { key_id: Base64(key.id.clone()) },
            // A shortened checkpoint id breaks sigstore-js; the log id does for both.
            checkpoint_key_id: None,
        }
    }
}

/// A public key or certificate for clients that want files.
#[derive(Debug, Clone)]
pub struct PublicFile {
    /// The name that cosign 2 knows.
    pub name: String,
    /// The content.
    pub pem: String,
    usage: &'static str,
    uri: String,
}

impl PublicFile {
    fn certificate(name: &str, der: &[u8], usage: &'static str, uri: &str) -> Self {
        Self { name: name.to_owned(), pem: encoding::pem("CERTIFICATE", der), usage, uri: uri.to_owned() }
    }

    fn key(name: &str, key: &LogKey, usage: &'static str, uri: &str) -> Self {
        Self { name: name.to_owned(), pem: encoding::pem("PUBLIC KEY", &key.spki), usage, uri: uri.to_owned() }
    }
}

fn authority(uri: &str, chain: &AuthorityChain) -> CertificateAuthority {
    let certificate = |der: &Vec<u8>| bundle::Certificate { raw_bytes: Base64(der.clone()) };
    CertificateAuthority {
        subject: DistinguishedName { organization: chain.organization.clone(), common_name: chain.common_name.clone() },
        uri: uri.to_owned(),
        cert_chain: CertificateChain { certificates: chain.certificates.iter().map(certificate).collect() },
        valid_for: Some(TimeRange::since(whole_second(chain.since))),
    }
}

/// Some clients read no fraction of a second.
fn whole_second(at: Timestamp) -> Timestamp {
    at - SignedDuration::from_nanos(i64::from(at.subsec_nanosecond()))
}

fn plain(name: &str, content: Vec<u8>) -> Target {
    Target { name: name.to_owned(), content, custom: None }
}

/// A JSON document as it is published: pretty, so that people can read it, and always the same bytes for the same content.
pub fn json_file(document: &impl serde::Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(document).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn material() -> Material {
        let since = "2026-11-21T19:33:51.5Z".parse().unwrap();
        let chain = |names: &[&str]| AuthorityChain {
            certificates: names.iter().map(|name| name.as_bytes().to_vec()).collect(),
            common_name: "cn".into(),
            organization: "o".into(),
            since,
        };
        let key = |name: &str, details| LogKey { spki: name.into(), id: vec![7; 32], details };
        Material {
            origin: "http://127.0.0.1:4000".into(),
            fulcio: chain(&["int", "root"]),
            tsa: chain(&["leaf", "int", "root"]),
            ct: key("ct", "PKIX_ECDSA_P256_SHA_256"),
            rekor_v1: key("v1", "PKIX_ECDSA_P256_SHA_256"),
            rekor_v2: key("v2", "PKIX_ED25519"),
        }
    }

    #[test]
    fn the_documents_keep_the_rules_of_all_clients() {
        let root = serde_json::to_string(&material().trusted_root()).unwrap();
        assert!(!root.contains("operator"), "cosign 2.5 refuses the field in a trusted root");
        assert!(!root.contains("checkpointKeyId"), "sigstore-js fails on it");
        assert!(root.contains("\"start\":\"2026-11-21T19:33:51Z\""), "{root}");
        assert_eq!(root.matches("rawBytes").count(), 3 + 2 + 3, "three keys, Fulcio's two certificates, the TSA's three");
        TrustedRoot::from_json(root.as_bytes()).unwrap();
        let config = material().signing_config(&[2, 1]);
        let at = "2026-11-21T19:34:00Z".parse().unwrap();
        assert_eq!(config.rekor(&[1, 2], at).unwrap()[0].major_api_version, 2);
        assert_eq!(config.fulcio(at).unwrap().major_api_version, 1);
        assert_eq!(config.tsa(at).unwrap()[0].url, "http://127.0.0.1:4000/api/v1/timestamp");
    }

    #[test]
    fn cosign_2_finds_every_file_by_its_usage() {
        let targets = material().targets();
        let usage = |name: &str| {
            let target = targets.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("{name}"));
            target.custom.as_ref().unwrap()["sigstore"]["usage"].clone()
        };
        for (name, wanted) in [
            ("fulcio_v1.crt.pem", "Fulcio"),
            ("fulcio_intermediate_v1.crt.pem", "Fulcio"),
            ("ctfe.pub", "CTFE"),
            ("rekor.pub", "Rekor"),
            ("tsa_leaf.crt.pem", "TSA"),
            ("tsa_intermediate_0.crt.pem", "TSA"),
            ("tsa_root.crt.pem", "TSA"),
        ] {
            assert_eq!(usage(name), wanted, "{name}");
        }
    }
}
