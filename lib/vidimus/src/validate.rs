//! `validate image`: the built-in checks of `ec`, in its order and its words.
//!
//! For each image: is it accessible; is it signed; is it attested; do SLSA attestations have the shape that their type promises. As in
//! `ec`, a failed image signature does not stop the others, a failed attestation signature leaves nothing to check the syntax of.
//! Unlike in `ec`, an attestation never counts as the image's signature, and a check that was skipped is listed as a warning.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use vidimus_core::{
    encoding,
    intoto::{self, Header},
    oci::Document,
    reference::Reference,
};
use vidimus_net::oci::{self, DiscoverOptions, Registry};
use vidimus_verify::{Instances, Policy, Quorum};

use crate::{
    attached::{Attached, Image},
    certificate::Details,
    report::{AttestationResult, CheckResult, Component, EntitySignature, Report},
    slsa,
    verify_image::{self, Accepted, Proven, Request, VerifyError},
};

/// Images judged at the same time. Each asks its registry for a handful of things.
const PARALLEL: usize = 8;
/// Platforms of one index that are looked into. Images that people build have tens.
const PLATFORMS: usize = 256;

/// An image to judge, by its component's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The component's name.
    pub name: String,
    /// The image.
    pub image: Reference,
    /// Where it was built from, as the input says.
    pub source: serde_json::Map<String, Value>,
}

impl Subject {
    /// An image without a name of its own, as `ec` names it.
    pub fn unnamed(image: Reference) -> Self {
        Self { name: "Unnamed".into(), image, source: serde_json::Map::new() }
    }
}

/// What to check, and how to tell of it.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// Whom to trust.
    pub trust: &'a Instances,
    /// What must be proven about a signature.
    pub policy: &'a Policy,
    /// How many of the policy's identities must have signed.
    pub quorum: Quorum,
    /// Whether signatures are those of a managed key rather than of an identity: `ec` words its messages differently then.
    pub by_key: bool,
    /// Do not check the image's signature.
    pub skip_image_signature: bool,
    /// Keep titles and descriptions.
    pub info: bool,
    /// Where to look.
    pub discover: DiscoverOptions,
    /// The time to judge at.
    pub at: Timestamp,
    /// The time at which rules apply.
    pub effective: EffectiveTime,
}

/// The time at which rules apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EffectiveTime {
    /// A given time.
    At(Timestamp),
    /// When the youngest attested build finished; now if none says.
    Attestation,
}

/// Judges images.
pub async fn images(registry: &Registry, subjects: &[Subject], options: &Options<'_>) -> Report {
    use futures_util::{StreamExt, stream};
    let expanded: Vec<Vec<Expanded>> =
        stream::iter(subjects.iter().map(|s| expand(registry, s))).buffered(PARALLEL).collect().await;
    let judged: Vec<(Component, Option<Timestamp>)> =
        stream::iter(expanded.into_iter().flatten().map(|e| component(registry, e, options))).buffered(PARALLEL).collect().await;
    let effective = match options.effective {
        EffectiveTime::At(time) => time,
        EffectiveTime::Attestation => judged.iter().filter_map(|(_, finished)| *finished).max().unwrap_or(options.at),
    };
    Report::new(judged.into_iter().map(|(component, _)| component).collect(), effective)
}

/// A component whose image was resolved, or not.
struct Expanded {
    subject: Subject,
    image: Result<Image, VerifyError>,
}

/// An image, and if it is an index, every image in it.
async fn expand(registry: &Registry, subject: &Subject) -> Vec<Expanded> {
    let image = verify_image::resolve(registry, &subject.image).await;
    let Ok(index) = &image else { return vec![Expanded { subject: subject.clone(), image }] };
    let children = match registry.manifest(&index.by_digest()).await {
        Ok(document) => platforms(&document.value),
        Err(source) => {
            let error = VerifyError::Registry { reference: index.by_digest(), source: Box::new(source) };
            return vec![Expanded { subject: subject.clone(), image: Err(error) }];
        }
    };
    let by_digest = index.by_digest();
    let mut expanded = vec![Expanded { subject: subject.clone(), image }];
    for (descriptor, platform) in children {
        let name = format!("{}-{}-{platform}", subject.name, descriptor.digest);
        let child = Subject { name, ..subject.clone() };
        expanded.push(Expanded { subject: child, image: Ok(Image { given: by_digest.clone(), descriptor }) });
    }
    expanded
}

/// The images of an index, with their platforms as `ec` names them. What BuildKit keeps there about its builds is no image.
fn platforms(document: &Document) -> Vec<(vidimus_core::oci::Descriptor, String)> {
    let Document::Index(index) = document else { return Vec::new() };
    let images = index.manifests.iter().filter(|d| d.annotation("vnd.docker.reference.type").is_none());
    let named = images.take(PLATFORMS).enumerate().map(|(position, descriptor)| {
        let platform = descriptor.platform.as_ref().map(|p| p.architecture.clone());
        (descriptor.clone(), platform.unwrap_or_else(|| format!("noarch-{position}")))
    });
    named.collect()
}

/// Judges one component; also when its youngest attested build finished.
async fn component(registry: &Registry, expanded: Expanded, options: &Options<'_>) -> (Component, Option<Timestamp>) {
    let Subject { name, image: given, source } = expanded.subject;
    let mut judge = Judge { component: Component { name, source, ..Component::default() }, options, finished: None };
    match expanded.image {
        Err(error) => {
            judge.component.image = given.to_string();
            judge.inaccessible(&error);
        }
        Ok(image) => {
            judge.component.image = image.by_digest().to_string();
            judge.waivers();
            let attached = Attached::to(registry, &image, &options.discover).await;
            judge.signature(&image, &attached);
            judge.attestations(image, attached);
        }
    }
    (judge.component.conclude(), judge.finished)
}

/// A component that is being judged.
struct Judge<'a> {
    component: Component,
    options: &'a Options<'a>,
    finished: Option<Timestamp>,
}

/// One of `ec`'s built-in checks: code, title, description.
struct Check {
    code: &'static str,
    title: &'static str,
    description: &'static str,
}

const ACCESSIBLE: Check = Check {
    code: "builtin.image.accessible",
    title: "Image URL is accessible",
    description: "The image URL is available and accessible.",
};
const IMAGE_SIGNATURE: Check = Check {
    code: "builtin.image.signature_check",
    title: "Image signature check passed",
    description: "The image signature matches available signing materials.",
};
const ATTESTATION_SIGNATURE: Check = Check {
    code: "builtin.attestation.signature_check",
    title: "Attestation signature check passed",
    description: "The attestation signature matches available signing materials.",
};
const ATTESTATION_SYNTAX: Check = Check {
    code: "builtin.attestation.syntax_check",
    title: "Attestation syntax check passed",
    description: "The attestation has correct syntax.",
};

impl Judge<'_> {
    fn inaccessible(&mut self, error: &VerifyError) {
        let source = match error {
            VerifyError::NoSuchImage { source, .. } | VerifyError::Registry { source, .. } => source.to_string(),
            other => other.to_string(),
        };
        self.violation(&ACCESSIBLE, format!("Image URL is not accessible: {source}"));
        self.note_undetermined(error);
    }

    fn signature(&mut self, image: &Image, attached: &Attached) {
        if self.options.skip_image_signature {
            return self.warning(&IMAGE_SIGNATURE, "Not checked, as asked (--skip-image-sig-check)");
        }
        match verify_image::judge_signatures(image.clone(), attached.clone(), &self.request()) {
            Ok(proven) => {
                self.success(&IMAGE_SIGNATURE);
                self.component.signatures = proven.accepted.iter().map(entity_signature).collect();
            }
            Err(error) => {
                let message = self.words("signature", "image signatures", "and a signature was created", &error);
                self.violation(&IMAGE_SIGNATURE, message);
                self.note_undetermined(&error);
            }
        }
    }

    fn attestations(&mut self, image: Image, attached: Attached) {
        match verify_image::judge_attestations(image, attached, None, &self.request()) {
            Ok(proven) => {
                self.success(&ATTESTATION_SIGNATURE);
                self.syntax(&proven);
            }
            Err(error) => {
                let created = "and one or more attestations were created";
                let message = self.words("attestation", "image attestations", created, &error);
                self.violation(&ATTESTATION_SIGNATURE, message);
                self.note_undetermined(&error);
            }
        }
    }

    fn syntax(&mut self, proven: &Proven) {
        let mut problems = Vec::new();
        for accepted in &proven.accepted {
            match Attestation::read(accepted) {
                Ok(attestation) => {
                    self.finished = self.finished.max(attestation.finished());
                    problems.extend(attestation.problem.clone());
                    self.component.attestations.push(attestation.result(accepted));
                }
                Err(why) => problems.push(why),
            }
        }
        match problems.as_slice() {
            [] => self.success(&ATTESTATION_SYNTAX),
            some => self.violation(&ATTESTATION_SYNTAX, format!("Attestation syntax check failed: {}", some.join("; "))),
        }
    }

    fn request(&self) -> Request<'_> {
        Request {
            trust: self.options.trust,
            policy: self.options.policy,
            quorum: self.options.quorum,
            annotations: BTreeMap::new(),
            discover: self.options.discover.clone(),
            at: self.options.at,
        }
    }

    /// `ec`'s words for a check that failed.
    fn words(&self, what: &str, found: &str, created: &str, error: &VerifyError) -> String {
        let hint = error.hint().map(|h| format!("; {h}")).unwrap_or_default();
        if self.options.by_key
            && matches!(
                error,
                VerifyError::NothingMatched { .. } | VerifyError::TooFew { .. } | VerifyError::NothingAttached { .. }
            )
        {
            return format!(
                "No {found} found matching the given public key. Verify the correct public key was provided, {created}. Error: {error}{hint}"
            );
        }
        format!("Image {what} check failed: {error}{hint}")
    }

    fn note_undetermined(&mut self, error: &VerifyError) {
        if matches!(error, VerifyError::Registry { .. } | VerifyError::Incomplete { .. }) {
            self.component.undetermined.get_or_insert_with(|| error.to_string());
        }
    }

    /// What the policy does not ask for, whatever comes of it.
    fn waivers(&mut self) {
        for waiver in self.options.policy.waivers() {
            let message = format!("Not proven, as asked: {}", waiver.not_proven);
            let metadata = BTreeMap::from([("code".to_owned(), json!(format!("builtin.waived.{}", waiver.check)))]);
            self.component.warnings.push(CheckResult { message, metadata });
        }
    }

    fn success(&mut self, check: &Check) {
        let result = self.result(check, "Pass".into());
        self.component.successes.push(result);
    }

    fn warning(&mut self, check: &Check, message: &str) {
        let result = self.result(check, message.into());
        self.component.warnings.push(result);
    }

    fn violation(&mut self, check: &Check, message: String) {
        let result = self.result(check, message);
        self.component.violations.push(result);
    }

    fn result(&self, check: &Check, message: String) -> CheckResult {
        let mut metadata = BTreeMap::from([("code".to_owned(), json!(check.code))]);
        if self.options.info {
            metadata.insert("title".to_owned(), json!(check.title));
            metadata.insert("description".to_owned(), json!(check.description));
        }
        CheckResult { message, metadata }
    }
}

/// A verified attestation, read. Of the predicate only what is told of it: it may be a hundred megabytes.
struct Attestation {
    statement: Header,
    places: Places,
    /// What is wrong with the predicate's shape.
    problem: Option<String>,
}

/// Where SLSA's versions and others say what was built when.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Places {
    build_definition: Value,
    build_type: Value,
    metadata: Value,
    run_details: Value,
}

impl Attestation {
    fn read(accepted: &Accepted) -> Result<Self, String> {
        let payload = accepted.candidate.entity.payload().ok_or("no attestation data")?;
        let statement = accepted.verified.statement().cloned().ok_or("no statement")?;
        let predicate = intoto::predicate_in(payload).map_err(|e| e.to_string())?;
        let problem = match slsa::knows(&statement.predicate_type) {
            true => {
                let value = serde_json::from_str(predicate).map_err(|e| e.to_string())?;
                slsa::check(&statement.predicate_type, &value).err().map(|e| e.to_string())
            }
            false => None,
        };
        // A predicate that is no object says nothing of builds.
        Ok(Self { statement, places: serde_json::from_str(predicate).unwrap_or_default(), problem })
    }

    /// When the build finished: SLSA v0.2 and v1 have different places for it.
    fn finished(&self) -> Option<Timestamp> {
        let places = [self.places.metadata.pointer("/buildFinishedOn"), self.places.run_details.pointer("/metadata/finishedOn")];
        places.into_iter().flatten().find_map(|place| place.as_str()?.parse().ok())
    }

    fn result(self, accepted: &Accepted) -> AttestationResult {
        let build_type = [Some(&self.places.build_type), self.places.build_definition.pointer("/buildType")];
        AttestationResult {
            build_type: build_type.into_iter().flatten().find_map(Value::as_str).unwrap_or_default().to_owned(),
            statement_type: self.statement.type_,
            predicate_type: self.statement.predicate_type,
            signatures: vec![entity_signature(accepted)],
        }
    }
}

fn entity_signature(accepted: &Accepted) -> EntitySignature {
    let entity = &accepted.candidate.entity;
    let details = entity.certificate().map(Details::of).unwrap_or_default();
    EntitySignature {
        keyid: details.key_id,
        sig: encoding::encode(entity.signature()),
        certificate: details.pem,
        chain: chain(&accepted.candidate.found),
        metadata: details.metadata,
    }
}

/// The issuers that came along with a legacy signature, for readers who want them; trust never rests on them.
fn chain(found: &oci::Found) -> Vec<String> {
    let layer = crate::attached::annotated(found);
    let blocks = layer.and_then(|l| l.chain).and_then(|pem| encoding::pem_blocks(&pem).ok()).unwrap_or_default();
    blocks.iter().map(|block| encoding::pem("CERTIFICATE", &block.der)).collect()
}
