//! Several trust roots, tried in turn: a signature belongs to one Sigstore instance and is judged by that one's members alone.
//!
//! They are not merged. A log entry of one instance beside a certificate of another would be a signature that neither of them made.

use jiff::Timestamp;

use crate::{Artifact, Policy, Rejection, SignedEntity, TrustRoot, Verified, verify};

/// The trust roots of some instances, each under a name for people: a file, a repository.
#[derive(Debug, Default)]
pub struct Instances {
    members: Vec<(String, TrustRoot)>,
}

impl Instances {
    /// One instance.
    pub fn one(name: impl Into<String>, root: TrustRoot) -> Self {
        Self { members: vec![(name.into(), root)] }
    }

    /// Nobody: enough for managed keys without log entries.
    pub fn empty() -> Self {
        Self::one("nobody", TrustRoot::empty())
    }

    /// Adds an instance.
    pub fn push(&mut self, name: impl Into<String>, root: TrustRoot) {
        self.members.push((name.into(), root));
    }

    /// The instances with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &TrustRoot)> {
        self.members.iter().map(|(name, root)| (name.as_str(), root))
    }

    /// The id of the log at a base URL: of several, that of the one whose key is valid last.
    pub fn log_id(&self, base_url: &str) -> Option<&[u8]> {
        let logs = self.members.iter().flat_map(|(_, root)| &root.logs).filter(|log| log.is_at(base_url));
        logs.max_by_key(|log| log.valid_for.start).map(|log| log.id.as_slice())
    }

    /// The base URLs of the Rekor v1 logs, which can be asked for an entry that does not travel with its signature. Each once: the
    /// shards of a log share an URL.
    pub fn searchable_logs(&self) -> Vec<&str> {
        let logs = self.members.iter().flat_map(|(_, root)| &root.logs).filter(|log| log.is_rekor_v1());
        let mut urls = Vec::new();
        for url in logs.filter_map(|log| log.base_url()) {
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
        urls
    }

    /// [`verify`] by the instance that the signature belongs to. If none accepts it, the reason of the one that knew the signature's
    /// services is given; with several of them, the one that got furthest.
    pub fn verify(
        &self,
        entity: &SignedEntity,
        artifact: &Artifact<'_>,
        policy: &Policy,
        at: Timestamp,
    ) -> Result<Verified, Rejection> {
        let mut best: Option<Rejection> = None;
        for (name, root) in &self.members {
            match verify(entity, artifact, root, policy, at) {
                Ok(mut verified) => {
                    verified.trust_root = Some(name.clone()).filter(|_| self.members.len() > 1);
                    return Ok(verified);
                }
                Err(rejection) => {
                    let value = |r: &Rejection| (!r.is_of_another_instance(), r.rank());
                    if best.as_ref().is_none_or(|best| value(best) < value(&rejection)) {
                        best = Some(rejection);
                    }
                }
            }
        }
        Err(best.unwrap_or_else(Rejection::nobody_trusted))
    }
}

impl From<TrustRoot> for Instances {
    fn from(root: TrustRoot) -> Self {
        Self::one("the trusted root", root)
    }
}

#[cfg(test)]
mod tests {
    use vidimus_core::trust::TrustedRoot;

    use super::*;

    #[test]
    fn a_log_goes_by_its_url() {
        let root = TrustedRoot::from_json(include_bytes!("../../../testdata/wire/trusted_root.json")).unwrap();
        let (url, id) = (root.tlogs[0].base_url.clone(), root.tlogs[0].log_id.key_id.0.clone());
        let same = root.tlogs.iter().filter(|log| log.base_url.trim_end_matches('/') == url.trim_end_matches('/')).count();
        let instances = Instances::one("wire", TrustRoot::new(&root).unwrap());
        let found = instances.log_id(&format!("{}/", url.trim_end_matches('/'))).unwrap();
        assert!(same > 1 || found == id, "{url}");
        assert!(instances.log_id("https://elsewhere.example").is_none() && instances.log_id("").is_none());
    }

    #[test]
    fn logs_of_rekor_v1_can_be_searched() {
        let root = TrustedRoot::from_json(include_bytes!("../../../testdata/public/roots/staging.json")).unwrap();
        assert!(root.tlogs.len() > 1, "staging has logs of both versions");
        let instances = Instances::one("staging", TrustRoot::new(&root).unwrap());
        assert_eq!(instances.searchable_logs(), ["https://rekor.sigstage.dev"]);
        assert!(Instances::empty().searchable_logs().is_empty());
    }
}
