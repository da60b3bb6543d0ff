//! What must be proven. Safe by default: whoever must have signed is a required argument, one log entry, one time and one SCT are
//! demanded, and everything that takes away from that has `unsafe_` in its name and shows in every output as a [`Waiver`].

use vidimus_core::{bundle::Version, trust::TimeRange};

use crate::{CertificateIdentity, CheckId, PublicKey, Waiver, WitnessPolicy};

/// Who must have signed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RequiredSigner {
    /// One of these identities, with a certificate.
    Identities(Vec<CertificateIdentity>),
    /// This key.
    Key {
        /// The key.
        key: Box<PublicKey>,
        /// When it is valid. Not checked if there is no verified time; see [`Policy::require_times`].
        valid_for: TimeRange,
    },
    /// Anyone whose certificate a trusted authority issued.
    UnsafeAnyone,
}

/// What must be proven about a signature.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(crate) signer: RequiredSigner,
    pub(crate) log_entries: usize,
    pub(crate) always_inclusion_proof: bool,
    pub(crate) times: usize,
    pub(crate) signed_timestamps: usize,
    pub(crate) scts: usize,
    pub(crate) min_version: Option<Version>,
    pub(crate) current_time: bool,
    pub(crate) witnesses: Option<WitnessPolicy>,
    pub(crate) waivers: Vec<Waiver>,
}

impl Policy {
    /// The signer must have this identity.
    pub fn keyless(identity: CertificateIdentity) -> Self {
        Self::keyless_any([identity])
    }

    /// The signer must have one of these identities. With none of them, nothing is ever accepted.
    pub fn keyless_any(identities: impl IntoIterator<Item = CertificateIdentity>) -> Self {
        Self::new(RequiredSigner::Identities(identities.into_iter().collect()), 1, 1)
    }

    /// The signature must be by this managed key, and in a log. A key has no certificate, so that no time is needed.
    pub fn key(key: PublicKey) -> Self {
        Self::key_valid_for(key, TimeRange::default())
    }

    /// The signature must be by this managed key, made while it was valid, and in a log.
    pub fn key_valid_for(key: PublicKey, valid_for: TimeRange) -> Self {
        let times = usize::from(valid_for != TimeRange::default());
        Self::new(RequiredSigner::Key { key: Box::new(key), valid_for }, 0, times)
    }

    /// Anyone's signature, if the certificate and all other evidence is in order. The caller must look at who it was.
    pub fn unsafe_any_signer() -> Self {
        let mut policy = Self::new(RequiredSigner::UnsafeAnyone, 1, 1);
        policy.waive(CheckId::IdentitySan, "that the signer is one whom you expect");
        policy
    }

    /// The policy for instances without a public log and without Certificate Transparency, such as GitHub's for private
    /// repositories: a timestamp authority says when, and nobody else can see that the signature was made.
    pub fn timestamp_authority_only(identity: CertificateIdentity) -> Self {
        Self::keyless(identity).unsafe_timestamp_authority_only()
    }

    /// Makes this the policy for instances that have a timestamp authority and nothing public.
    #[must_use]
    pub fn unsafe_timestamp_authority_only(mut self) -> Self {
        self.signed_timestamps = self.signed_timestamps.max(1);
        self.log_entries = 0;
        self.scts = 0;
        self.waive(CheckId::LogEntries, "that the signature is public: no transparency log has to have an entry of it");
        if !matches!(self.signer, RequiredSigner::Key { .. }) {
            self.waive(CheckId::CertSct, "that the certificate is public: no Certificate Transparency log has to have it");
        }
        self
    }

    fn new(signer: RequiredSigner, scts: usize, times: usize) -> Self {
        Self {
            signer,
            log_entries: 1,
            always_inclusion_proof: false,
            times,
            signed_timestamps: 0,
            scts,
            min_version: None,
            current_time: false,
            witnesses: None,
            waivers: Vec::new(),
        }
    }

    /// Entries in this many different logs (default 1). 0 is spelt [`Policy::unsafe_without_log`].
    #[must_use]
    pub fn require_log_entries(mut self, entries: usize) -> Self {
        self.log_entries = entries.max(1);
        self
    }

    /// In how many different logs the signature must have an entry.
    pub fn log_entries(&self) -> usize {
        self.log_entries
    }

    /// An inclusion proof for every log entry that counts, also in formats that can carry a promise alone (bundle 0.1, cosign's
    /// layers). Without this, those formats' signed promises count; bundles 0.2 and newer always need the proof.
    #[must_use]
    pub fn require_inclusion_proof(mut self) -> Self {
        self.always_inclusion_proof = true;
        self
    }

    /// Times from this many different sources, logs or timestamp authorities (default 1 for certificates, 0 for keys).
    #[must_use]
    pub fn require_times(mut self, times: usize) -> Self {
        self.times = times.max(1);
        self
    }

    /// Timestamps of this many different timestamp authorities (default 0).
    #[must_use]
    pub fn require_signed_timestamps(mut self, timestamps: usize) -> Self {
        self.signed_timestamps = timestamps;
        self
    }

    /// SCTs of this many different Certificate Transparency logs (default 1 for certificates).
    #[must_use]
    pub fn require_scts(mut self, scts: usize) -> Self {
        self.scts = scts.max(1);
        self
    }

    /// A bundle of this version or newer. Anything that is not a bundle is older than all of them.
    #[must_use]
    pub fn min_bundle_version(mut self, version: Version) -> Self {
        self.min_version = Some(version);
        self
    }

    /// Cosignatures of witnesses on the log's checkpoint.
    #[must_use]
    pub fn require_witnesses(mut self, witnesses: WitnessPolicy) -> Self {
        self.witnesses = Some(witnesses);
        self
    }

    /// Does not ask for a log entry. Entries that are there and verify still say when the signature was made.
    #[must_use]
    pub fn unsafe_without_log(mut self) -> Self {
        self.log_entries = 0;
        self.waive(CheckId::LogEntries, "that the signature is in a transparency log");
        self
    }

    /// Does not ask for an SCT.
    #[must_use]
    pub fn unsafe_without_sct(mut self) -> Self {
        self.scts = 0;
        self.waive(CheckId::CertSct, "that the certificate is in a Certificate Transparency log");
        self
    }

    /// If nothing proves when the signature was made, takes it to have been made just now. For long-lived certificates only.
    #[must_use]
    pub fn unsafe_at_current_time(mut self) -> Self {
        self.current_time = true;
        self.times = 0;
        self.waive(CheckId::TimeSource, "that the signature was made while the certificate was valid, only that it is valid now");
        self
    }

    /// Who must have signed.
    pub fn signer(&self) -> &RequiredSigner {
        &self.signer
    }

    /// The identities that are asked for; none where it is a key, or anyone.
    pub fn identities(&self) -> &[CertificateIdentity] {
        match &self.signer {
            RequiredSigner::Identities(identities) => identities,
            RequiredSigner::Key { .. } | RequiredSigner::UnsafeAnyone => &[],
        }
    }

    /// What is not asked for.
    pub fn waivers(&self) -> &[Waiver] {
        &self.waivers
    }

    fn waive(&mut self, check: CheckId, not_proven: &'static str) {
        self.waivers.retain(|w| w.check != check);
        self.waivers.push(Waiver { check, not_proven });
    }
}
