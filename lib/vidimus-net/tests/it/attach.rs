//! Hanging something off an image, alone and against others who do the same.

use std::{collections::BTreeSet, time::Duration};

use axum::http::Method;
use futures_util::future::join_all;
use vidimus_core::{
    cosign::{Attachment, Layer, LayerKind},
    oci::{self, BUNDLE_V03, Descriptor, INDEX, MANIFEST, ReferrerList},
};
use vidimus_net::{
    http::Kind,
    oci::{Attached, DiscoverOptions, OciError, Registry, TinyImage, Via},
};

use crate::{
    discover::{SIGN, bundle},
    server::{Behaviour, Reply, Server, registry_with},
};

fn without_api() -> Behaviour {
    Behaviour { referrers_api: false, ..Behaviour::default() }
}

/// A client that does not wait long for others.
fn hasty() -> Registry {
    registry_with(|o| o.settle = Some(Duration::from_millis(5)))
}

async fn server(behaviour: Behaviour) -> (Server, Descriptor) {
    let server = Server::start(behaviour).await;
    let image = TinyImage::new("f", b"content").unwrap().push(&hasty(), &server.reference("app:v1")).await.unwrap();
    (server, image)
}

fn fallback(server: &Server, image: &Descriptor) -> Option<ReferrerList> {
    let bytes = server.tag_bytes("app", &Attachment::Referrers.tag(&image.digest, ""))?;
    Some(ReferrerList::parse(&bytes).unwrap())
}

async fn attach(client: &Registry, server: &Server, image: &Descriptor, content: &str) -> Result<Attached, OciError> {
    client.attach_bundle(&server.repository("app"), image, &bundle(content, SIGN)).await
}

#[tokio::test]
async fn a_registry_with_the_api_gets_no_tag() {
    for oci_subject in [true, false] {
        let (server, image) = server(Behaviour { oci_subject, ..Behaviour::default() }).await;
        let attached = attach(&hasty(), &server, &image, "b").await.unwrap();
        assert_eq!(attached.via, Via::ReferrersApi);
        assert_eq!(fallback(&server, &image), None);
        let referrers = hasty().referrers(&server.repository("app"), &image.digest).await.unwrap();
        assert_eq!(referrers.entries, [attached.manifest]);
    }
}

#[tokio::test]
async fn a_registry_without_it_gets_a_right_entry() {
    let (server, image) = server(without_api()).await;
    let attached = attach(&hasty(), &server, &image, "b").await.unwrap();
    assert!(matches!(attached.via, Via::Tag { writes: 1, .. }));
    let entry = &fallback(&server, &image).unwrap().entries[0];
    assert_eq!(entry.artifact_type.as_deref(), Some(BUNDLE_V03));
    assert_eq!(entry.annotation(oci::BUNDLE_PREDICATE_TYPE), Some(SIGN));
    let again = attach(&hasty(), &server, &image, "b").await.unwrap();
    assert!(matches!(again.via, Via::Tag { writes: 0, .. }), "attaching the same again changes nothing");
}

#[tokio::test]
async fn a_wrong_entry_is_repaired() {
    let (server, image) = server(without_api()).await;
    let mut wrong = attach(&hasty(), &server, &image, "b").await.unwrap().manifest;
    wrong.artifact_type = Some(oci::EMPTY.into());
    wrong.annotations.clear();
    let list = oci::merge_referrers(None, &[wrong]).unwrap();
    server.put_tag("app", &Attachment::Referrers.tag(&image.digest, ""), INDEX, &list);
    let attached = attach(&hasty(), &server, &image, "b").await.unwrap();
    assert_eq!(fallback(&server, &image).unwrap().entries, [attached.manifest]);
}

#[tokio::test]
async fn when_it_is_not_known_whether_there_is_an_api_it_is_an_error() {
    for status in [401, 403, 405, 429, 500] {
        let (server, image) = server(Behaviour { oci_subject: false, ..Behaviour::default() }).await;
        server.script(Method::GET, "/referrers/", [Reply::status(status)]);
        assert!(attach(&hasty(), &server, &image, "b").await.is_err(), "{status}");
        assert_eq!(fallback(&server, &image), None);
    }
}

#[tokio::test]
async fn a_tag_in_use_is_left_alone() {
    let (server, image) = server(without_api()).await;
    let tag = Attachment::Referrers.tag(&image.digest, "");
    let other = TinyImage::new("f", b"other").unwrap().manifest.bytes;
    server.put_tag("app", &tag, MANIFEST, &other);
    let error = attach(&hasty(), &server, &image, "b").await.unwrap_err();
    assert!(matches!(error, OciError::TagInUse { .. }));
    assert_eq!(server.tag_bytes("app", &tag).unwrap(), other);
}

#[tokio::test]
async fn a_tag_that_cannot_be_read_is_not_overwritten() {
    for status in [401, 403, 429, 500] {
        let (server, image) = server(without_api()).await;
        attach(&hasty(), &server, &image, "first").await.unwrap();
        server.script(Method::GET, "/manifests/sha256-", [Reply::status(status)]);
        assert!(attach(&hasty(), &server, &image, "second").await.is_err());
        assert_eq!(fallback(&server, &image).unwrap().entries.len(), 1);
    }
}

#[tokio::test]
async fn a_registry_that_forgets_what_was_written_is_found_out() {
    let (server, image) = server(without_api()).await;
    server.script(Method::PUT, "/manifests/sha256-", [Reply::status(201)]);
    let error = attach(&hasty(), &server, &image, "b").await.unwrap_err();
    assert!(matches!(error, OciError::Lost { attempts: 20, .. }), "{error}");
    assert_eq!(error.kind(), Kind::Conflict);
}

/// Twenty clients that know nothing of each other, at once.
async fn twenty_at_once(behaviour: Behaviour) {
    let (server, image) = server(Behaviour { latency: Duration::from_millis(3), ..behaviour }).await;
    let names: BTreeSet<String> = (0..20).map(|n| format!("bundle {n}")).collect();
    let attached = join_all(names.iter().map(|name| async {
        let client = registry_with(|o| o.settle = Some(Duration::from_millis(100)));
        attach(&client, &server, &image, name).await.unwrap()
    }))
    .await;
    let artifacts = hasty().discover(&server.repository("app"), &image.digest, &DiscoverOptions::default()).await;
    let seen: BTreeSet<String> =
        artifacts.items.iter().filter_map(|a| a.content.as_ref()).map(|c| String::from_utf8(c.to_vec()).unwrap()).collect();
    assert_eq!(seen, names, "{:?}", attached.iter().map(|a| &a.via).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_at_once_where_the_registry_knows_no_conditions() {
    twenty_at_once(without_api()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_at_once_where_it_offers_etags_and_ignores_them() {
    twenty_at_once(Behaviour { etag: true, ..without_api() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_at_once_where_it_honours_conditions() {
    twenty_at_once(Behaviour { etag: true, honours_conditions: true, ..without_api() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_legacy_signatures_at_once() {
    let (server, image) = server(Behaviour { latency: Duration::from_millis(3), ..Behaviour::default() }).await;
    join_all((0..20_u8).map(|n| {
        let (server, image) = (&server, &image);
        async move {
            let client = registry_with(|o| o.settle = Some(Duration::from_millis(100)));
            let layer = Layer { signature: Some(vec![n]), ..Layer::new(LayerKind::SimpleSigning) };
            let repository = server.repository("app");
            client.attach_legacy(&repository, &image.digest, Attachment::Signature, "", &layer, "payload".into()).await.unwrap();
        }
    }))
    .await;
    let artifacts = hasty().discover(&server.repository("app"), &image.digest, &DiscoverOptions::default()).await;
    let signatures: BTreeSet<_> = artifacts
        .items
        .iter()
        .map(|a| Layer::parse(a.found.layer.as_ref().unwrap()).unwrap().unwrap().signature.unwrap())
        .collect();
    assert_eq!(signatures.len(), 20);
}
