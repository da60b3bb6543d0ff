//! Moving content: uploads in pieces, mounts, tags, layouts.

use axum::http::Method;
use vidimus_core::oci::{Descriptor, INDEX, Index, Raw};
use vidimus_net::{
    http::Kind,
    oci::{Content, Layout, OciError, TinyImage},
};

use crate::server::{Behaviour, Reply, Server, registry};

#[tokio::test]
async fn a_large_file_goes_up_in_pieces_and_comes_down_whole() {
    let server = Server::start(Behaviour::default()).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large");
    let bytes: Vec<u8> = (0..(65 << 20)).map(|n: u32| n.to_le_bytes()[0] ^ n.to_le_bytes()[2]).collect();
    std::fs::write(&path, &bytes).unwrap();
    let content = Content::file(&path).await.unwrap();
    let repository = server.repository("app");
    registry().push_blob(&repository, &content, None).await.unwrap();
    assert_eq!(server.requests(Method::PATCH, "/uploads/"), 3);
    let mut down = Vec::new();
    registry().blob_to(&repository, &content.descriptor("x/y"), 1 << 30, &mut down).await.unwrap();
    assert!(down == bytes);
    registry().push_blob(&repository, &content, None).await.unwrap();
    assert_eq!(server.requests(Method::POST, "/uploads/"), 1, "what is there is not sent again");
}

#[tokio::test]
async fn a_broken_upload_starts_anew() {
    let server = Server::start(Behaviour::default()).await;
    let bytes = vec![7; (32 << 20) + 1];
    server.script(Method::PATCH, "/uploads/", [Reply::Real, Reply::status(500), Reply::Real]);
    registry().push_blob(&server.repository("app"), &Content::bytes(bytes.clone()), None).await.unwrap();
    assert_eq!(server.requests(Method::POST, "/uploads/"), 2);
    let back = registry().blob(&server.repository("app"), &Descriptor::of("x/y", &bytes), 1 << 30).await.unwrap();
    assert!(back == bytes);
}

#[tokio::test]
async fn mounting_sends_nothing() {
    let server = Server::start(Behaviour::default()).await;
    let (from, to) = (server.repository("from"), server.repository("to"));
    let content = Content::bytes("shared");
    registry().push_blob(&from, &content, None).await.unwrap();
    registry().push_blob(&to, &content, Some(&from)).await.unwrap();
    assert_eq!(server.requests(Method::PUT, "/to/blobs/"), 0);
    assert!(registry().blob_exists(&to, content.digest()).await.unwrap());
    let unknown = Content::bytes("unknown");
    registry().push_blob(&to, &unknown, Some(&from)).await.unwrap();
    assert!(registry().blob_exists(&to, unknown.digest()).await.unwrap(), "a mount that is not granted becomes an upload");
}

#[tokio::test]
async fn tags_over_several_pages() {
    let server = Server::start(Behaviour { page: 2, ..Behaviour::default() }).await;
    let image = TinyImage::new("f", b"x").unwrap();
    for tag in ["a", "b", "c", "d", "e"] {
        image.push(&registry(), &server.reference(&format!("app:{tag}"))).await.unwrap();
    }
    assert_eq!(registry().tags(&server.repository("app")).await.unwrap(), ["a", "b", "c", "d", "e"]);
    server.script(Method::GET, "/tags/list", [Reply::ok(r#"{"name":"app","tags":null}"#)]);
    assert!(registry().tags(&server.repository("app")).await.unwrap().is_empty());
}

#[tokio::test]
async fn deleting() {
    let server = Server::start(Behaviour::default()).await;
    let image = TinyImage::new("f", b"x").unwrap();
    let digest = image.push(&registry(), &server.reference("app:v1")).await.unwrap().digest;
    let reference = server.reference("app").with_digest(digest);
    assert!(registry().manifest_exists(&reference).await.unwrap());
    registry().delete_manifest(&reference).await.unwrap();
    assert!(!registry().manifest_exists(&reference).await.unwrap());
    assert_eq!(registry().delete_manifest(&reference).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_layout_with_an_index_is_pushed_children_first() {
    let server = Server::start(Behaviour::default()).await;
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::open_or_create(directory.path()).unwrap();
    let one = TinyImage::new("f", b"one").unwrap().write(&layout, None).unwrap();
    let two = TinyImage::new("f", b"two").unwrap().write(&layout, None).unwrap();
    let index = Index {
        schema_version: 2,
        media_type: Some(INDEX.into()),
        manifests: vec![one.clone(), two.clone()],
        annotations: Default::default(),
        subject: None,
        artifact_type: None,
    };
    let index = layout.put_blob(INDEX, &Raw::write(INDEX, index).bytes).unwrap();
    layout.list(index.clone(), Some("multi")).unwrap();
    let found = layout.find(Some("multi")).unwrap();
    let pushed = registry().push_layout(&layout, &found, &server.reference("app:multi")).await.unwrap();
    assert_eq!(pushed.digest, index.digest);
    let log = server.log();
    let puts: Vec<&str> =
        log.iter().filter(|s| s.method == Method::PUT && s.target.contains("/manifests/")).map(|s| s.target.as_str()).collect();
    assert!(puts.len() == 3 && puts[2].ends_with("/manifests/multi"), "{puts:?}");
    for child in [one, two] {
        registry().resolve(&server.reference("app").with_digest(child.digest)).await.unwrap();
    }
    let copy = Layout::open_or_create(directory.path().join("copy")).unwrap();
    let pulled = registry().pull_layout(&server.reference("app:multi"), &copy).await.unwrap();
    assert_eq!(copy.find(Some("multi")).unwrap().digest, pulled.digest);
    registry().push_layout(&copy, &pulled, &server.reference("again:multi")).await.unwrap();
    std::fs::remove_file(layout.blob_path(&TinyImage::new("f", b"two").unwrap().manifest.layers[0].digest)).unwrap();
    let error = registry().push_layout(&layout, &found, &server.reference("other:multi")).await.unwrap_err();
    assert!(matches!(error, OciError::Io { .. }), "a layout with a missing blob is not pushed");
}
