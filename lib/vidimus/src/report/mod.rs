//! The report of `validate image`, in the shape that Conforma's `ec` writes, so that whatever reads one reads the other.
//!
//! Fields are declared in the order in which `ec` serialises them. A [`Report`] is pure data; renderers are functions of it.
//! One field is ours: [`Component::undetermined`], present only where a component could not be judged at all.

pub mod cosign;
pub mod json;
pub mod text;
pub mod yaml;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::Outcome;

/// The judgement of a set of images.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Whether every component was accepted.
    pub success: bool,
    /// One per image (and per platform), by reference, descending as `ec` sorts them.
    pub components: Vec<Component>,
    /// The PEM key that signatures were checked with; empty when they were checked by identity.
    pub key: String,
    /// The policy that was applied: empty until policies are given.
    pub policy: Map<String, Value>,
    /// The version of the tool that wrote the report.
    #[serde(rename = "ec-version")]
    pub version: String,
    /// The time at which rules were taken to apply.
    #[serde(rename = "effective-time", serialize_with = "nanoseconds")]
    pub effective_time: Timestamp,
}

/// The judgement of one image.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Component {
    /// The component's name; `Unnamed` for an image given on the command line.
    pub name: String,
    /// The image, by digest.
    #[serde(rename = "containerImage")]
    pub image: String,
    /// Where the image was built from, when the input says so.
    pub source: Map<String, Value>,
    /// What was proven false, or required and absent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<CheckResult>,
    /// What deserves attention but does not fail the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<CheckResult>,
    /// What was proven.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub successes: Vec<CheckResult>,
    /// Whether the image was accepted.
    pub success: bool,
    /// The image signatures that verified.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<EntitySignature>,
    /// The attestations that verified.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attestations: Vec<AttestationResult>,
    /// Why no judgement could be made, if so: the registry was unreachable, refused us, or answered nonsense.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undetermined: Option<String>,
}

/// One check's result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckResult {
    /// `Pass`, or what is wrong.
    #[serde(rename = "msg")]
    pub message: String,
    /// `code`, `title`, `description`, …
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, Value>,
}

/// A verified signature: over the image or over an attestation.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EntitySignature {
    /// Hex subject key identifier of the certificate; empty for a plain key.
    pub keyid: String,
    /// The signature, base64.
    pub sig: String,
    /// The signing certificate, PEM.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub certificate: String,
    /// Its issuers, PEM, root last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
    /// What the certificate says, by `ec`'s names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// A verified attestation.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AttestationResult {
    /// The statement type.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub statement_type: String,
    /// The predicate type.
    #[serde(rename = "predicateType", skip_serializing_if = "String::is_empty")]
    pub predicate_type: String,
    /// The build type, for SLSA provenance.
    #[serde(rename = "predicateBuildType", skip_serializing_if = "String::is_empty")]
    pub build_type: String,
    /// Its signatures.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<EntitySignature>,
}

/// What a rendering leaves out.
#[derive(Debug, Clone, Copy)]
pub struct Show {
    /// Keep `successes`.
    pub successes: bool,
    /// Keep `warnings`.
    pub warnings: bool,
    /// End the text form with a pointer to the policy documentation.
    pub policy_docs_link: bool,
}

impl Default for Show {
    fn default() -> Self {
        Self { successes: false, warnings: true, policy_docs_link: false }
    }
}

impl Report {
    /// A report over components, in `ec`'s order.
    pub fn new(mut components: Vec<Component>, effective_time: Timestamp) -> Self {
        components.sort_by(|a, b| b.image.cmp(&a.image).then_with(|| a.name.cmp(&b.name)));
        Self {
            success: !components.is_empty() && components.iter().all(|c| c.success),
            components,
            key: String::new(),
            policy: Map::new(),
            version: format!("vidimus {}", env!("CARGO_PKG_VERSION")),
            effective_time,
        }
    }

    /// The worst outcome of all components.
    pub fn outcome(&self) -> Outcome {
        Outcome::worst(self.components.iter().map(Component::outcome)).unwrap_or(Outcome::Undetermined)
    }

    /// A copy without what `show` leaves out. `success` keeps its value: hiding a result never changes the judgement.
    pub fn filtered(&self, show: Show) -> Self {
        let mut report = self.clone();
        for component in &mut report.components {
            if !show.successes {
                component.successes.clear();
            }
            if !show.warnings {
                component.warnings.clear();
            }
        }
        report
    }
}

impl Component {
    /// The component's own outcome.
    pub fn outcome(&self) -> Outcome {
        match (&self.undetermined, self.success) {
            (Some(_), _) => Outcome::Undetermined,
            (None, true) => Outcome::Accepted,
            (None, false) => Outcome::Rejected,
        }
    }

    /// Orders results as `ec` does (code, term, message) and sets `success`.
    pub(crate) fn conclude(mut self) -> Self {
        for list in [&mut self.violations, &mut self.warnings, &mut self.successes] {
            list.sort_by(|a, b| (a.text("code"), a.text("term"), &a.message).cmp(&(b.text("code"), b.text("term"), &b.message)));
        }
        self.success = self.violations.is_empty() && self.undetermined.is_none();
        self
    }
}

impl CheckResult {
    /// A metadata value that is text, or nothing.
    pub fn text(&self, key: &str) -> &str {
        self.metadata.get(key).and_then(Value::as_str).unwrap_or_default()
    }
}

/// RFC 3339 in UTC, as Go writes a time.
fn nanoseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

#[cfg(test)]
pub(crate) mod fixtures {
    use super::*;

    /// A result with a code.
    pub(crate) fn result(code: &str, message: &str) -> CheckResult {
        CheckResult { message: message.into(), metadata: BTreeMap::from([("code".into(), code.into())]) }
    }

    /// One accepted image with the three built-in checks.
    pub(crate) fn accepted() -> Report {
        let component = Component {
            name: "Unnamed".into(),
            image: "localhost:5000/app@sha256:00".into(),
            successes: vec![
                result("builtin.image.signature_check", "Pass"),
                result("builtin.attestation.signature_check", "Pass"),
                result("builtin.attestation.syntax_check", "Pass"),
            ],
            signatures: vec![EntitySignature {
                keyid: "b7a2".into(),
                sig: "MEUC".into(),
                certificate: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(),
                metadata: BTreeMap::from([("Fulcio Issuer".into(), "http://localhost".into())]),
                ..EntitySignature::default()
            }],
            ..Component::default()
        };
        Report::new(vec![component.conclude()], "2026-11-21T20:15:00.5Z".parse().unwrap())
    }

    /// One refused image.
    pub(crate) fn rejected() -> Report {
        let component = Component {
            name: "Unnamed".into(),
            image: "localhost:5000/app@sha256:00".into(),
            violations: vec![result("builtin.image.signature_check", "Image signature check failed: no signatures found")],
            ..Component::default()
        };
        Report::new(vec![component.conclude()], "2026-11-21T20:15:00Z".parse().unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hiding_results_does_not_change_the_judgement() {
        let report = fixtures::rejected();
        assert!(!report.success);
        assert!(!report.filtered(Show { successes: false, warnings: false, policy_docs_link: false }).success);
        assert_eq!(report.outcome(), Outcome::Rejected);
        assert_eq!(fixtures::accepted().outcome(), Outcome::Accepted);
    }

    #[test]
    fn nothing_judged_is_not_success() {
        let report = Report::new(Vec::new(), Timestamp::UNIX_EPOCH);
        assert!(!report.success);
        assert_eq!(report.outcome(), Outcome::Undetermined);
    }

    #[test]
    fn an_undetermined_component_outranks_a_rejected_one() {
        let mut report = fixtures::rejected();
        report.components.push(Component { undetermined: Some("HTTP 429".into()), ..Component::default() }.conclude());
        assert_eq!(report.outcome(), Outcome::Undetermined);
    }

    #[test]
    fn results_are_sorted_by_code() {
        let report = fixtures::accepted();
        let codes: Vec<_> = report.components[0].successes.iter().map(|s| s.text("code")).collect();
        assert!(codes.is_sorted(), "{codes:?}");
    }
}
