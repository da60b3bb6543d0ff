//! Delegated targets (§5.6.7): who may speak for which names, and what names may do.

use super::*;

#[test]
fn delegations_are_searched_in_order_and_by_their_own_keys() {
    let mut repo = Repo::new();
    repo.delegate("targets", "first", 10, json!({"paths": ["dir/*.txt"]}));
    repo.delegate("targets", "second", 11, json!({"paths": ["dir/*", "other/?.bin"]}));
    repo.delegate("second", "third", 12, json!({"paths": ["dir/deep.*"]}));
    repo.add_target("first", "dir/a.txt", b"first");
    repo.add_target("second", "dir/a.txt", b"second");
    repo.add_target("second", "dir/b.json", b"second");
    repo.add_target("second", "other/1.bin", b"second");
    repo.add_target("second", "other/12.bin", b"not its to give");
    repo.add_target("first", "outside.txt", b"not its to give");
    repo.add_target("third", "dir/deep.json", b"third");
    repo.add_target("third", "dir/b.txt", b"not its to give");
    repo.publish();
    for (name, content) in
        [("dir/a.txt", "first"), ("dir/b.json", "second"), ("other/1.bin", "second"), ("dir/deep.json", "third")]
    {
        assert_eq!(repo.get(name).unwrap(), content.as_bytes(), "{name}");
    }
    for name in ["outside.txt", "other/12.bin", "dir/b.txt", "dir/sub/a.txt"] {
        assert!(matches!(repo.get(name), Err(TufError::NoTarget { .. })), "{name}");
    }
    for role in ["first", "second", "third"] {
        assert_eq!(repo.trusted(&format!("{role}.json")), repo.read(&format!("1.{role}.json")));
    }
    // A delegated role signed by somebody else's key.
    repo.doc("first").seeds = vec![11];
    repo.bump(&["first", "snapshot", "timestamp"]);
    assert!(repo.get("dir/a.txt").unwrap_err().to_string().contains("threshold"));
}

#[test]
fn a_terminating_delegation_ends_the_search() {
    let mut repo = Repo::new();
    repo.delegate("targets", "first", 10, json!({"paths": ["*.txt"], "terminating": true}));
    repo.delegate("targets", "second", 11, json!({"paths": ["*"]}));
    repo.add_target("second", "a.txt", b"second");
    repo.add_target("second", "a.bin", b"second");
    repo.publish();
    assert!(matches!(repo.get("a.txt"), Err(TufError::NoTarget { .. })));
    assert_eq!(repo.get("a.bin").unwrap(), b"second");
}

#[test]
fn bins_are_chosen_by_the_digest_of_the_name() {
    let mut repo = Repo::new();
    let (name, digest) = ("some/file.bin", hex::encode(sha256(b"some/file.bin")));
    repo.delegate("targets", "bin", 10, json!({"path_hash_prefixes": [digest[..2]]}));
    repo.delegate("targets", "other", 11, json!({"path_hash_prefixes": ["zz"]}));
    repo.add_target("bin", name, b"in the bin");
    repo.add_target("other", "else.bin", b"not its to give");
    repo.publish();
    assert_eq!(repo.get(name).unwrap(), b"in the bin");
    assert!(matches!(repo.get("else.bin"), Err(TufError::NoTarget { .. })));
}

#[test]
fn circles_and_long_chains_of_delegations_end() {
    let mut repo = Repo::new();
    repo.delegate("targets", "a", 10, json!({"paths": ["*"]}));
    repo.delegate("a", "b", 10, json!({"paths": ["*"]}));
    repo.delegate("b", "a", 10, json!({"paths": ["*"]}));
    repo.publish();
    assert!(matches!(repo.get("x"), Err(TufError::NoTarget { .. })));
    let mut repo = Repo::new();
    let mut parent = "targets".to_owned();
    for step in 0..60 {
        let child = format!("r{step}");
        repo.delegate(&parent, &child, 10, json!({"paths": ["*"]}));
        parent = child;
    }
    repo.add_target("r59", "x", b"too deep");
    repo.add_target("r20", "y", b"deep");
    repo.publish();
    assert!(matches!(repo.get("x"), Err(TufError::NoTarget { .. })));
    assert_eq!(repo.get("y").unwrap(), b"deep");
}

#[test]
fn odd_names_of_roles_and_targets_stay_inside() {
    let mut repo = Repo::new();
    for (role, seed) in [("../outside", 10), ("a/b", 11), ("dot.", 12)] {
        repo.delegate("targets", role, seed, json!({"paths": [format!("{seed}/*")]}));
        repo.add_target(role, &format!("{seed}/file"), role.as_bytes());
    }
    // A role that takes the name of a top-level one would overwrite it.
    repo.publish();
    for (role, seed) in [("../outside", 10), ("a/b", 11), ("dot.", 12)] {
        assert_eq!(repo.get(&format!("{seed}/file")).unwrap(), role.as_bytes(), "{role}");
    }
    for name in ["..%2Foutside.json", "a%2Fb.json", "dot..json"] {
        assert!(repo.metadata().join(name).is_file(), "{name}");
    }
    assert!(!repo.home.path().join("outside.json").exists());
    for (name, local) in [("file.txt", "file.txt"), ("dir/é", "dir%2F%C3%A9"), ("../x", "..%2Fx"), ("..", "%.."), ("", "%")] {
        assert_eq!(local_name(name), local);
    }
    for reserved in ["snapshot", ""] {
        let mut repo = Repo::new();
        repo.delegate("targets", reserved, 3, json!({"paths": ["*"]}));
        repo.write_role("targets");
        repo.doc("snapshot").signed["meta"] = json!({"targets.json": {"version": 1}});
        let pin = repo.write_role("snapshot");
        repo.doc("timestamp").signed["meta"] = json!({"snapshot.json": pin});
        repo.write_role("timestamp");
        assert!(repo.get("x").unwrap_err().to_string().contains("is no name for a delegated role"), "{reserved:?}");
    }
}

#[test]
fn a_role_that_cannot_be_had_ends_the_search() {
    // Those after it are trusted less: they do not speak in its place.
    for unpinned in [true, false] {
        let mut repo = Repo::new();
        repo.delegate("targets", "first", 10, json!({"paths": ["*"]}));
        repo.delegate("targets", "second", 11, json!({"paths": ["*"]}));
        repo.add_target("second", "x", b"second");
        repo.publish();
        match unpinned {
            true => drop(repo.doc("snapshot").signed["meta"].as_object_mut().unwrap().remove("first.json")),
            false => fs::remove_file(repo.dir.path().join("1.first.json")).unwrap(),
        }
        let pin = repo.write_role("snapshot");
        repo.doc("timestamp").signed["meta"] = json!({"snapshot.json": pin});
        repo.write_role("timestamp");
        assert!(repo.get("x").is_err());
    }
}

#[test]
fn delegated_roles_that_have_not_changed_are_not_fetched_again() {
    let mut repo = Repo::new();
    repo.delegate("targets", "first", 10, json!({"paths": ["*"]}));
    repo.add_target("first", "x", b"first");
    repo.publish();
    assert_eq!(repo.get("x").unwrap(), b"first");
    fs::remove_file(repo.dir.path().join("1.first.json")).unwrap();
    assert_eq!(repo.get("x").unwrap(), b"first");
}

#[test]
fn hash_bins_share_all_targets() {
    let mut repo = Repo::new();
    let bins = json!({"keyids": [id(10)], "threshold": 1, "bit_length": 4, "name_prefix": "bin"});
    repo.doc("targets").signed["delegations"] = json!({"keys": {id(10): key(10)}, "succinct_roles": bins});
    repo.add_role("bin-e", "targets", 10, "targets");
    repo.add_target("bin-e", "path/to/0", b"in its bin");
    repo.add_target("bin-e", "path/to/1", b"in another's");
    repo.publish();
    assert_eq!(repo.get("path/to/0").unwrap(), b"in its bin");
    assert!(repo.get("path/to/1").is_err());
    // Both ways of delegating at once, bits that are none.
    let delegations = repo.doc("targets").signed["delegations"].clone();
    for (field, value) in
        [("roles", json!([])), ("succinct_roles", json!({"keyids": [], "threshold": 1, "bit_length": 33, "name_prefix": "b"}))]
    {
        repo.doc("targets").signed["delegations"] = delegations.clone();
        repo.doc("targets").signed["delegations"][field] = value;
        repo.bump(&["targets", "snapshot", "timestamp"]);
        assert!(repo.refresh().unwrap_err().to_string().contains("malformed targets metadata"));
    }
}

/// Two roles delegate to one name with different keys, and the snapshot pins no digest.
#[test]
fn one_delegator_does_not_vouch_for_what_another_has_vouched_for() {
    let mut repo = Repo::new();
    for (delegator, seed, key) in [("a", 10, 20), ("b", 11, 21)] {
        repo.delegate("targets", delegator, seed, json!({"paths": [format!("{delegator}/*")]}));
        repo.delegate(delegator, "shared", key, json!({"paths": ["?/*"]}));
    }
    repo.doc("shared").seeds = vec![20];
    for name in ["a/x", "a/y", "b/x"] {
        repo.add_target("shared", name, b"of a");
    }
    repo.publish();
    repo.doc("snapshot").signed["meta"]["shared.json"] = json!({"version": 1});
    let pin = repo.write_role("snapshot");
    repo.doc("timestamp").signed["meta"] = json!({"snapshot.json": pin});
    repo.write_role("timestamp");

    let folder = repo.home.path().join("targets");
    let mut client = repo.client();
    block_on(client.refresh(now())).unwrap();
    let mut get = |name: &str| block_on(client.download(name, &folder, now()));
    get("a/x").unwrap();
    assert!(get("b/x").unwrap_err().to_string().contains("threshold"));
    // The holder of the other key serves its own.
    repo.doc("shared").seeds = vec![21];
    repo.add_target("shared", "a/y", b"of b");
    repo.write_role("shared");
    get("b/x").unwrap();
    assert!(get("a/y").unwrap_err().to_string().contains("threshold"));
}
