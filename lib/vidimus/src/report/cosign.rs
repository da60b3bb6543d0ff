//! What `verify` prints, in cosign's words: an array of payloads, and a list of the checks.
//!
//! cosign 3 leaves `optional` empty for bundles; here it says the same for every format. The list of checks is taken from what was
//! proven: a check that was waived is named as such, never listed as done.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use vidimus_core::{
    cosign::{PAYLOAD_TYPE, Payload, RekorBundle, RekorPayload, Rfc3161Timestamp},
    encoding::Base64,
    fulcio::Extension,
};
use vidimus_verify::{CheckId, Content, SignedEntity, Tally, Verified};

use crate::{attached::Image, verify_image::Accepted};

/// cosign's name for some of Fulcio's claims, beside the object identifier.
const NAMED: &[(Extension, &str)] = &[
    (Extension::GithubWorkflowTrigger, "githubWorkflowTrigger"),
    (Extension::GithubWorkflowSha, "githubWorkflowSha"),
    (Extension::GithubWorkflowName, "githubWorkflowName"),
    (Extension::GithubWorkflowRepository, "githubWorkflowRepository"),
    (Extension::GithubWorkflowRef, "githubWorkflowRef"),
];

/// The payload of an accepted signature: what was signed about the image, and who signed.
pub fn payload(image: &Image, accepted: &Accepted) -> Value {
    let (reference, kind, mut optional) = claims(image, accepted);
    signer(&accepted.verified, &mut optional);
    evidence(&accepted.candidate.entity, &mut optional);
    let mut payload = json!({
        "critical": {
            "identity": { "docker-reference": reference },
            "image": { "docker-manifest-digest": image.descriptor.digest },
            "type": kind,
        },
        "optional": optional,
    });
    let waivers = accepted.verified.waivers();
    // Beside cosign's two, where no annotation of the signer's can stand in its place.
    if !waivers.is_empty() {
        payload["waivers"] = json!(waivers);
    }
    payload
}

/// Reference, type and annotations.
fn claims(image: &Image, accepted: &Accepted) -> (String, String, Map<String, Value>) {
    if let Some(statement) = accepted.verified.statement() {
        let annotations = statement.annotations().into_iter().map(|(k, v)| (k.to_owned(), v.clone())).collect();
        return (image.given.to_string(), statement.predicate_type.clone(), annotations);
    }
    let signed = match accepted.candidate.entity.content() {
        Content::Payload { payload, .. } => Payload::parse(payload).ok(),
        _ => None,
    };
    match signed {
        Some(payload) => {
            let optional = payload.optional.unwrap_or_default().into_iter().collect();
            (payload.critical.identity.docker_reference, payload.critical.kind, optional)
        }
        None => (image.given.to_string(), PAYLOAD_TYPE.to_owned(), Map::new()),
    }
}

/// What the certificate says, by object identifier and by cosign's names.
fn signer(verified: &Verified, optional: &mut Map<String, Value>) {
    let Some(certificate) = verified.certificate() else { return };
    for (extension, value) in certificate.claims().extensions.iter() {
        // cosign prints Fulcio's first six only; the later ones repeat and extend them.
        if extension.is_bare() {
            optional.insert(extension.oid().to_string(), json!(value));
        }
    }
    for (extension, name) in NAMED {
        if let Some(value) = certificate.claim(*extension) {
            optional.insert((*name).to_owned(), json!(value));
        }
    }
    optional.insert("Issuer".to_owned(), json!(certificate.issuer()));
    optional.insert("Subject".to_owned(), json!(certificate.name()));
}

/// The log entry and the timestamp, as legacy layers carry them.
fn evidence(entity: &SignedEntity, optional: &mut Map<String, Value>) {
    let promised = entity.log_entries().iter().find_map(|entry| {
        Some(RekorBundle {
            signed_entry_timestamp: entry.inclusion_promise.as_ref()?.signed_entry_timestamp.clone(),
            payload: RekorPayload {
                body: entry.canonicalized_body.clone(),
                integrated_time: entry.integrated_time.0,
                log_index: entry.log_index.0,
                log_id: entry.log_id.key_id.as_bytes().iter().map(|b| format!("{b:02x}")).collect(),
            },
        })
    });
    if let Some(bundle) = promised {
        optional.insert("Bundle".to_owned(), json!(bundle));
    }
    if let Some(timestamp) = entity.timestamps().first() {
        let timestamp = Rfc3161Timestamp { signed_rfc3161_timestamp: Base64(timestamp.clone()) };
        optional.insert("RFC3161Timestamp".to_owned(), json!(timestamp));
    }
}

/// The lines about what was checked on each of some signatures, and about what was not.
pub fn checks(accepted: &[Accepted], tally: Option<&Tally>, annotations_asked: bool) -> Vec<String> {
    let all = |ids: &[CheckId]| !accepted.is_empty() && accepted.iter().all(|a| ids.iter().any(|id| a.verified.has(*id)));
    let lines = [
        (annotations_asked, "The specified annotations were verified."),
        (all(&[CheckId::ClaimImage, CheckId::StatementSubject]), "The cosign claims were validated"),
        (
            all(&[CheckId::LogInclusion, CheckId::LogPromise]),
            "Existence of the claims in the transparency log was verified offline",
        ),
        (all(&[CheckId::LogWitness]), "The transparency log's tree was seen by the required witnesses"),
        (all(&[CheckId::TimeRfc3161]), "The time of signing was verified with a timestamp authority"),
        (all(&[CheckId::CertSct]), "The code-signing certificate was found in a Certificate Transparency log"),
        (all(&[CheckId::IdentityKey]), "The signatures were verified against the specified public key"),
        (
            all(&[CheckId::CertChain]),
            "The code-signing certificate was verified using trusted certificate authority certificates",
        ),
    ];
    let mut text: Vec<String> = lines.into_iter().filter(|(done, _)| *done).map(|(_, line)| line.to_owned()).collect();
    if let Some(tally) = tally.filter(|t| t.required > 1) {
        text.push(format!("{} of the {} required signers signed", tally.met.len(), tally.required));
    }
    let waived: BTreeMap<_, _> =
        accepted.iter().flat_map(|a| a.verified.waivers()).map(|waiver| (waiver.check, waiver.not_proven)).collect();
    text.extend(waived.into_values().map(|what| format!("NOT checked, as asked: {what}")));
    text
}
