"""Roots (§5.3.1 to §5.3.10)."""

from world import *


@case
def plain(w):
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    w.refresh(True, 1, 1, 1, 1)
    w.download(True, "file.txt")
    w.download(True, "file.txt")
    w.download(False, "absent.txt")


@case
def inconsistent(w):
    w.root["consistent_snapshot"] = False
    w.put_root()
    w.publish()
    for name in [name for name in w.files if name.split("/")[-1][0].isdigit() and "root" not in name]:
        del w.files[name]
    w.init()
    w.download(True, "file.txt")
    w.publish("targets", "snapshot", "timestamp")
    w.refresh(True, 1, 2, 2, 2)


@case
def consistent_left_out(w):
    del w.root["consistent_snapshot"]
    w.root.setdefault("x", 1)
    w.put_root()
    w.root["consistent_snapshot"] = False
    w.publish()
    w.init()
    w.download(True, "file.txt")


@case
def becomes_consistent(w):
    w.root["consistent_snapshot"] = False
    w.put_root()
    w.publish()
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    w.next_root(consistent_snapshot=True)
    w.publish("targets", "snapshot", "timestamp")
    w.download(True, "file.txt")


@case
def chain_of_roots(w):
    w.init()
    for i in range(1, 6):
        new = key(f"root {i}")
        old = w.keys["root"]
        w.assign("root", new)
        w.next_root(*old, new)
    w.refresh(True, 6, 1, 1, 1)
    w.next_root()
    w.refresh(True, 7, 1, 1, 1)


@case
def root_in_between_expired(w):
    w.init()
    w.next_root(expires=PAST)
    w.next_root(expires=VALID)
    w.refresh(True, 3, 1, 1, 1)


@case
def last_root_expired(w):
    w.init()
    w.next_root(expires=PAST)
    w.refresh(False, 2, 0, 0, 0)
    w.next_root(expires=VALID)
    w.refresh(True, 3, 1, 1, 1)
    w.next_root(expires=PAST)
    w.publish("targets", "snapshot", "timestamp")
    w.refresh(False, 4, 1, 1, 1)


@case
def first_root_expired(w):
    w.root["expires"] = PAST
    w.put_root()
    w.init()
    w.refresh(False, 1, 0, 0, 0)
    w.next_root(expires=VALID)
    w.refresh(True, 2, 1, 1, 1)


@case
def root_signed_by_old_only(w):
    w.init()
    old, new = w.keys["root"][0], key("root b")
    w.assign("root", new)
    w.next_root(old)
    w.refresh(False, 1, 0, 0, 0)
    w.put_root(old, new)
    w.refresh(True, 2, 1, 1, 1)


@case
def root_signed_by_new_only(w):
    w.init()
    old, new = w.keys["root"][0], key("root b")
    w.assign("root", new)
    w.next_root(new)
    w.refresh(False, 1, 0, 0, 0)
    w.put_root(new, old)
    w.refresh(True, 2, 1, 1, 1)


@case
def root_unsigned(w):
    w.init()
    w.next_root()
    w.put("metadata/2.root.json", json.dumps({"signed": w.root, "signatures": []}))
    w.refresh(False, 1, 0, 0, 0)


@case
def root_version_gap(w):
    w.init()
    w.root["version"] = 2
    data = w.next_root()
    w.put("metadata/2.root.json", data)
    w.refresh(False, 1, 0, 0, 0)


@case
def root_version_same(w):
    w.init()
    w.put("metadata/2.root.json", w.files["metadata/1.root.json"])
    w.refresh(False, 1, 0, 0, 0)


@case
def root_version_back(w):
    w.init()
    w.next_root()
    w.next_root()
    w.refresh(True, 3, 1, 1, 1)
    w.put("metadata/4.root.json", w.files["metadata/2.root.json"])
    w.refresh(False, 3, 1, 1, 1)


@case
def root_missing_in_between(w):
    w.init()
    w.next_root()
    w.next_root()
    gone = w.files.pop("metadata/2.root.json")
    w.refresh(True, 1, 1, 1, 1)
    w.put("metadata/2.root.json", gone)
    w.refresh(True, 3, 1, 1, 1)


@case
def a_bad_root_keeps_the_good_ones_before_it(w):
    w.init()
    w.next_root()
    w.next_root(key("stranger"))
    w.refresh(False, 2, 0, 0, 0)
    w.put_root()
    w.refresh(True, 3, 1, 1, 1)


@case
def root_threshold_two(w):
    a, b, c = key("ra"), key("rb"), key("rc")
    w.assign("root", a, b, threshold=2)
    w.put_root(a, b)
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    w.next_root(a)
    w.refresh(False, 1, 1, 1, 1)
    w.put_root(a, c)
    w.refresh(False, 1, 1, 1, 1)
    w.put_root(b, a)
    w.refresh(True, 2, 1, 1, 1)
    w.assign("root", b, c, threshold=2)
    w.next_root(a, b)
    w.refresh(False, 2, 1, 1, 1)
    w.put_root(b, c)
    w.refresh(False, 2, 1, 1, 1)
    w.put_root(a, b, c)
    w.refresh(True, 3, 1, 1, 1)


@case
def root_threshold_rises_and_falls(w):
    w.init()
    a, b = w.keys["root"][0], key("rb")
    w.assign("root", a, b, threshold=2)
    w.next_root(a)
    w.refresh(False, 1, 0, 0, 0)
    w.put_root(a, b)
    w.refresh(True, 2, 1, 1, 1)
    w.assign("root", a, threshold=1)
    w.next_root(a)
    w.refresh(False, 2, 1, 1, 1)
    w.put_root(a, b)
    w.refresh(True, 3, 1, 1, 1)


@case
def bad_self_signature_of_the_first_root(w):
    w.put_root(key("stranger"))
    w.init()
    w.refresh(False)


@case
def first_root_under_its_threshold(w):
    a, b = key("ra"), key("rb")
    w.assign("root", a, b, threshold=2)
    w.put_root(a)
    w.init()
    w.refresh(False)


def root_without(role):
    def run(w):
        w.init()
        del w.root["roles"][role]
        w.next_root()
        w.refresh(False, 1, 0, 0, 0)
    run.__name__ = f"root_without_{role}"
    case(run)


for role in ("timestamp", "snapshot", "targets"):
    root_without(role)


@case
def root_not_there_500(w):
    w.init()
    w.replies["metadata/2.root.json"] = status(500)
    w.refresh(False, 1, 0, 0, 0)
    del w.replies["metadata/2.root.json"]
    w.refresh(True, 1, 1, 1, 1)


@case
def root_not_there_403(w):
    w.init()
    w.replies["metadata/2.root.json"] = status(403)
    w.refresh(True, 1, 1, 1, 1)


@case
def root_not_there_410(w):
    w.init()
    w.replies["metadata/2.root.json"] = status(410)
    w.refresh(False, 1, 0, 0, 0)


@case
def role_not_there_403(w):
    w.init()
    w.replies["metadata/timestamp.json"] = status(403)
    w.refresh(False, 1, 0, 0, 0)


def role_answers(role, code):
    def run(w):
        w.init()
        w.replies[w.file_of(role)] = status(code)
        w.refresh(False)
        w.replies.clear()
        w.refresh(True, 1, 1, 1, 1)
    run.__name__ = f"{role}_answers_{code}"
    case(run)


for role in ("timestamp", "snapshot", "targets"):
    role_answers(role, 404)
role_answers("snapshot", 500)


@case
def a_mirror_that_redirects(w):
    w.init()
    w.replies["metadata/timestamp.json"] = redirect("elsewhere.json")
    w.put("metadata/elsewhere.json", w.files["metadata/timestamp.json"])
    w.refresh(True, 1, 1, 1, 1)


@case
def local_root_is_newer(w):
    w.next_root()
    w.next_root()
    w.init(version=2)
    w.refresh(True, 3, 1, 1, 1)


@case
def local_root_damaged(w):
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    for client in (OURS, PEER):
        path = w.dir(client, "metadata") / "root.json"
        path.unlink()
        path.write_bytes(b"{")
    w.refresh(False)


@case
def init_again(w):
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    w.next_root()
    w.refresh(True, 2, 1, 1, 1)


@case
def many_roots(w):
    w.init()
    for _ in range(60):
        w.next_root()
    w.refresh(True, 61, 1, 1, 1)
