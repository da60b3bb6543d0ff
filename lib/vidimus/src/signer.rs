//! A signing session: one ephemeral key, one certificate, any number of signatures, each verified before it is handed out.
//!
//! The order is that of the client specification, "Signing": key, token, certificate, signature, timestamp, log entry, bundle. The last
//! step is ours: the bundle is verified by the same engine and trust root that everybody else will use. What we would refuse ourselves
//! is never pushed or written.

use jiff::Timestamp;
use vidimus_core::{
    Algorithm, ParseError,
    bundle::{
        Bundle, Certificate, HashOutput, LogId, MessageSignature, OwnedContent, Rfc3161Timestamp, TimestampVerificationData,
        TlogEntry, VerificationMaterial,
    },
    dsse::{Envelope, IN_TOTO_PAYLOAD, pae},
    encoding::Base64,
};
use vidimus_net::{
    fulcio::{Fulcio, FulcioError, IssuedCertificate},
    http::Client,
    keys::{EphemeralKey, KeyError, SigningKey},
    oidc::token::{IdentityToken, TokenError},
    rekor::{RekorError, RekorV1, RekorV2, Signed as Logged, Signer as LogSigner},
    tsa::{self, TsaError},
};
use vidimus_verify::{Artifact, Instances, Policy, Rejection, SignedEntity, Verified};

use crate::services::{Log, Services};

/// A key with a certificate, and the services that bear witness to its signatures.
#[derive(Debug)]
pub struct Session {
    http: Client,
    services: Services,
    trust: Instances,
    key: EphemeralKey,
    certificate: IssuedCertificate,
}

/// A bundle and what our own verification proved about it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Signed {
    /// The bundle.
    pub bundle: Bundle,
    /// What is proven.
    pub verified: Verified,
}

/// Nothing was signed, or what was signed is not fit to be handed out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The identity token cannot be used.
    #[error("the identity token cannot be used: {0}")]
    Token(#[from] TokenError),
    /// No certificate.
    #[error("no certificate: {0}")]
    Fulcio(#[from] FulcioError),
    /// Our own key failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No log entry.
    #[error("no entry in the transparency log: {0}")]
    Rekor(#[from] RekorError),
    /// No timestamp.
    #[error("no timestamp: {0}")]
    Timestamp(#[from] TsaError),
    /// What came back cannot be put together.
    #[error("the bundle cannot be put together: {0}")]
    Bundle(#[from] ParseError),
    /// Our own verification refused it.
    #[error("what was signed does not verify, so it was thrown away: {0}")]
    SelfCheck(Box<Rejection>),
}

impl Session {
    /// Checks the token, makes a key and has it certified.
    pub async fn start(
        http: Client,
        services: Services,
        trust: impl Into<Instances>,
        token: &IdentityToken,
    ) -> Result<Self, SignError> {
        let trust = trust.into();
        token.check_time(Timestamp::now())?;
        token.check_email()?;
        let key = EphemeralKey::generate()?;
        let certificate = Fulcio::new(http.clone(), &services.fulcio).certify(token, &key).await?;
        Ok(Self { http, services, trust, key, certificate })
    }

    /// The certificate, as PEM.
    pub fn certificate_pem(&self) -> String {
        self.certificate.leaf_pem()
    }

    /// Signs an in-toto statement about `artifact`.
    pub async fn sign_statement(&self, statement: Vec<u8>, artifact: &Artifact<'_>) -> Result<Signed, SignError> {
        let signature = self.key.sign(&pae(IN_TOTO_PAYLOAD, &statement))?;
        let envelope = Envelope::new(IN_TOTO_PAYLOAD, statement, signature.clone());
        let witnesses = self.witness(&signature, Logged::Envelope(&envelope)).await?;
        self.finish(witnesses, OwnedContent::Dsse(envelope), artifact)
    }

    /// Signs a file, by the digest that was computed while reading it.
    pub async fn sign_message(&self, artifact: &Artifact<'_>) -> Result<Signed, SignError> {
        let digest = artifact.digest_with(Algorithm::Sha256).cloned().ok_or_else(|| ParseError::new("artifact", "no SHA-256"))?;
        let signature = self.key.sign_sha256(&digest)?;
        let witnesses = self.witness(&signature, Logged::Artifact { digest: &digest, signature: &signature }).await?;
        let content = MessageSignature { message_digest: Some(HashOutput::of(&digest)), signature: Base64(signature) };
        self.finish(witnesses, OwnedContent::Message(content), artifact)
    }

    /// Has the signature timestamped and logged, at once: neither needs the other's answer.
    async fn witness(&self, signature: &[u8], logged: Logged<'_>) -> Result<VerificationMaterial, SignError> {
        let timestamps = futures_util::future::try_join_all(
            self.services.timestamp_authorities.iter().map(|url| tsa::timestamp(&self.http, url, signature)),
        );
        let entries = futures_util::future::try_join_all(self.services.logs.iter().map(|log| self.log(log, logged)));
        let (timestamps, entries) = futures_util::future::join(timestamps, entries).await;
        let timestamps: Vec<_> =
            timestamps?.into_iter().map(|t| Rfc3161Timestamp { signed_timestamp: Base64(t.response) }).collect();
        let data = TimestampVerificationData { rfc3161_timestamps: timestamps };
        Ok(VerificationMaterial {
            certificate: Some(Certificate { raw_bytes: self.certificate.leaf_der().into() }),
            tlog_entries: entries?,
            timestamp_verification_data: Some(data).filter(|d| !d.rfc3161_timestamps.is_empty()),
            ..VerificationMaterial::default()
        })
    }

    async fn log(&self, log: &Log, signed: Logged<'_>) -> Result<TlogEntry, RekorError> {
        let signer = LogSigner::Certificate(self.certificate.leaf_der());
        match log {
            Log::RekorV1(url) => RekorV1::new(self.http.clone(), url).log(signed, signer).await,
            Log::RekorV2(url) => {
                let log = RekorV2::new(self.http.clone(), url);
                // With the log's id, an entry that is there already is fetched instead of refused: a retried upload succeeds.
                let log = match self.trust.log_id(url.as_str()) {
                    Some(id) => log.with_log_id(LogId { key_id: id.to_vec().into() }),
                    None => log,
                };
                log.log(signed, signer).await
            }
        }
    }

    /// Puts the bundle together and verifies it.
    fn finish(
        &self,
        material: VerificationMaterial,
        content: OwnedContent,
        artifact: &Artifact<'_>,
    ) -> Result<Signed, SignError> {
        let bundle = Bundle::v03(material, content);
        let entity = SignedEntity::from_bundle(bundle.clone())?;
        let verified = self
            .trust
            .verify(&entity, artifact, &self.policy(), Timestamp::now())
            .map_err(|rejection| SignError::SelfCheck(Box::new(rejection)))?;
        Ok(Signed { bundle, verified })
    }

    /// What we ask of our own signature: everything that a stranger would, but for the identity, which the token decided.
    fn policy(&self) -> Policy {
        let policy = Policy::unsafe_any_signer();
        if self.services.logs.is_empty() { policy.unsafe_without_log() } else { policy }
    }
}
