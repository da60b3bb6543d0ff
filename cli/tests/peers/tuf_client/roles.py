"""Delegated roles: their names, their keys, their documents; hash bins (TAP 15)."""

from world import *


def role_named(what, name, accepted=True):
    def run(w):
        w.delegate("targets", name, key("odd role"), paths=["d/*"])
        w.add("d/x", b"x", name)
        w.publish()
        w.init()
        w.refresh(True, 1, 1, 1, 1)
        w.download(accepted, "d/x")
        w.download(accepted, "d/x")
        assert not (w.home / OURS / "outside.json").exists()
    run.__name__ = f"role_named_{what}"
    case(run)


for what, name in {
    "blank": "a role", "slash": "a/b", "up": "../outside", "percent": "a%2Fb", "question_mark": "a?b", "hash": "a#b", "unicode": "é😀",
    "dot": ".", "dots": "..", "json": "x.json", "number": "1", "versioned": "2.snapshot", "versioned_root": "2.root",
    "capitals": "ROLE", "like_a_target": "targets/x", "tilde": "a~b_c-d.e", "colon": "a:b", "lock": ".lock", "backslash": "a\\b",
}.items():
    role_named(what, name)


@case
def delegated_to_a_role_of_a_reserved_name(w):
    w.docs["targets"]["delegations"] = {"keys": {}, "roles": []}
    k = w.keys["snapshot"][0]
    w.docs["targets"]["delegations"]["keys"][k.id()] = k.value()
    w.docs["targets"]["delegations"]["roles"].append({"name": "snapshot", "keyids": [k.id()], "threshold": 1, "terminating": False, "paths": ["*"]})
    w.publish()
    w.init()
    w.download(False, "x")
    w.refresh(False, 1, 1, 1, 0)


@case
def delegated_to_a_role_without_a_name(w):
    w.delegate("targets", "", key("odd role"), paths=["d/*"])
    w.publish()
    w.init()
    w.refresh(False, 1, 1, 1, 0)


@case
def delegated_threshold(w):
    a, b = key("da"), key("db")
    w.delegate("targets", "role1", a, b, threshold=2, paths=["d/*"])
    w.add("d/x", b"x", "role1")
    w.keys["role1"] = [a]
    w.publish()
    w.init()
    w.download(False, "d/x")
    w.keys["role1"] = [b, a]
    w.publish("role1", "snapshot", "timestamp")
    w.download(True, "d/x")


@case
def delegated_one_key_by_two_ids(w):
    k = key("da")
    w.delegate("targets", "role1", k, threshold=2, paths=["d/*"])
    block = w.docs["targets"]["delegations"]
    block["keys"]["another"] = k.value()
    block["roles"][0]["keyids"].append("another")
    w.keys["role1"] = [k, ("another", k)]
    w.add("d/x", b"x", "role1")
    w.publish()
    w.init()
    w.download(False, "d/x")


@case
def delegated_by_a_stranger(w):
    w.delegate("targets", "role1", paths=["d/*"])
    w.keys["role1"] = [key("stranger")]
    w.add("d/x", b"x", "role1")
    w.publish()
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    w.download(False, "d/x")
    w.download(True, "file.txt")


@case
def delegated_expired(w):
    w.delegate("targets", "role1", paths=["d/*"])
    w.docs["role1"]["expires"] = PAST
    w.add("d/x", b"x", "role1")
    w.publish()
    w.init()
    w.download(False, "d/x")


@case
def delegated_missing_from_snapshot(w):
    w.delegate("targets", "role1", paths=["d/*"])
    w.add("d/x", b"x", "role1")
    w.publish()
    del w.docs["snapshot"]["meta"]["role1.json"]
    w.seal()
    w.init()
    w.download(False, "d/x")


@case
def delegated_missing_from_snapshot_ends_the_search(w):
    w.delegate("targets", "first", paths=["d/*"])
    w.delegate("targets", "second", paths=["d/*"])
    w.add("d/x", b"x", "second")
    w.publish()
    del w.docs["snapshot"]["meta"]["first.json"]
    w.seal()
    w.init()
    w.download(False, "d/x")


@case
def delegated_not_served_ends_the_search(w):
    w.delegate("targets", "first", paths=["d/*"])
    w.delegate("targets", "second", paths=["d/*"])
    w.add("d/x", b"x", "second")
    w.publish()
    del w.files["metadata/1.first.json"]
    w.init()
    w.download(False, "d/x")


@case
def delegated_of_another_version(w):
    w.pins = False
    w.delegate("targets", "role1", paths=["d/*"])
    w.add("d/x", b"x", "role1")
    w.publish()
    w.docs["snapshot"]["meta"]["role1.json"]["version"] = 2
    w.put("metadata/2.role1.json", w.files["metadata/1.role1.json"])
    w.seal()
    w.init()
    w.download(False, "d/x")


@case
def delegated_with_a_wrong_hash(w):
    w.delegate("targets", "role1", paths=["d/*"])
    w.add("d/x", b"x", "role1")
    w.publish()
    w.docs["snapshot"]["meta"]["role1.json"]["hashes"]["sha256"] = "00" * 32
    w.seal()
    w.init()
    w.download(False, "d/x")


@case
def delegated_twice_by_one_role(w):
    w.delegate("targets", "role1", key("one"), paths=["d/*"])
    w.delegate("targets", "role1", key("other"), paths=["e/*"])
    w.publish()
    w.init()
    w.refresh(False, 1, 1, 1, 0)


@case
def delegated_by_two_with_different_keys(w):
    w.delegate("targets", "a", paths=["a/*"])
    w.delegate("targets", "b", paths=["b/*"])
    w.delegate("a", "shared", key("of a"), paths=["*/x"])
    w.delegate("b", "shared", key("of b"), paths=["*/x"])
    w.keys["shared"] = [key("of a")]
    w.add("a/x", b"a", "shared")
    w.add("b/x", b"b", "shared")
    w.publish()
    w.init()
    w.download(True, "a/x")
    w.download(False, "b/x")
    w.download(False, "a/x", "b/x")


@case
def delegated_keys_change(w):
    w.delegate("targets", "role1", key("old"), paths=["d/*"])
    w.add("d/x", b"x", "role1")
    w.publish()
    w.init()
    w.download(True, "d/x")
    block = w.docs["targets"]["delegations"]
    block["keys"][key("new").id()] = key("new").value()
    block["roles"][0]["keyids"] = [key("new").id()]
    w.publish("targets", "snapshot", "timestamp")
    w.download(False, "d/x")
    w.keys["role1"] = [key("new")]
    w.publish("role1", "snapshot", "timestamp")
    w.download(True, "d/x")


@case
def delegated_with_an_unknown_keytype_beside_a_good_one(w):
    w.delegate("targets", "role1", paths=["d/*"])
    block = w.docs["targets"]["delegations"]
    block["keys"]["x"] = {"keytype": "future", "scheme": "future", "keyval": {"public": "x"}}
    block["roles"][0]["keyids"].append("x")
    w.add("d/x", b"x", "role1")
    w.publish()
    w.init()
    w.download(True, "d/x")


@case
def delegated_without_consistent_snapshots(w):
    w.root["consistent_snapshot"] = False
    w.put_root()
    w.delegate("targets", "a/b", paths=["d/*"])
    w.add("d/x", b"x", "a/b")
    w.publish()
    w.init()
    w.download(True, "d/x")
    w.publish("a/b", "snapshot", "timestamp")
    w.download(True, "d/x")


@case
def delegations_null(w):
    w.docs["targets"]["delegations"] = {"keys": {}, "roles": []}
    w.publish()
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    w.download(False, "x")


def succinct(bits, prefix="bin"):
    def run(w):
        k = key("bins")
        w.docs["targets"]["delegations"] = {"keys": {k.id(): k.value()}, "succinct_roles": {"keyids": [k.id()], "threshold": 1, "bit_length": bits, "name_prefix": prefix}}
        names = [f"path/to/{i}" for i in range(4)]
        for name in names:
            number = int(sha256(name.encode())[:8], 16) >> (32 - bits)
            role = f"{prefix}-{number:0{len(f'{2**bits - 1:x}')}x}"
            if role not in w.docs:
                w.docs[role] = fresh("targets", targets={})
                w.keys[role] = [k]
            w.add(name, name.encode(), role)
        w.publish()
        w.init()
        w.refresh(True, 1, 1, 1, 1)
        w.download(True, *names)
        w.download(False, "path/to/absent")
        role = next(role for role in w.docs if role.startswith(prefix + "-"))
        w.keys[role] = [key("stranger")]
        w.publish(role, "snapshot", "timestamp")
        w.download(False, *names)
    run.__name__ = f"succinct_{bits}"
    case(run)


for bits in (1, 4, 9, 32):
    succinct(bits)


for what, change in {
    "bits_0": {"bit_length": 0}, "bits_33": {"bit_length": 33}, "threshold_0": {"threshold": 0}, "no_prefix": {"name_prefix": None},
}.items():
    def bad_bins(w, change=change):
        k = key("bins")
        rule = {"keyids": [k.id()], "threshold": 1, "bit_length": 1, "name_prefix": "bin", **change}
        w.docs["targets"]["delegations"] = {"keys": {k.id(): k.value()}, "succinct_roles": rule}
        w.publish()
        w.init()
        w.refresh(False, 1, 1, 1, 0)
    bad_bins.__name__ = f"succinct_{what}"
    case(bad_bins)


@case
def succinct_beside_roles(w):
    k = key("bins")
    w.delegate("targets", "role1", paths=["*"])
    w.docs["targets"]["delegations"]["keys"][k.id()] = k.value()
    w.docs["targets"]["delegations"]["succinct_roles"] = {"keyids": [k.id()], "threshold": 1, "bit_length": 1, "name_prefix": "bin"}
    w.publish()
    w.init()
    w.refresh(False, 1, 1, 1, 0)
