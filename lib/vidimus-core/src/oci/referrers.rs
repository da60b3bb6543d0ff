//! Lists of referrers: what the API answers, and what the fallback tag holds (distribution specification, "Referrers tag schema").

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Descriptor, INDEX, is_index, present};
use crate::{ParseError, encoding::go_json, limits};

/// The list behind a referrers answer or a fallback tag, entry by entry: one that cannot be read must not hide the others, and
/// must survive when the list is written back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReferrerList {
    /// The entries that could be read, in order.
    pub entries: Vec<Descriptor>,
    /// The others: their position and what is wrong with them.
    pub unreadable: Vec<(usize, ParseError)>,
}

impl ReferrerList {
    /// Reads an index of referrers.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        const FORMAT: &str = "referrers index";
        let raw: RawEntries<'_> = serde_json::from_slice(bytes).map_err(|e| ParseError::new(FORMAT, e))?;
        if let Some(other) = raw.media_type.filter(|t| !t.is_empty() && !is_index(t)) {
            return Err(ParseError::new(FORMAT, format_args!("it is a {other}")));
        }
        let manifests = raw.manifests.ok_or_else(|| ParseError::new(FORMAT, "it has no manifests"))?.unwrap_or_default();
        let mut list = Self::default();
        for (position, entry) in manifests.into_iter().enumerate() {
            match serde_json::from_str::<Descriptor>(entry.get()) {
                Ok(descriptor) => list.entries.push(descriptor),
                Err(e) => list.unreadable.push((position, ParseError::at(FORMAT, format_args!("manifests[{position}]"), e))),
            }
        }
        Ok(list)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEntries<'a> {
    #[serde(default)]
    media_type: Option<String>,
    // Two levels: an absent list is not a referrers index, `null` is Go's empty list.
    #[serde(borrow, default, deserialize_with = "present")]
    manifests: Option<Option<Vec<&'a RawValue>>>,
}

/// Puts entries into a fallback index (the referrers tag schema of the distribution specification) and gives the new bytes.
///
/// Entries are kept as they are, with fields we do not know, except that one with the digest of a new entry is replaced: that is
/// how entries with a wrong `artifactType`, which cosign wrote before go-containerregistry 0.22, get repaired. Sorted by digest,
/// as cosign keeps it. `current` is `None` when the tag does not exist.
pub fn merge_referrers(current: Option<&[u8]>, new: &[Descriptor]) -> Result<Vec<u8>, ParseError> {
    const FORMAT: &str = "referrers index";
    let mut kept: BTreeMap<String, Box<RawValue>> = BTreeMap::new();
    if let Some(bytes) = current {
        ReferrerList::parse(bytes)?;
        let raw: RawEntries<'_> = serde_json::from_slice(bytes).map_err(|e| ParseError::new(FORMAT, e))?;
        for (position, entry) in raw.manifests.flatten().unwrap_or_default().into_iter().enumerate() {
            let digest = entry_digest(entry).unwrap_or_else(|| format!("~{position}"));
            kept.insert(digest, entry.to_owned());
        }
    }
    for entry in new {
        let text = go_json(entry);
        kept.insert(entry.digest.to_string(), RawValue::from_string(text).map_err(|e| ParseError::new(FORMAT, e))?);
    }
    limits::check_count(FORMAT, "manifests", kept.len(), limits::REFERRERS)?;
    let entries: Vec<&str> = kept.values().map(|e| e.get()).collect();
    Ok(format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#, entries.join(",")).into_bytes())
}

fn entry_digest(entry: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct OnlyDigest {
        digest: String,
    }
    serde_json::from_str::<OnlyDigest>(entry.get()).ok().map(|e| e.digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{
        artifact::tests::{COSIGN_MANIFEST, referrer},
        referrer_entry,
    };

    /// The fallback entry of the same manifest as cosign 3.1.1 wrote it, with the configuration's type in place of its own.
    const WRONG_ENTRY: &str = r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":877,"digest":"sha256:478563f9e5d628adbbfafe3f20d38e787b883d1278ad9018daf0ad819f8f6381","artifactType":"application/vnd.oci.empty.v1+json"}"#;

    #[test]
    fn merging_repairs_wrong_entries_and_keeps_strange_ones() {
        let wrong = format!(
            r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{WRONG_ENTRY},{{"digest":"md5:00","size":1,"x":[1]}}]}}"#
        );
        let list = ReferrerList::parse(wrong.as_bytes()).unwrap();
        assert_eq!((list.entries.len(), list.unreadable.len()), (1, 1));
        let right = referrer_entry(&referrer().manifest());
        assert_eq!(right.digest, list.entries[0].digest, "it is the same manifest");
        let merged = merge_referrers(Some(wrong.as_bytes()), std::slice::from_ref(&right)).unwrap();
        let list = ReferrerList::parse(&merged).unwrap();
        assert_eq!((list.entries.as_slice(), list.unreadable.len()), (std::slice::from_ref(&right), 1));
        assert!(String::from_utf8(merged.clone()).unwrap().contains(r#"{"digest":"md5:00","size":1,"x":[1]}"#));
        assert_eq!(merge_referrers(Some(&merged), &[right]).unwrap(), merged, "merging twice changes nothing");
    }

    #[test]
    fn a_fallback_tag_that_is_not_an_index_is_never_overwritten() {
        assert!(merge_referrers(Some(COSIGN_MANIFEST.as_bytes()), &[]).is_err());
        assert!(merge_referrers(Some(b"{}"), &[]).is_err());
        assert_eq!(
            merge_referrers(None, &[]).unwrap(),
            format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[]}}"#).into_bytes()
        );
    }
}
