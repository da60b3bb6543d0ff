//! Roots (§5.2, §5.3): which is trusted first, and which may follow.

use super::*;

#[test]
fn a_root_that_does_not_sign_itself_is_not_trusted() {
    let repo = Repo::new();
    let before = repo.trusted("root.json");
    let file = repo.home.path().join("forged.json");
    for no_root in [&b""[..], b"{}", b"no JSON", br#"{"signed":{"_type":"targets"}}"#] {
        fs::write(&file, no_root).unwrap();
        assert!(trust_root(&repo.metadata(), &file).is_err());
    }
    assert!(trust_root(&repo.metadata(), &repo.home.path().join("none")).is_err());
    assert_eq!(repo.trusted("root.json"), before);
    // Kept on somebody's word, with a warning; nothing is built on it.
    fs::write(&file, sign(&repo.root.signed, &[2]).to_string()).unwrap();
    assert!(trust_root(&repo.metadata(), &file).unwrap().is_some_and(|flaw| flaw.to_string().contains("threshold")));
    let place = repo.dir.path().display().to_string();
    let opened = RepositoryClient::open(&Client::disabled(), &repo.metadata(), &place, None);
    assert!(opened.unwrap_err().to_string().contains("threshold"));
}

#[test]
fn roots_are_walked_one_by_one_and_stay_trusted_when_what_follows_fails() {
    let mut repo = Repo::new();
    repo.refresh().unwrap();
    repo.next_root(&[1], |_| {});
    repo.next_root(&[1, 5], |root| {
        root["keys"][id(5)] = key(5);
        root["roles"]["root"] = json!({"keyids": [id(5)], "threshold": 1});
    });
    repo.next_root(&[5], |_| {});
    repo.write("timestamp.json", "{");
    repo.refuses("cannot be trusted", [4, 1, 1, 1]);
    assert_eq!(repo.trusted("root.json"), repo.read("4.root.json"));
    repo.publish();
    repo.refresh().unwrap();
}

#[test]
fn roots_that_do_not_follow_are_refused() {
    // Not signed by the keys before it, not by its own, a wrong version in the file, a missing one in between.
    let mut repo = Repo::new();
    let rotate = |root: &mut Value| {
        root["keys"][id(5)] = key(5);
        root["roles"]["root"] = json!({"keyids": [id(5)], "threshold": 1});
    };
    for seeds in [&[5][..], &[1]] {
        repo.root.signed["version"] = json!(1);
        repo.next_root(seeds, rotate);
        repo.refuses("threshold", [1, 0, 0, 0]);
    }
    repo.write("2.root.json", repo.read("1.root.json"));
    repo.refuses("increment by one", [1, 0, 0, 0]);
    let mut repo = Repo::new();
    repo.next_root(&[1], |root| root["version"] = json!(3));
    fs::rename(repo.dir.path().join("3.root.json"), repo.dir.path().join("2.root.json")).unwrap();
    repo.refuses("increment by one", [1, 0, 0, 0]);
    fs::rename(repo.dir.path().join("2.root.json"), repo.dir.path().join("3.root.json")).unwrap();
    repo.refresh().unwrap();
    assert_eq!(repo.versions(), [1, 1, 1, 1], "version 3 is out of reach");
}

#[test]
fn an_expired_root_may_lie_on_the_way_but_not_at_its_end() {
    let mut repo = Repo::new();
    repo.next_root(&[1], |root| root["expires"] = json!(PAST));
    let error = repo.refresh().unwrap_err();
    assert!(matches!(&error, TufError::Expired { role, .. } if role == "root"), "{error}");
    assert_eq!(repo.versions(), [2, 0, 0, 0]);
    repo.next_root(&[1], |root| root["expires"] = json!(VALID));
    repo.refresh().unwrap();
}
