"""Signatures, keys and ids (§4.2), and what a document may look like (§4.3 to §4.6)."""

from world import *


def with_signatures(name, accepted, make, threshold=1, keys=None):
    """A timestamp whose signatures `make` makes, under a root that asks for `threshold` of `keys`."""
    def run(w):
        if keys is not None:
            w.assign("timestamp", *keys(), threshold=threshold)
        w.root["roles"]["timestamp"]["threshold"] = threshold
        w.put_root()
        envelope = signed(w.docs["timestamp"], w.keys["timestamp"])
        envelope["signatures"] = make(w, envelope["signatures"])
        w.put("metadata/timestamp.json", json.dumps(envelope))
        w.init()
        w.refresh(accepted, *((1, 1, 1, 1) if accepted else (1, 0, 0, 0)))
    run.__name__ = name
    case(run)


def by(w, k, keyid=None):
    return {"keyid": keyid or k.id(), "sig": k.sign(canonical(w.docs["timestamp"])).hex()}


two = lambda: (key("ta"), key("tb"))
with_signatures("no_signature", False, lambda w, s: [])
with_signatures("signature_twice", False, lambda w, s: s + s)
with_signatures("signature_twice_threshold_2", False, lambda w, s: [s[0], s[0]], 2, two)
with_signatures("one_of_two", False, lambda w, s: s[:1], 2, two)
with_signatures("two_of_two", True, lambda w, s: s[::-1], 2, two)
with_signatures("stranger_first", True, lambda w, s: [by(w, key("stranger"))] + s)
with_signatures("stranger_last", True, lambda w, s: s + [by(w, key("stranger"))])
with_signatures("stranger_twice", False, lambda w, s: s + [by(w, key("stranger"))] * 2)
with_signatures("stranger_for_two", False, lambda w, s: s[:1] + [by(w, key("stranger"))], 2, two)
with_signatures("stranger_under_a_known_id", False, lambda w, s: [by(w, key("stranger"), w.keys["timestamp"][0].id())])
with_signatures("other_role", False, lambda w, s: [by(w, w.keys["snapshot"][0])])
with_signatures("empty_signature", False, lambda w, s: [{**s[0], "sig": ""}])
with_signatures("empty_signature_of_one_more", True, lambda w, s: [s[0], {**s[1], "sig": ""}], 1, two)
with_signatures("wrong_signature_of_one_more", True, lambda w, s: [{**s[0], "sig": "00" * 64}, s[1]], 1, two)
with_signatures("signature_is_not_hex", False, lambda w, s: [{**s[0], "sig": "zz"}])
with_signatures("not_hex_beside_a_good_one", True, lambda w, s: [{**s[0], "sig": "zz"}, s[1]], 1, two)
with_signatures("signature_in_capitals", True, lambda w, s: [{**s[0], "sig": s[0]["sig"].upper()}])
with_signatures("signature_odd_length", False, lambda w, s: [{**s[0], "sig": s[0]["sig"][:-1]}])
with_signatures("signature_with_extra_fields", True, lambda w, s: [{**s[0], "x-note": {"a": 1}}])
with_signatures("keyid_in_capitals", False, lambda w, s: [{**s[0], "keyid": s[0]["keyid"].upper()}])
with_signatures("signature_without_keyid", False, lambda w, s: [{"sig": s[0]["sig"]}])
with_signatures("signature_without_sig", False, lambda w, s: [{"keyid": s[0]["keyid"]}])
with_signatures("signatures_not_a_list", False, lambda w, s: {"0": s[0]})


def odd_root(name, accepted, change, after=None, extra=()):
    """A first root that `change` has changed before it was signed."""
    def run(w):
        change(w, w.root)
        w.put_root(*extra)
        w.publish()
        w.init()
        w.refresh(accepted, *((1, 1, 1, 1) if accepted else ()))
        if after:
            after(w)
    run.__name__ = name
    case(run)


def rename(w, keyid, role="timestamp"):
    k = w.keys[role][0]
    w.root["keys"][keyid] = w.root["keys"].pop(k.id())
    w.root["roles"][role]["keyids"] = [keyid]
    w.keys[role] = [(keyid, k)]


def one_key_by_two_ids(w, root):
    k = w.keys["timestamp"][0]
    root["keys"]["another"] = k.value()
    root["roles"]["timestamp"] = {"keyids": [k.id(), "another"], "threshold": 2}
    w.keys["timestamp"] = [k, ("another", k)]


def unknown_key(w, root, **fields):
    root["keys"]["unknown"] = {**key("x").value(), **fields}
    root["roles"]["timestamp"]["keyids"].append("unknown")


odd_root("keyid_is_just_a_name", True, lambda w, r: rename(w, "my key"))
odd_root("keyid_of_another_length", True, lambda w, r: rename(w, "abcd"))
odd_root("keyid_with_odd_characters", True, lambda w, r: rename(w, "é/\\\" \n"))
odd_root("keyid_empty", True, lambda w, r: rename(w, ""))
odd_root("one_key_by_two_ids", False, one_key_by_two_ids)
odd_root("unknown_keytype_beside_a_good_one", True, lambda w, r: unknown_key(w, r, keytype="future"))
odd_root("unknown_scheme_beside_a_good_one", True, lambda w, r: unknown_key(w, r, scheme="future"))
odd_root("unknown_keytype_nobody_uses", True, lambda w, r: r["keys"].update(x={"keytype": "f", "scheme": "f", "keyval": {"public": "f"}}))
odd_root("unknown_keyval_nobody_uses", True, lambda w, r: r["keys"].update(x={"keytype": "f", "scheme": "f", "keyval": {"other": 1}}))
odd_root("bad_key_beside_a_good_one", True, lambda w, r: unknown_key(w, r, keyval={"public": "zz"}))
odd_root("keytype_and_scheme_do_not_fit", False, lambda w, r: w.root["keys"][w.keys["timestamp"][0].id()].update(keytype="rsa"))
odd_root("keyid_that_is_not_in_keys", True, lambda w, r: r["roles"]["timestamp"]["keyids"].append("nobody"))
odd_root("key_with_extra_fields", True, lambda w, r: r["keys"][w.keys["root"][0].id()].update({"x-owner": "@ann", "keyid_hash_algorithms": ["sha256"]}))
odd_root("keyids_twice", False, lambda w, r: r["roles"]["timestamp"]["keyids"].append(w.keys["timestamp"][0].id()))
odd_root("threshold_0", False, lambda w, r: r["roles"]["timestamp"].update(threshold=0))
odd_root("threshold_negative", False, lambda w, r: r["roles"]["timestamp"].update(threshold=-1))
odd_root("threshold_is_text", False, lambda w, r: r["roles"]["timestamp"].update(threshold="1"))
odd_root("threshold_out_of_reach", False, lambda w, r: r["roles"]["timestamp"].update(threshold=9))
odd_root("no_keyids", False, lambda w, r: r["roles"]["timestamp"].update(keyids=[]))
odd_root("role_with_extra_fields", True, lambda w, r: r["roles"]["timestamp"].update({"x-note": [1, {"a": None}]}))
odd_root("role_mirrors", True, lambda w, r: r["roles"].update(mirrors={"keyids": [], "threshold": 1}))
odd_root("unknown_role", True, lambda w, r: r["roles"].update(future={"keyids": [], "threshold": 1}))
odd_root("root_with_extra_fields", True, lambda w, r: r.update({"x-note": {"b": [1, -2, True, None, ""], "a": "é\u2028😀\n\t\\\"\x7f"}}))
odd_root("root_without_version", False, lambda w, r: r.pop("version") and r.update(version="1"))
odd_root("root_of_version_0", False, lambda w, r: r.update(version=0) or w.put("metadata/1.root.json", json.dumps(signed(r, w.keys["root"]))))


def keys_of(name, accepted, kind, **fields):
    """Every role has a key of a kind, the way the fields describe it."""
    def run(w):
        w.root["keys"] = {}
        for role in w.keys:
            k = key(f"{name} {role}", kind)
            for field, value in fields.items():
                setattr(k, field, value)
            w.assign(role, k)
        w.put_root()
        w.publish()
        w.init()
        w.refresh(accepted, *((1, 1, 1, 1) if accepted else ()))
        w.download(accepted, "file.txt")
        w.delegate("targets", "role1", w.keys["root"][0], paths=["d/*"])
        w.add("d/x", b"x", "role1")
        w.publish("targets", "snapshot", "timestamp")
        w.download(accepted, "d/x")
        bad = json.loads(w.files["metadata/timestamp.json"])
        bad["signed"]["version"] += 1
        w.put("metadata/timestamp.json", json.dumps(bad))
        w.refresh(False)
    run.__name__ = name
    case(run)


keys_of("ed25519", True, "ed25519")
keys_of("ecdsa", True, "p256")
keys_of("ecdsa_old_keytype", True, "p256", keytype="ecdsa-sha2-nistp256")
keys_of("ecdsa_p384", True, "p384")
keys_of("ecdsa_p384_old_keytype", True, "p384", keytype="ecdsa-sha2-nistp384")
keys_of("ecdsa_p521", False, "p521")
keys_of("ecdsa_curve_is_not_the_schemes", False, "p384", scheme="ecdsa-sha2-nistp256")
keys_of("rsa_pss_256", True, "rsa")
keys_of("rsa_pss_384", True, "rsa", scheme="rsassa-pss-sha384")
keys_of("rsa_pss_512", True, "rsa", scheme="rsassa-pss-sha512")
keys_of("rsa_pkcs1v15_256", False, "rsa", scheme="rsa-pkcs1v15-sha256")


@case
def pem_with_other_line_ends(w):
    k = key("crlf", "p256")
    k.public = k.public.replace("\n", "\r\n")
    w.assign("timestamp", k)
    w.put_root()
    w.publish()
    w.init()
    w.refresh(True, 1, 1, 1, 1)


@case
def rsa_salt_of_another_length(w):
    k = key("salt", "rsa")
    w.assign("timestamp", k)
    w.put_root()
    data = canonical(w.docs["timestamp"])
    sig = k.private.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH), hashes.SHA256())
    w.put("metadata/timestamp.json", json.dumps({"signatures": [{"keyid": k.id(), "sig": sig.hex()}], "signed": w.docs["timestamp"]}))
    w.init()
    w.refresh(False, 1, 0, 0, 0)


def odd_document(name, accepted, role, change, versions=None):
    """A role whose document `change` has changed before it was signed; everything else fits it."""
    def run(w):
        change(w.docs[role])
        if role == "timestamp":
            w.put("metadata/timestamp.json", json.dumps(signed(w.docs[role], w.keys[role])))
        else:
            w.publish()
        w.init()
        before = {"timestamp": (1, 0, 0, 0), "snapshot": (1, 1, 0, 0), "targets": (1, 1, 1, 0)}[role]
        w.refresh(accepted, *(versions or ((1, 1, 1, 1) if accepted else before)))
    run.__name__ = name
    case(run)


def odd_pin(name, accepted, **fields):
    odd_document(f"timestamp_pins_{name}", accepted, "timestamp", lambda d: d["meta"]["snapshot.json"].update(fields) or prune(d), None if accepted else (1, 1, 0, 0))


def prune(document):
    pin = document["meta"]["snapshot.json"]
    for field in [field for field in pin if pin[field] == "DROP"]:
        del pin[field]


for role in ("timestamp", "snapshot", "targets"):
    odd_document(f"{role}_of_another_type", False, role, lambda d: d.update(_type="root"))
    odd_document(f"{role}_without_type", False, role, lambda d: d.pop("_type"))
    odd_document(f"{role}_expired", False, role, lambda d: d.update(expires=PAST))
    odd_document(f"{role}_with_extra_fields", True, role, lambda d: d.update({"x": {"z": [1, {}], "a": "é😀\"\\\n"}, "": None}))
    odd_document(f"{role}_without_expires", False, role, lambda d: d.pop("expires"))
odd_document("timestamp_of_spec_1_1", True, "timestamp", lambda d: d.update(spec_version="1.1"))
odd_document("timestamp_of_spec_1_99_99", True, "timestamp", lambda d: d.update(spec_version="1.99.99"))
odd_document("timestamp_of_spec_2_0_0", False, "timestamp", lambda d: d.update(spec_version="2.0.0"))
odd_document("timestamp_of_spec_0_9_0", False, "timestamp", lambda d: d.update(spec_version="0.9.0"))
odd_document("timestamp_of_spec_10_0_0", False, "timestamp", lambda d: d.update(spec_version="10.0.0"))
odd_document("timestamp_of_spec_1", False, "timestamp", lambda d: d.update(spec_version="1"))
odd_document("timestamp_of_spec_1_x", False, "timestamp", lambda d: d.update(spec_version="1.x.0"))
odd_document("timestamp_of_spec_empty", False, "timestamp", lambda d: d.update(spec_version=""))
odd_document("timestamp_of_spec_number", False, "timestamp", lambda d: d.update(spec_version=1))
odd_document("timestamp_without_spec", False, "timestamp", lambda d: d.pop("spec_version"))
odd_document("snapshot_of_spec_2", False, "snapshot", lambda d: d.update(spec_version="2.0.0"))
odd_document("timestamp_of_version_0", False, "timestamp", lambda d: d.update(version=0))
odd_document("timestamp_of_version_negative", False, "timestamp", lambda d: d.update(version=-1))
odd_document("timestamp_of_version_text", False, "timestamp", lambda d: d.update(version="1"))
odd_document("timestamp_of_version_huge", True, "timestamp", lambda d: d.update(version=2**53 + 1), (1, 2**53 + 1, 1, 1))
odd_document("snapshot_of_version_0", False, "snapshot", lambda d: d.update(version=0), (1, 0, 0, 0))
odd_document("targets_of_version_0", False, "targets", lambda d: d.update(version=0), (1, 1, 0, 0))
odd_document("expires_with_a_fraction", False, "timestamp", lambda d: d.update(expires=VALID.replace("Z", ".5Z")))
odd_document("expires_with_an_offset", False, "timestamp", lambda d: d.update(expires=VALID.replace("Z", "+00:00")))
odd_document("expires_without_a_zone", False, "timestamp", lambda d: d.update(expires=VALID.replace("Z", "")))
odd_document("expires_with_a_blank", False, "timestamp", lambda d: d.update(expires=VALID.replace("T", " ")))
odd_document("expires_far_away", True, "timestamp", lambda d: d.update(expires="9999-12-31T23:59:59Z"))
odd_document("expires_is_no_date", False, "timestamp", lambda d: d.update(expires="2030-02-30T00:00:00Z"))
odd_document("timestamp_without_meta", False, "timestamp", lambda d: d.pop("meta"))
odd_document("timestamp_without_snapshot", False, "timestamp", lambda d: d.update(meta={}))
odd_document("timestamp_names_more", True, "timestamp", lambda d: d["meta"].update({"targets.json": {"version": 7}}))
odd_document("snapshot_names_more", True, "snapshot", lambda d: d["meta"].update({"absent.json": {"version": 7}}))
odd_pin("no_length", True, length="DROP")
odd_pin("no_hashes", True, hashes="DROP")
odd_pin("neither", True, hashes="DROP", length="DROP")
odd_pin("wrong_length", False, length=1)
odd_pin("longer", False, length=100_000)
odd_pin("length_too_large", False, length=10**9)
odd_pin("length_0", False, length=0)
odd_pin("wrong_hash", False, hashes={"sha256": "00" * 32})
odd_pin("wrong_sha512_beside_a_good_sha256", False, hashes={"sha512": "00" * 64})
odd_pin("version_differs", False, version=2)
odd_document("timestamp_pins_empty_hashes", False, "timestamp", lambda d: d["meta"]["snapshot.json"].update(hashes={}))
odd_document("timestamp_pins_negative_length", False, "timestamp", lambda d: d["meta"]["snapshot.json"].update(length=-1))
odd_document("timestamp_pins_version_0", False, "timestamp", lambda d: d["meta"]["snapshot.json"].update(version=0))
odd_document("timestamp_pins_version_text", False, "timestamp", lambda d: d["meta"]["snapshot.json"].update(version="1"))


@case
def pins_of_several_kinds(w):
    data = w.files["metadata/1.snapshot.json"]
    pins = {name: hashlib.new(name, data).hexdigest() for name in ("sha256", "sha512", "sha384")}
    w.docs["timestamp"]["meta"]["snapshot.json"]["hashes"] = pins
    w.put_role("timestamp")
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    w.docs["timestamp"]["version"] = 2
    w.docs["timestamp"]["meta"]["snapshot.json"]["hashes"]["sha384"] = "00" * 48
    w.docs["timestamp"]["meta"]["snapshot.json"]["version"] = 2
    w.docs["snapshot"]["version"] = 2
    data = w.put_role("snapshot")
    pins = {name: hashlib.new(name, data).hexdigest() for name in ("sha256", "sha512")}
    w.docs["timestamp"]["meta"]["snapshot.json"].update(hashes={**pins, "sha384": "00" * 48}, length=len(data))
    w.put_role("timestamp")
    w.refresh(False)


def pinned_by(name, accepted, *algorithms):
    def run(w):
        data = w.files["metadata/1.snapshot.json"]
        pins = {a: (hashlib.blake2b(data, digest_size=32) if a == "blake2b-256" else hashlib.new(a, data)).hexdigest() for a in algorithms}
        w.docs["timestamp"]["meta"]["snapshot.json"]["hashes"] = pins
        w.put_role("timestamp")
        w.init()
        w.refresh(accepted)
    run.__name__ = name
    case(run)


pinned_by("pinned_by_sha512", True, "sha512")
pinned_by("pinned_by_sha384", True, "sha384")
pinned_by("pinned_by_sha224", False, "sha224")
pinned_by("pinned_by_blake2b", False, "blake2b-256")
pinned_by("pinned_by_sha3", False, "sha3_256")


@case
def pinned_by_an_unknown_hash(w):
    w.docs["timestamp"]["meta"]["snapshot.json"]["hashes"] = {"future": "00"}
    w.put_role("timestamp")
    w.init()
    w.refresh(False, 1, 1, 0, 0)


@case
def pinned_by_an_unknown_hash_beside_sha256(w):
    w.docs["timestamp"]["meta"]["snapshot.json"]["hashes"]["future"] = "00"
    w.put_role("timestamp")
    w.init()
    w.refresh(True, 1, 1, 1, 1)


@case
def pinned_in_capitals(w):
    pins = w.docs["timestamp"]["meta"]["snapshot.json"]["hashes"]
    pins["sha256"] = pins["sha256"].upper()
    w.put_role("timestamp")
    w.init()
    w.refresh(True, 1, 1, 1, 1)


@case
def no_pins_at_all(w):
    w.pins = False
    w.publish()
    w.init()
    w.download(True, "file.txt")
    w.publish("targets", "snapshot", "timestamp")
    w.refresh(True, 1, 2, 2, 2)


@case
def written_in_another_way(w):
    w.render = lambda value: json.dumps(value, indent=3, ensure_ascii=True, sort_keys=True) + "\n\n"
    w.docs["targets"]["targets"]["file.txt"]["custom"] = {"text": "é😀\u2028\x7f/\"\\\n\x01", "n": -(2**40), "": [None, True, {}]}
    w.publish()
    w.init()
    w.download(True, "file.txt")


@case
def signed_over_what_was_written(w):
    # Not over the canonical form: that is no signature.
    text = json.dumps(w.docs["timestamp"], indent=1)
    sig = w.keys["timestamp"][0].sign(text.encode()).hex()
    w.put("metadata/timestamp.json", f'{{"signatures": [{{"keyid": "{w.keys["timestamp"][0].id()}", "sig": "{sig}"}}], "signed": {text}}}')
    w.init()
    w.refresh(False, 1, 0, 0, 0)


@case
def a_field_named_twice(w):
    data = w.files["metadata/timestamp.json"].decode()
    w.put("metadata/timestamp.json", data.replace('"version": 1,', '"version": 9, "version": 1,', 1))
    w.init()
    w.refresh(True)


@case
def fields_beside_signed(w):
    envelope = json.loads(w.files["metadata/timestamp.json"])
    w.put("metadata/timestamp.json", json.dumps({"x": 1, **envelope, "y": {"signed": 1}}))
    w.init()
    w.refresh(True, 1, 1, 1, 1)


for what, data in {
    "empty": b"", "not_json": b"<html>", "half": b'{"signed": {"_type"', "null": b"null", "a_list": b"[]", "not_utf8": b'{"a": "\xff"}',
    "only_signed": b'{"signed": {}}', "signed_null": b'{"signed": null, "signatures": []}', "deep": b"[" * 100_000,
    "trailing": None,
}.items():
    def served(w, data=data):
        w.init()
        w.put("metadata/timestamp.json", data if data is not None else w.files["metadata/timestamp.json"] + b"{}")
        w.refresh(False, 1, 0, 0, 0)
    served.__name__ = f"timestamp_is_{what}"
    case(served)
