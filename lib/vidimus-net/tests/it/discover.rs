//! Finding what hangs off an image.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::http::Method;
use vidimus_core::{
    cosign::{Attachment, Layer, LayerKind},
    oci::{self, BUNDLE_V03, BundleContent, Descriptor, Document, INDEX, MANIFEST, Manifest, Raw, attachment_image},
};
use vidimus_net::oci::{
    ArtifactKind, Artifacts, BundleAttachment, Content, DiscoverOptions, Fetch, Location, ReferrersSource, TinyImage,
};

use crate::server::{Behaviour, Reply, Server, registry, registry_with};

pub(crate) fn bundle<'a>(content: &str, predicate_type: &'a str) -> BundleAttachment<'a> {
    BundleAttachment {
        bundle: content.to_owned().into(),
        content: BundleContent::DsseEnvelope,
        predicate_type: Some(predicate_type),
        created: "2026-01-01T00:00:00Z",
    }
}

pub(crate) const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

async fn server(behaviour: Behaviour) -> (Server, Descriptor) {
    let server = Server::start(behaviour).await;
    let image = TinyImage::new("f", b"content").unwrap().push(&registry(), &server.reference("app:v1")).await.unwrap();
    (server, image)
}

async fn discover(server: &Server, image: &Descriptor, options: &DiscoverOptions) -> Artifacts {
    registry().discover(&server.repository("app"), &image.digest, options).await
}

fn contents(artifacts: &Artifacts) -> BTreeSet<String> {
    artifacts.items.iter().filter_map(|a| a.content.as_ref()).map(|c| String::from_utf8(c.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn an_image_without_anything() {
    for referrers_api in [true, false] {
        let (server, image) = server(Behaviour { referrers_api, ..Behaviour::default() }).await;
        let artifacts = discover(&server, &image, &DiscoverOptions::default()).await;
        assert!(artifacts.items.is_empty() && artifacts.is_complete());
        assert_eq!(artifacts.has_api, Some(referrers_api));
    }
}

#[tokio::test]
async fn the_union_of_all_places() {
    let (server, image) = server(Behaviour { page: 1, ..Behaviour::default() }).await;
    let repository = server.repository("app");
    let client = registry_with(|o| o.settle = Some(Duration::from_millis(1)));
    client.attach_bundle(&repository, &image, &bundle("api", SIGN)).await.unwrap();
    client.attach_bundle(&repository, &image, &bundle("api 2", SIGN)).await.unwrap();
    let signature = Layer { signature: Some(vec![1]), ..Layer::new(LayerKind::SimpleSigning) };
    for (attachment, layer, content) in
        [(Attachment::Signature, &signature, "sig"), (Attachment::Attestation, &Layer::new(LayerKind::Dsse), "att")]
    {
        client.attach_legacy(&repository, &image.digest, attachment, "", layer, content.into()).await.unwrap();
    }
    client.push_blob(&repository, &Content::bytes("sbom"), None).await.unwrap();
    let (sbom, _) = attachment_image(vec![Descriptor::of("text/spdx", b"sbom")]);
    server.put_tag("app", &Attachment::Sbom.tag(&image.digest, ""), MANIFEST, &sbom.bytes);
    // An entry in a fallback tag with the wrong type, as cosign wrote it, and one that nobody can read.
    let hidden = oci::BundleReferrer {
        bundle: Descriptor::of(BUNDLE_V03, b"tag"),
        subject: image.clone(),
        content: BundleContent::DsseEnvelope,
        predicate_type: None,
        created: "2026-01-01T00:00:00Z",
    }
    .manifest();
    client.push_blob(&repository, &Content::bytes("tag"), None).await.unwrap();
    server.put_tag("hidden", "x", MANIFEST, &hidden.bytes);
    server.script(Method::GET, &format!("/app/manifests/{}", hidden.digest), [Reply::ok(hidden.bytes.clone())]);
    let mut wrong = hidden.descriptor();
    wrong.artifact_type = Some(oci::EMPTY.into());
    let list = oci::merge_referrers(None, &[wrong]).unwrap();
    server.put_tag("app", &Attachment::Referrers.tag(&image.digest, ""), INDEX, &list);

    let artifacts = discover(&server, &image, &DiscoverOptions::default()).await;
    assert!(artifacts.is_complete(), "{:?}", artifacts.problems);
    assert_eq!(contents(&artifacts), BTreeSet::from(["api", "api 2", "sig", "att", "tag"].map(str::to_owned)));
    let kinds: Vec<ArtifactKind> = artifacts.items.iter().map(|a| a.found.kind).collect();
    use ArtifactKind::{Attestation, Bundle, Sbom, Signature};
    assert_eq!(kinds, [Bundle, Bundle, Bundle, Attestation, Sbom, Signature]);
    let again = discover(&server, &image, &DiscoverOptions::default()).await;
    assert_eq!(artifacts.items, again.items, "always in the same order");
}

#[tokio::test]
async fn what_several_lists_name_is_one_artifact() {
    let (server, image) = server(Behaviour::default()).await;
    let client = registry();
    let attached = client.attach_bundle(&server.repository("app"), &image, &bundle("b", SIGN)).await.unwrap();
    let list = oci::merge_referrers(None, &[attached.manifest.clone(), attached.manifest]).unwrap();
    server.put_tag("app", &Attachment::Referrers.tag(&image.digest, ""), INDEX, &list);
    let artifacts = discover(&server, &image, &DiscoverOptions::default()).await;
    assert_eq!(artifacts.items.len(), 1);
    let both = [Location::Referrer(ReferrersSource::Api), Location::Referrer(ReferrersSource::FallbackTag)];
    assert_eq!(artifacts.items[0].found.locations, both);
    assert_eq!(artifacts.items[0].found.predicate_type(), Some(SIGN));
}

#[tokio::test]
async fn a_hundred_referrers_need_each_blob_once() {
    let (server, image) = server(Behaviour { latency: Duration::from_millis(5), ..Behaviour::default() }).await;
    let repository = server.repository("app");
    let client = registry();
    for n in 0..100 {
        client.attach_bundle(&repository, &image, &bundle(&format!("bundle {}", n % 90), SIGN)).await.unwrap();
    }
    let before = server.log().len();
    let artifacts = discover(&server, &image, &DiscoverOptions::default()).await;
    assert!(artifacts.is_complete(), "{:?}", artifacts.problems);
    let log = server.log().split_off(before);
    let manifests = artifacts.items.len();
    let blobs = log.iter().filter(|s| s.method == Method::GET && s.target.contains("/blobs/")).count();
    assert_eq!((manifests, blobs), (90, 90), "the same bundle at the same time is the same manifest");
    // One ping, the API, four tags, then each manifest and each blob once.
    assert_eq!(log.len(), 1 + 5 + 90 + 90);
}

#[tokio::test]
async fn one_blob_in_several_manifests_is_fetched_once() {
    let (server, image) = server(Behaviour::default()).await;
    for predicate in ["a", "b", "c"] {
        registry().attach_bundle(&server.repository("app"), &image, &bundle("same", predicate)).await.unwrap();
    }
    let artifacts = discover(&server, &image, &DiscoverOptions::default()).await;
    assert_eq!(artifacts.items.len(), 3);
    assert!(artifacts.items.iter().all(|a| a.content.as_deref() == Some(b"same")));
    assert_eq!(server.requests(Method::GET, "/blobs/"), 1);
}

#[tokio::test]
async fn only_what_is_wanted_is_fetched() {
    let (server, image) = server(Behaviour::default()).await;
    for (content, predicate) in [("signature", SIGN), ("a huge sbom", "https://spdx.dev/Document")] {
        registry().attach_bundle(&server.repository("app"), &image, &bundle(content, predicate)).await.unwrap();
    }
    let mut options = DiscoverOptions::default();
    options.fetch = Fetch::Chosen(Arc::new(|found| found.predicate_type() == Some(SIGN)));
    let artifacts = discover(&server, &image, &options).await;
    assert_eq!((artifacts.items.len(), contents(&artifacts).len()), (2, 1));
    let listing = discover(&server, &image, &DiscoverOptions::listing()).await;
    assert_eq!((listing.items.len(), contents(&listing).len()), (2, 0));
    assert!(listing.items.iter().all(|a| a.found.layer.is_some()));
    assert_eq!(server.requests(Method::GET, "/blobs/"), 1);
}

#[tokio::test]
async fn foreign_referrers_are_listed_and_looked_into_on_request() {
    let (server, image) = server(Behaviour::default()).await;
    let repository = server.repository("app");
    registry().push_blob(&repository, &Content::bytes("{}"), None).await.unwrap();
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST.into()),
        config: Descriptor::of(oci::EMPTY, b"{}"),
        layers: vec![Descriptor::of("application/json", b"{}")],
        annotations: Default::default(),
        subject: Some(image.clone()),
        artifact_type: Some("application/x-notes".into()),
    };
    let manifest = Raw::write(MANIFEST, manifest);
    registry().push_referrer(&repository, &image, &manifest).await.unwrap();
    let plain = discover(&server, &image, &DiscoverOptions::default()).await;
    assert!(plain.items.len() == 1 && plain.items[0].found.layer.is_none() && plain.items[0].found.kind == ArtifactKind::Other);
    let listing = discover(&server, &image, &DiscoverOptions::listing()).await;
    assert_eq!(listing.items[0].found.artifact_type, "application/x-notes");
    assert!(listing.items[0].found.layer.is_some());
}

#[tokio::test]
async fn a_blob_or_a_manifest_that_cannot_be_had_is_a_problem() {
    for (place, reply) in [
        ("/blobs/", Reply::status(404)),
        ("/blobs/", Reply::status(429)),
        ("/blobs/", Reply::ok("something else")),
        ("/manifests/sha256:", Reply::status(404)),
        ("/manifests/sha256:", Reply::status(500)),
    ] {
        let (server, image) = server(Behaviour::default()).await;
        registry().attach_bundle(&server.repository("app"), &image, &bundle("b", SIGN)).await.unwrap();
        server.script(Method::GET, place, [reply.clone()]);
        let artifacts = discover(&server, &image, &DiscoverOptions::default()).await;
        assert_eq!((artifacts.problems.len(), contents(&artifacts).len()), (1, 0), "{place} {reply:?}");
    }
}

#[tokio::test]
async fn limits_on_what_is_fetched() {
    let (server, image) = server(Behaviour::default()).await;
    for content in ["0123456789", "abcdefghij", "x"] {
        registry().attach_bundle(&server.repository("app"), &image, &bundle(content, SIGN)).await.unwrap();
    }
    let mut options = DiscoverOptions::default();
    options.blob_limit = 9;
    let artifacts = discover(&server, &image, &options).await;
    assert_eq!((artifacts.problems.len(), contents(&artifacts)), (2, BTreeSet::from(["x".to_owned()])));
    let mut options = DiscoverOptions::default();
    options.total_limit = 11;
    let artifacts = discover(&server, &image, &options).await;
    assert_eq!((artifacts.problems.len(), contents(&artifacts).len()), (1, 2));
}

#[tokio::test]
async fn a_tag_that_holds_something_else_is_a_problem_not_a_list() {
    let (server, image) = server(Behaviour::default()).await;
    let bytes = TinyImage::new("f", b"content").unwrap().manifest.bytes;
    server.put_tag("app", &Attachment::Referrers.tag(&image.digest, ""), MANIFEST, &bytes);
    let index = oci::merge_referrers(None, &[]).unwrap();
    assert!(matches!(Raw::parse(index.clone(), None).unwrap().value, Document::Index(_)));
    server.put_tag("app", &Attachment::Signature.tag(&image.digest, ""), INDEX, &index);
    let artifacts = discover(&server, &image, &DiscoverOptions::default()).await;
    assert_eq!(artifacts.problems.len(), 2);
}

#[tokio::test]
async fn signatures_kept_in_another_repository_and_under_a_prefix() {
    let (server, image) = server(Behaviour::default()).await;
    let store = server.repository("signatures");
    let client = registry_with(|o| o.settle = Some(Duration::from_millis(1)));
    let layer = Layer { signature: Some(vec![1]), ..Layer::new(LayerKind::SimpleSigning) };
    client.attach_legacy(&store, &image.digest, Attachment::Signature, "p-", &layer, "sig".into()).await.unwrap();
    assert!(discover(&server, &image, &DiscoverOptions::default()).await.items.is_empty());
    let mut options = DiscoverOptions::default();
    options.repository = Some(store);
    options.tag_prefix = "p-".into();
    let artifacts = discover(&server, &image, &options).await;
    assert_eq!(contents(&artifacts), BTreeSet::from(["sig".to_owned()]));
}
