"""Timestamp, snapshot and targets (§5.4 to §5.6), keys that change (§5.3.11), and files of one's own that are no good."""

from world import *


@case
def timestamp_goes_back(w):
    w.publish("timestamp")
    old = w.files["metadata/timestamp.json"]
    w.publish("timestamp")
    w.init()
    w.refresh(True, 1, 3, 1, 1)
    w.put("metadata/timestamp.json", old)
    w.refresh(False, 1, 3, 1, 1)


@case
def timestamp_of_the_same_version(w):
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    w.docs["timestamp"]["x"] = "another"
    w.seal()
    w.refresh(True, 1, 1, 1, 1)
    w.docs["snapshot"]["version"] = 5
    w.seal()
    w.refresh(True, 1, 1, 1, 1)


@case
def timestamp_of_the_same_version_badly_signed(w):
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    w.put_role("timestamp", [key("stranger")])
    w.refresh(False, 1, 1, 1, 1)


@case
def snapshot_goes_back_by_timestamp(w):
    w.init()
    w.publish("snapshot", "timestamp")
    w.refresh(True, 1, 2, 2, 1)
    w.docs["snapshot"]["version"] = 1
    w.seal("timestamp")
    w.refresh(False, 1, 2, 2, 1)


@case
def timestamp_expires_and_is_still_a_floor(w):
    old = w.files["metadata/timestamp.json"]
    w.docs["timestamp"]["expires"] = moment(10)
    w.seal("timestamp")
    w.init()
    w.refresh(True, 1, 2, 1, 1)
    time.sleep(11)
    w.refresh(False, 1, 2, 1, 1)
    w.put("metadata/timestamp.json", old)
    w.refresh(False, 1, 2, 1, 1)
    w.docs["timestamp"]["expires"] = VALID
    w.seal("timestamp")
    w.refresh(True, 1, 3, 1, 1)


@case
def snapshot_and_targets_expire(w):
    w.docs["snapshot"]["expires"] = moment(10)
    w.docs["targets"]["expires"] = moment(10)
    w.publish("targets", "snapshot", "timestamp")
    w.init()
    w.refresh(True, 1, 2, 2, 2)
    time.sleep(11)
    w.refresh(False, 1, 2, 2, 2)
    w.docs["snapshot"]["expires"] = VALID
    w.seal("snapshot", "timestamp")
    w.refresh(False, 1, 3, 3, 2)
    # An expired snapshot is a floor, too.
    w.docs["targets"]["version"] = 1
    w.docs["targets"]["expires"] = VALID
    w.publish("snapshot", "timestamp")
    w.refresh(False, 1, 4, 3, 2)
    w.docs["targets"]["version"] = 3
    w.publish("snapshot", "timestamp")
    w.refresh(True, 1, 5, 5, 3)


@case
def expired_timestamp_is_not_kept(w):
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    w.docs["timestamp"]["expires"] = PAST
    w.seal("timestamp")
    w.refresh(False, 1, 1, 1, 1)


@case
def targets_go_back_in_snapshot(w):
    w.init()
    w.publish("targets", "snapshot", "timestamp")
    w.refresh(True, 1, 2, 2, 2)
    w.docs["targets"]["version"] = 1
    w.publish("snapshot", "timestamp")
    w.refresh(False, 1, 3, 2, 2)
    w.refresh(False, 1, 3, 2, 2)
    w.docs["targets"]["version"] = 3
    w.publish("snapshot", "timestamp")
    w.refresh(True, 1, 4, 4, 3)


@case
def role_vanishes_from_snapshot(w):
    w.delegate("targets", "role1", paths=["d/*"])
    w.publish()
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    del w.docs["snapshot"]["meta"]["role1.json"]
    w.seal("snapshot", "timestamp")
    w.refresh(False, 1, 2, 1, 1)
    w.refresh(False, 1, 2, 1, 1)
    w.publish("snapshot", "timestamp")
    w.refresh(True, 1, 3, 3, 1)


@case
def delegated_role_goes_back_in_snapshot(w):
    w.delegate("targets", "role1", paths=["d/*"])
    w.docs["role1"]["version"] = 3
    w.publish()
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    w.docs["role1"]["version"] = 2
    w.publish("snapshot", "timestamp")
    w.refresh(False, 1, 2, 1, 1)


@case
def targets_missing_from_snapshot(w):
    w.docs["snapshot"]["meta"] = {"other.json": {"version": 1}}
    w.seal()
    w.init()
    w.refresh(False)


@case
def snapshot_of_another_version_than_named(w):
    w.pins = False
    w.publish()
    w.init()
    w.docs["timestamp"]["meta"]["snapshot.json"]["version"] = 2
    w.put_role("timestamp")
    w.put("metadata/2.snapshot.json", w.files["metadata/1.snapshot.json"])
    w.refresh(False, 1, 1, 0, 0)


@case
def snapshot_signed_by_a_stranger(w):
    w.pins = False
    w.publish()
    w.init()
    w.put_role("snapshot", [key("stranger")])
    w.refresh(False, 1, 1, 0, 0)


@case
def snapshot_of_the_same_version_but_other_bytes(w):
    # The kept one is valid still: it is used.
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    w.docs["snapshot"]["x"] = 1
    w.seal("timestamp")
    w.refresh(True, 1, 2, 1, 1)


@case
def snapshot_unchanged_is_not_fetched(w):
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    w.publish("timestamp")
    for name in ("metadata/1.snapshot.json", "metadata/1.targets.json"):
        del w.files[name]
    w.refresh(True, 1, 2, 1, 1)


@case
def targets_unchanged_are_not_fetched(w):
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    w.publish("snapshot", "timestamp")
    del w.files["metadata/1.targets.json"]
    w.refresh(True, 1, 2, 2, 1)


@case
def targets_of_another_version_than_named(w):
    w.pins = False
    w.publish()
    w.init()
    w.docs["snapshot"]["meta"]["targets.json"]["version"] = 2
    w.put("metadata/2.targets.json", w.files["metadata/1.targets.json"])
    w.seal()
    w.refresh(False, 1, 1, 1, 0)


@case
def targets_signed_by_a_stranger(w):
    w.pins = False
    w.publish()
    w.init()
    w.put_role("targets", [key("stranger")])
    w.refresh(False, 1, 1, 1, 0)


def odd_targets_pin(name, accepted, change):
    def run(w):
        w.init()
        change(w.docs["snapshot"]["meta"]["targets.json"])
        w.seal()
        w.refresh(accepted, 1, 1, 1, int(accepted))
    run.__name__ = f"snapshot_pins_{name}"
    case(run)


odd_targets_pin("wrong_length", False, lambda pin: pin.update(length=3))
odd_targets_pin("wrong_hash", False, lambda pin: pin["hashes"].update(sha256="11" * 32))
odd_targets_pin("no_hashes", True, lambda pin: pin.pop("hashes"))
odd_targets_pin("no_length", True, lambda pin: pin.pop("length"))


@case
def targets_with_the_same_version_but_other_bytes(w):
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    w.docs["targets"]["x"] = 1
    w.publish("snapshot", "timestamp")
    w.refresh(True, 1, 2, 2, 1)


def rotated(*roles, fast_forward=(), accepted=True, name):
    """An attacker has pushed versions up; the owner starts low again, under new keys for `roles`."""
    def run(w):
        for role in fast_forward:
            w.docs[role]["version"] = 1000
        w.publish()
        w.init()
        state = lambda: [w.docs[role]["version"] for role in ("timestamp", "snapshot", "targets")]
        w.refresh(True, 1, *state())
        for role in ("timestamp", "snapshot", "targets"):
            w.docs[role]["version"] = 2
        for role in roles:
            w.assign(role, key(f"new {role}"))
        w.next_root()
        w.publish()
        w.refresh(accepted, *((2, *state()) if accepted else ()))
        w.refresh(accepted)
    run.__name__ = name
    case(run)


rotated("timestamp", fast_forward=["timestamp"], name="fast_forward_timestamp")
rotated("timestamp", fast_forward=["timestamp", "snapshot"], name="fast_forward_snapshot_by_new_timestamp_keys")
rotated("snapshot", fast_forward=["snapshot"], name="fast_forward_snapshot_by_new_snapshot_keys")
rotated("timestamp", "snapshot", fast_forward=["timestamp", "snapshot"], name="fast_forward_both")
rotated("timestamp", "snapshot", fast_forward=["timestamp", "snapshot", "targets"], name="fast_forward_all")
rotated("snapshot", fast_forward=["targets"], name="fast_forward_targets_by_new_snapshot_keys")
rotated("timestamp", fast_forward=["targets"], name="fast_forward_targets_by_new_timestamp_keys")
rotated("targets", fast_forward=["targets"], accepted=False, name="fast_forward_targets_by_new_targets_keys")
rotated("root", fast_forward=["timestamp"], accepted=False, name="fast_forward_and_new_root_keys")


@case
def new_keys_for_everything(w):
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    old = w.keys["root"]
    for role in ("root", "timestamp", "snapshot", "targets"):
        w.assign(role, key(f"new {role}"))
    w.next_root(*old, *w.keys["root"])
    w.publish("targets", "snapshot", "timestamp")
    w.download(True, "file.txt")


@case
def new_keys_but_old_signatures(w):
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    old = w.keys["timestamp"]
    w.assign("timestamp", key("new timestamp"))
    w.next_root()
    w.docs["timestamp"]["version"] = 2
    w.put_role("timestamp", old)
    w.refresh(False)
    w.put_role("timestamp")
    w.refresh(True, 2, 2, 1, 1)


@case
def new_snapshot_keys_but_old_signatures(w):
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    old = w.keys["snapshot"]
    w.assign("snapshot", key("new snapshot"))
    w.next_root()
    w.refresh(False, 2, 1, 1, 1)
    w.publish("snapshot", "timestamp")
    w.refresh(True, 2, 2, 2, 1)


@case
def new_targets_keys_but_old_signatures(w):
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    w.assign("targets", key("new targets"))
    w.next_root()
    w.put("metadata/1.targets.json", b"gone")
    w.refresh(False)
    w.publish("targets", "snapshot", "timestamp")
    w.refresh(True, 2, 2, 2, 2)


@case
def a_key_more_ends_no_rollback_protection(w):
    w.publish("timestamp")
    w.init()
    w.refresh(True, 1, 2, 1, 1)
    w.assign("timestamp", w.keys["timestamp"][0], key("second timestamp"))
    w.next_root()
    w.docs["timestamp"]["version"] = 1
    w.seal()
    w.refresh(False, 2, 2, 1, 1)


@case
def recovery_after_a_refresh_that_failed(w):
    w.docs["timestamp"]["version"] = w.docs["snapshot"]["version"] = 1000
    w.publish()
    w.init()
    w.refresh(True, 1, 1000, 1000, 1)
    w.docs["timestamp"]["version"] = w.docs["snapshot"]["version"] = 2
    w.assign("snapshot", key("new snapshot"))
    w.assign("timestamp", key("new timestamp"))
    w.next_root()
    w.publish()
    w.replies["metadata/timestamp.json"] = status(404)
    w.refresh(False)
    del w.replies["metadata/timestamp.json"]
    w.refresh(True, 2, 2, 2, 1)
    w.docs["timestamp"]["version"] = 1
    w.seal()
    w.refresh(False, 2, 2, 2, 1)


for role in ("timestamp", "snapshot", "targets"):
    for what in ("damaged", "empty", "by_a_stranger", "of_another_role"):
        def own(w, role=role, what=what):
            w.init()
            w.refresh(True, 1, 1, 1, 1)
            other = {"timestamp": "snapshot", "snapshot": "targets", "targets": "timestamp"}[role]
            higher = {**w.docs[role], "version": 99}
            data = {
                "damaged": b'{"signed":', "empty": b"", "of_another_role": w.files[w.file_of(other)],
                "by_a_stranger": json.dumps(signed(higher, [key("stranger")])).encode(),
            }[what]
            w.local(f"{role}.json", data)
            w.refresh(True, 1, 1, 1, 1)
        own.__name__ = f"own_{role}_{what}"
        case(own)


@case
def own_files_gone(w):
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    for client in (OURS, PEER):
        for role in ("timestamp", "snapshot", "targets"):
            (w.dir(client, "metadata") / f"{role}.json").unlink()
    w.refresh(True, 1, 1, 1, 1)


@case
def own_timestamp_gone_snapshot_stays_a_floor(w):
    w.publish("targets", "snapshot", "timestamp")
    w.init()
    w.refresh(True, 1, 2, 2, 2)
    for client in (OURS, PEER):
        (w.dir(client, "metadata") / "timestamp.json").unlink()
    w.docs["targets"]["version"] = 1
    w.publish("snapshot", "timestamp")
    w.refresh(False)
