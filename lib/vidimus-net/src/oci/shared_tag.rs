//! One tag that holds everybody's entries: the fallback list of referrers, and the images under `.sig` and `.att`.
//!
//! A write replaces all entries. Registries that honour `If-Match` are few, and one that offers an `ETag` may still ignore it. So a write counts as done only
//! after it was read back, and read back once more when any writer that started from an older state must have finished. Entries
//! that were there a moment ago and got lost are put back by their owners or, if those do not, by whoever notices.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use vidimus_core::{
    Digest, ParseError, Reference, Repository,
    oci::{self, Descriptor, INDEX, Raw, ReferrerList, attachment_image, merge_referrers},
};

use super::{
    Content, OciError, Registry,
    manifests::{Condition, lost_race},
};
use crate::http::{Kind, jitter};

/// How long a written tag is watched at least. A competing writer reads, merges and writes within a few round trips.
const SETTLE: Duration = Duration::from_millis(400);
/// ... and in terms of our own round trips, for slow links and loaded machines.
const SETTLE_ROUNDS: u32 = 3;
/// How often a tag is written before giving up, and for how long. Twenty writers at once need about five rounds.
const MAX_WRITES: u32 = 20;
const BUDGET: Duration = Duration::from_secs(90);
/// How often a tag is read in vain, each time with the client's own attempts.
const FAILED_READS: u32 = 4;

impl Registry {
    /// Gets an entry into what a tag holds, and gives the number of writes that took.
    pub(super) async fn update_tag(
        &self,
        repository: &Repository,
        tag: &str,
        mut list: impl SharedList,
    ) -> Result<u32, OciError> {
        let reference = repository.tag(tag).map_err(|source| OciError::malformed(repository, source))?;
        let lock = self.tag_lock(&reference.to_string());
        let least = self.options().settle.unwrap_or(SETTLE);
        let mut race = Race::new(&reference, least);
        loop {
            // Writers in this process take turns; those elsewhere are found out about by reading back.
            let turn = lock.lock().await;
            let round = Instant::now();
            let (current, etag) = match self.read_tag(&reference).await {
                Ok(read) => read,
                Err(error) => {
                    drop(turn);
                    race.failed_read(error, self.http().config().retry.base).await?;
                    continue;
                }
            };
            let presence = list.absorb(current.as_deref()).map_err(|why| in_use(&reference, why))?;
            match race.next(presence)? {
                Step::Done => return Ok(race.writes),
                Step::Wait(time) => {
                    drop(turn);
                    tokio::time::sleep(time).await;
                }
                Step::Write => {
                    let condition = match (&current, &etag) {
                        (Some(_), Some(etag)) => Condition::Matches(etag),
                        (Some(_), None) => Condition::None,
                        (None, _) => Condition::Absent,
                    };
                    self.write_tag_if(&reference, &list, condition).await?;
                    race.written(round.elapsed());
                }
            }
        }
    }

    /// Writes; that somebody else was faster is no error, for it shows when the tag is read back.
    async fn write_tag_if(
        &self,
        reference: &Reference,
        list: &impl SharedList,
        condition: Condition<'_>,
    ) -> Result<(), OciError> {
        match self.write_tag(reference, list, condition).await {
            Err(e) if lost_race(&e) => Ok(()),
            // A registry that does not know conditions may refuse them as such.
            Err(e) if matches!(e.kind(), Kind::Status(400) | Kind::Status(501)) => {
                self.write_tag(reference, list, Condition::None).await
            }
            other => other,
        }
    }

    async fn read_tag(&self, reference: &Reference) -> Result<(Option<Vec<u8>>, Option<String>), OciError> {
        match self.fetch_manifest_bytes(reference).await {
            Ok((response, etag)) => Ok((Some(response.body.to_vec()), etag)),
            Err(e) if e.is_not_found() => Ok((None, None)),
            Err(e) => Err(e),
        }
    }

    async fn write_tag(&self, reference: &Reference, list: &impl SharedList, condition: Condition<'_>) -> Result<(), OciError> {
        let document = list.document().map_err(|why| in_use(reference, why))?;
        for blob in &document.blobs {
            self.push_blob(reference.repository(), blob, None).await?;
        }
        self.put_manifest(reference, &document.media_type, &document.bytes, condition).await.map(|_| ())
    }
}

/// What to do next.
enum Step {
    Done,
    Wait(Duration),
    Write,
}

/// What is known about the others who write to the same tag.
struct Race<'a> {
    reference: &'a Reference,
    least: Duration,
    started: Instant,
    writes: u32,
    failed_reads: u32,
    /// Until when a write of ours is watched.
    watched_until: Option<Instant>,
    /// Whether we have waited, so that two who lost do not meet again at the same moment.
    backed_off: bool,
    /// Whether the owners of entries that got lost have had time to put them back.
    others_had_time: bool,
}

impl<'a> Race<'a> {
    fn new(reference: &'a Reference, least: Duration) -> Self {
        Self {
            reference,
            least,
            started: Instant::now(),
            writes: 0,
            failed_reads: 0,
            watched_until: None,
            backed_off: true,
            others_had_time: false,
        }
    }

    fn next(&mut self, presence: Presence) -> Result<Step, OciError> {
        self.failed_reads = 0;
        let left = self.watched_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        match presence {
            Presence::All if left.is_zero() => Ok(Step::Done),
            // Looked at soon, to be able to act early, and when the time is up.
            Presence::All | Presence::Ours if !left.is_zero() => Ok(Step::Wait(left.min((self.least / 4).max(left / 2)))),
            Presence::All | Presence::Ours if !self.others_had_time => {
                self.others_had_time = true;
                Ok(Step::Wait(self.least + jitter(self.least)))
            }
            _ if !self.backed_off => {
                self.backed_off = true;
                // Up to 100 ms after the first write that got lost, up to 1.6 s after the fifth.
                Ok(Step::Wait(jitter(self.least / 8 * (1 << self.writes.min(5)))))
            }
            _ if self.writes >= MAX_WRITES || self.started.elapsed() > BUDGET => {
                Err(OciError::Lost { reference: self.reference.to_string(), attempts: self.writes })
            }
            _ => Ok(Step::Write),
        }
    }

    fn written(&mut self, round: Duration) {
        self.writes += 1;
        self.backed_off = false;
        self.others_had_time = false;
        self.watched_until = Some(Instant::now() + self.least.max(round * SETTLE_ROUNDS));
    }

    /// docker-registry on a file system answers 500 while somebody else writes the tag, so a few more of these are waited out than
    /// elsewhere.
    async fn failed_read(&mut self, error: OciError, base: Duration) -> Result<(), OciError> {
        self.failed_reads += 1;
        if error.kind() != Kind::Unavailable || self.failed_reads > FAILED_READS {
            return Err(error);
        }
        tokio::time::sleep(jitter(base * (1 << self.failed_reads))).await;
        Ok(())
    }
}

fn in_use(reference: &Reference, why: ParseError) -> OciError {
    OciError::TagInUse { reference: reference.to_string(), why }
}

/// What a tag is to hold.
pub(super) struct TagDocument {
    media_type: String,
    bytes: Vec<u8>,
    blobs: Vec<Content>,
}

/// What of the list is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Our entry, and all that were seen before.
    All,
    /// Our entry, but others that were there have gone.
    Ours,
    /// Not our entry, or not as it should be.
    Missing,
}

impl Presence {
    fn of(ours: bool, others: bool) -> Self {
        match (ours, others) {
            (true, true) => Self::All,
            (true, false) => Self::Ours,
            (false, _) => Self::Missing,
        }
    }
}

/// A list under a tag that several writers share.
pub(super) trait SharedList: Send + Sync {
    /// Takes in what the tag holds.
    fn absorb(&mut self, current: Option<&[u8]>) -> Result<Presence, ParseError>;
    /// Everything seen, and ours.
    fn document(&self) -> Result<TagDocument, ParseError>;
}

/// A fallback index.
pub(super) struct Entries {
    /// Everything seen so far, ours first; by digest.
    known: BTreeMap<Digest, Descriptor>,
    ours: Descriptor,
    current: Option<Vec<u8>>,
}

impl Entries {
    pub(super) fn new(ours: Descriptor) -> Self {
        Self { known: BTreeMap::from([(ours.digest.clone(), ours.clone())]), ours, current: None }
    }
}

impl SharedList for Entries {
    fn absorb(&mut self, current: Option<&[u8]>) -> Result<Presence, ParseError> {
        let list = current.map(ReferrerList::parse).transpose()?.unwrap_or_default();
        let there: BTreeMap<_, _> = list.entries.into_iter().map(|e| (e.digest.clone(), e)).collect();
        let ours = there.get(&self.ours.digest) == Some(&self.ours);
        let presence = Presence::of(ours, self.known.keys().all(|digest| there.contains_key(digest)));
        for (digest, entry) in there {
            self.known.entry(digest).or_insert(entry);
        }
        self.current = current.map(<[u8]>::to_vec);
        Ok(presence)
    }

    fn document(&self) -> Result<TagDocument, ParseError> {
        let current = self.current.as_deref();
        let there = current.map(ReferrerList::parse).transpose()?.unwrap_or_default().entries;
        // Entries that are there stay as they are; ours, and lost ones, are put in.
        let missing = self.known.values().filter(|e| **e == self.ours || there.iter().all(|t| t.digest != e.digest));
        let missing: Vec<Descriptor> = missing.cloned().collect();
        Ok(TagDocument { media_type: INDEX.to_owned(), bytes: merge_referrers(current, &missing)?, blobs: Vec::new() })
    }
}

/// The layers of a `.sig` or `.att` image.
pub(super) struct Layers {
    /// Everything seen so far, in the order seen.
    known: Vec<Descriptor>,
    ours: Descriptor,
    media_type: String,
    annotations: BTreeMap<String, String>,
}

impl Layers {
    pub(super) fn new(ours: Descriptor) -> Self {
        Self { known: Vec::new(), ours, media_type: oci::MANIFEST.to_owned(), annotations: BTreeMap::new() }
    }
}

impl SharedList for Layers {
    fn absorb(&mut self, current: Option<&[u8]>) -> Result<Presence, ParseError> {
        let mut there = Vec::new();
        if let Some(bytes) = current {
            let manifest = Raw::parse(bytes.to_vec(), None)?.into_manifest()?;
            self.media_type = manifest.media_type;
            self.annotations = manifest.value.annotations;
            there = manifest.value.layers;
        }
        let presence = Presence::of(there.contains(&self.ours), self.known.iter().all(|layer| there.contains(layer)));
        for layer in there {
            if !self.known.contains(&layer) {
                self.known.push(layer);
            }
        }
        Ok(presence)
    }

    fn document(&self) -> Result<TagDocument, ParseError> {
        let mut layers = self.known.clone();
        if !layers.contains(&self.ours) {
            layers.push(self.ours.clone());
        }
        let (manifest, config) = attachment_image(layers);
        let mut value = manifest.value;
        value.annotations = self.annotations.clone();
        // A list that began with docker's media types was begun for a registry that knows no others.
        if self.media_type == oci::DOCKER_MANIFEST {
            value.config.media_type = oci::DOCKER_CONFIG.to_owned();
        }
        value.media_type = Some(self.media_type.clone());
        let manifest = Raw::write(&self.media_type, value);
        Ok(TagDocument { media_type: manifest.media_type, bytes: manifest.bytes, blobs: vec![Content::bytes(config)] })
    }
}

#[cfg(test)]
mod tests {
    use vidimus_core::oci::BUNDLE_V03;

    use super::*;

    fn entry(name: &str) -> Descriptor {
        let mut entry = Descriptor::of(oci::MANIFEST, name.as_bytes());
        entry.artifact_type = Some(BUNDLE_V03.into());
        entry
    }

    #[test]
    fn entries_lost_to_another_writer_are_put_back() {
        let mut ours = Entries::new(entry("ours"));
        assert_eq!(ours.absorb(None).unwrap(), Presence::Missing);
        let with_other = merge_referrers(None, &[entry("other")]).unwrap();
        assert_eq!(ours.absorb(Some(&with_other)).unwrap(), Presence::Missing);
        let written = ours.document().unwrap().bytes;
        assert_eq!(ours.absorb(Some(&written)).unwrap(), Presence::All);
        let only_ours = merge_referrers(None, &[entry("ours")]).unwrap();
        assert_eq!(ours.absorb(Some(&only_ours)).unwrap(), Presence::Ours);
        let third_only = merge_referrers(None, &[entry("third")]).unwrap();
        assert_eq!(ours.absorb(Some(&third_only)).unwrap(), Presence::Missing, "a third writer replaced both");
        let repaired = ReferrerList::parse(&ours.document().unwrap().bytes).unwrap();
        assert_eq!(repaired.entries.len(), 3);
    }

    #[test]
    fn a_wrong_entry_of_ours_is_not_good_enough() {
        let mut wrong = entry("ours");
        wrong.artifact_type = Some(oci::EMPTY.into());
        let there = merge_referrers(None, &[wrong]).unwrap();
        let mut ours = Entries::new(entry("ours"));
        assert_eq!(ours.absorb(Some(&there)).unwrap(), Presence::Missing);
        let repaired = ReferrerList::parse(&ours.document().unwrap().bytes).unwrap();
        assert_eq!(repaired.entries, [entry("ours")]);
    }

    #[test]
    fn layers_are_appended_in_order_and_media_types_kept() {
        let mut first = Layers::new(entry("a"));
        first.absorb(None).unwrap();
        let one = first.document().unwrap();
        let text = String::from_utf8(one.bytes).unwrap().replace(oci::MANIFEST, oci::DOCKER_MANIFEST);
        let mut second = Layers::new(entry("b"));
        assert_eq!(second.absorb(Some(text.as_bytes())).unwrap(), Presence::Missing);
        let both = second.document().unwrap();
        assert_eq!(both.media_type, oci::DOCKER_MANIFEST);
        assert_eq!(second.absorb(Some(&both.bytes)).unwrap(), Presence::All);
        let index = merge_referrers(None, &[]).unwrap();
        assert!(Layers::new(entry("c")).absorb(Some(&index)).is_err(), "an index is not overwritten");
    }
}
