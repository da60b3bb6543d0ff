//! An image in a registry: its manifest, and every signature and statement that hangs off it.

use vidimus_core::{Reference, oci::Descriptor};
use vidimus_net::oci::{Artifact, DiscoverOptions, Found, OciError, Registry};

use super::{Document, Inspection, Kind, documents, expand::expand, oci, value::Value};

/// Reads an image and what hangs off it. What could not be read is among the inspection's problems.
pub async fn image(registry: &Registry, reference: &Reference, options: &DiscoverOptions) -> Result<Inspection, OciError> {
    let manifest = registry.manifest(reference).await?;
    let repository = reference.repository();
    let mut inspection = Inspection::new(reference.to_string(), Vec::new());
    inspection.add(format!("{repository}@{}", manifest.digest), documents(&manifest.bytes, None));
    let artifacts = registry.discover(repository, &manifest.digest, options).await;
    for artifact in &artifacts.items {
        attached(artifact, &format!("{}@{}", artifacts.repository, artifact.found.manifest.digest), &mut inspection);
    }
    inspection.problems.extend(artifacts.problems.iter().map(ToString::to_string));
    Ok(inspection)
}

/// One artifact: the descriptor that carries or names it, and its content as far as it was fetched.
fn attached(artifact: &Artifact, manifest: &str, inspection: &mut Inspection) {
    let Found { locations, layer, .. } = &artifact.found;
    let locations: Vec<_> = locations.iter().map(ToString::to_string).collect();
    let place = format!("{manifest} ({})", locations.join(", "));
    // A bundle carries its own evidence; everything else says less than its descriptor does.
    let evidence_inside = matches!(artifact.found.kind, vidimus_net::oci::ArtifactKind::Bundle);
    if !evidence_inside || artifact.content.is_none() {
        let shown = descriptor(layer.as_ref().unwrap_or(&artifact.found.manifest));
        inspection.add(place.clone(), shown.map(|content| vec![Document::new(Kind::Descriptor, content)]));
    }
    if let Some(content) = &artifact.content {
        inspection.add(place, documents(content, None));
    }
}

fn descriptor(descriptor: &Descriptor) -> Result<Value, vidimus_core::ParseError> {
    let json = serde_json::to_vec(descriptor).map_err(|e| vidimus_core::ParseError::new("descriptor", e))?;
    let mut value = Value::from_json("descriptor", &json, &[])?;
    expand(&mut value, oci::DESCRIPTOR);
    Ok(value)
}
