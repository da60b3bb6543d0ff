//! Signed images in both formats: bundles, as clients write them now, and layers under `.sig` and `.att`, as cosign 2 wrote them.

use std::collections::BTreeMap;

use vidimus::{
    core::{
        bundle::{Bundle, TlogEntry},
        cosign::{Attachment, Layer, LayerKind, Payload, RekorBundle, RekorPayload},
        dsse::{Envelope, IN_TOTO_PAYLOAD, pae},
        encoding,
        intoto::{Subject, statement_v1},
        oci::BundleContent,
        reference::Reference,
    },
    net::{
        http::{Client, Config},
        keys::{EphemeralKey, SigningKey},
        oci::BundleAttachment,
        rekor::{RekorV1, Signed, Signer},
    },
};

use crate::sandbox::{Sandbox, block_on, registry, stack};

/// The predicate type of the attestations.
pub(crate) const TYPE: &str = "https://example.com/p";

/// How a signature is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Bundle,
    Legacy,
}

pub(crate) const FORMATS: [Format; 2] = [Format::Bundle, Format::Legacy];

/// Whether a signature gets a log entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logged {
    Yes,
    No,
}

/// Signs `what` and attaches the signature to `to`, with the annotation `team=red`.
pub(crate) fn sign(sandbox: &Sandbox, format: Format, what: &Reference, to: &Reference, logged: Logged) {
    match format {
        Format::Bundle => {
            let ran = sandbox.run(&format!("sign -y -a team=red --upload=false --bundle s.json {what}"));
            ran.exits(0);
            attach_bundle(to, &stripped(sandbox, "s.json", logged));
        }
        Format::Legacy => {
            let payload = payload(what);
            sandbox.file("payload", &payload);
            sandbox.run("sign-blob -y --signing-config signing_config_rekor_v1.v0.2.json --bundle s.json payload").exits(0);
            let bundle = stripped(sandbox, "s.json", logged);
            let signature = bundle.message_signature.as_ref().map(|m| m.signature.0.clone());
            let layer = Layer { signature, ..layer(&bundle, LayerKind::SimpleSigning) };
            attach_layer(to, Attachment::Signature, &layer, payload);
        }
    }
}

/// Attests something about `what` and attaches it to `to`.
pub(crate) fn attest(sandbox: &Sandbox, format: Format, what: &Reference, to: &Reference, logged: Logged) {
    sandbox.file("predicate", "{}");
    let config = "--signing-config signing_config_rekor_v1.v0.2.json";
    sandbox.run(&format!("attest -y {config} --type {TYPE} --predicate predicate --no-upload --bundle a.json {what}")).exits(0);
    let bundle = stripped(sandbox, "a.json", logged);
    match format {
        Format::Bundle => attach_bundle(to, &bundle),
        Format::Legacy => {
            let envelope = serde_json::to_vec(bundle.dsse_envelope.as_ref().unwrap()).unwrap();
            let layer = Layer { predicate_type: Some(TYPE.to_owned()), ..layer(&bundle, LayerKind::Dsse) };
            attach_layer(to, Attachment::Attestation, &layer, envelope);
        }
    }
}

/// Signs an image and attests something about it with a managed key; the key's name in the sandbox.
pub(crate) fn by_key(sandbox: &Sandbox, format: Format, image: &Reference, logged: Logged) -> &'static str {
    let key = EphemeralKey::generate().unwrap();
    sandbox.file("managed.pub", key.public_key_pem());
    let log = |signed: Signed<'_>| -> Vec<TlogEntry> {
        let rekor = RekorV1::new(Client::new(Config::default()), &stack().origin().parse().unwrap());
        let logged =
            (logged == Logged::Yes).then(|| block_on(rekor.log(signed, Signer::PublicKey(key.public_key_der()))).unwrap());
        logged.into_iter().collect()
    };
    for predicate in ["https://sigstore.dev/cosign/sign/v1", TYPE] {
        if format == Format::Legacy && predicate != TYPE {
            let payload = payload(image);
            let signature = key.sign(&payload).unwrap();
            let digest = vidimus::core::Digest::sha256(&payload);
            let entries = log(Signed::Artifact { digest: &digest, signature: &signature });
            let bundle = entries.first().map(rekor_bundle);
            let layer = Layer { signature: Some(signature), bundle, ..Layer::new(LayerKind::SimpleSigning) };
            attach_layer(image, Attachment::Signature, &layer, payload);
            continue;
        }
        let digest = image.digest().unwrap();
        let digest = BTreeMap::from([("sha256".to_owned(), digest.hex())]);
        let subject = Subject { name: String::new(), digest, annotations: None };
        let statement = statement_v1(&[subject], predicate, b"{}").unwrap();
        let signature = key.sign(&pae(IN_TOTO_PAYLOAD, &statement)).unwrap();
        let envelope = Envelope::new(IN_TOTO_PAYLOAD, statement, signature);
        let entries = log(Signed::Envelope(&envelope));
        if format == Format::Legacy {
            let layer = Layer { bundle: entries.first().map(rekor_bundle), ..Layer::new(LayerKind::Dsse) };
            attach_layer(image, Attachment::Attestation, &layer, serde_json::to_vec(&envelope).unwrap());
            continue;
        }
        let hint = encoding::encode(vidimus::core::digest::sha256(key.public_key_der()));
        let json = serde_json::json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": entries},
            "dsseEnvelope": envelope,
        });
        attach_bundle(image, &Bundle::from_json(&serde_json::to_vec(&json).unwrap()).unwrap());
    }
    "managed.pub"
}

fn payload(image: &Reference) -> Vec<u8> {
    let annotations = BTreeMap::from([("team".to_owned(), "red".to_owned())]);
    Payload::new(&image.repository().to_string(), image.digest().unwrap().clone(), &annotations).to_bytes()
}

fn stripped(sandbox: &Sandbox, name: &str, logged: Logged) -> Bundle {
    let mut bundle = Bundle::from_json(sandbox.read(name).as_bytes()).unwrap();
    if logged == Logged::No {
        bundle.verification_material.tlog_entries.clear();
    }
    bundle
}

/// The evidence of a bundle as annotations of a layer.
fn layer(bundle: &Bundle, kind: LayerKind) -> Layer {
    let certificate = bundle.verification_material.certificate.as_ref().unwrap();
    Layer {
        certificate: Some(encoding::pem("CERTIFICATE", &certificate.raw_bytes.0)),
        bundle: bundle.verification_material.tlog_entries.first().map(rekor_bundle),
        rfc3161_timestamp: bundle.timestamps().next().map(<[u8]>::to_vec),
        ..Layer::new(kind)
    }
}

fn rekor_bundle(entry: &TlogEntry) -> RekorBundle {
    RekorBundle {
        signed_entry_timestamp: entry.inclusion_promise.as_ref().unwrap().signed_entry_timestamp.clone(),
        payload: RekorPayload {
            body: entry.canonicalized_body.clone(),
            integrated_time: entry.integrated_time.0,
            log_index: entry.log_index.0,
            log_id: entry.log_id.key_id.as_bytes().iter().map(|b| format!("{b:02x}")).collect(),
        },
    }
}

fn attach_layer(to: &Reference, attachment: Attachment, layer: &Layer, content: Vec<u8>) {
    let digest = to.digest().unwrap();
    block_on(registry().attach_legacy(to.repository(), digest, attachment, "", layer, content.into())).unwrap();
}

pub(crate) fn attach_bundle(to: &Reference, bundle: &Bundle) {
    let attachment = BundleAttachment {
        bundle: bundle.to_json().into(),
        content: BundleContent::DsseEnvelope,
        predicate_type: None,
        created: "2026-01-01T00:00:00Z",
    };
    block_on(async {
        let registry = registry();
        let subject = registry.resolve(to).await.unwrap();
        registry.attach_bundle(to.repository(), &subject, &attachment).await.unwrap();
    });
}
