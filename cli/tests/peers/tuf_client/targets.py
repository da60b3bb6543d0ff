"""Targets, and where they lie (§5.7)."""

from world import *


@case
def target_of_the_wrong_content(w):
    w.init()
    name = next(name for name in w.files if name.endswith(".file.txt"))
    for wrong in (b"CONTENT", b"conten", b"content and more", b""):
        w.put(name, wrong)
        w.download(False, "file.txt")
    w.put(name, b"content")
    w.download(True, "file.txt")


@case
def target_that_changes(w):
    w.init()
    w.download(True, "file.txt")
    w.add("file.txt", b"content of version 2")
    w.publish("targets", "snapshot", "timestamp")
    w.download(True, "file.txt")
    for client in (OURS, PEER):
        (w.dir(client, "targets") / "file.txt").write_bytes(b"changed by somebody")
    w.download(True, "file.txt")
    w.docs["targets"]["targets"] = {}
    w.publish("targets", "snapshot", "timestamp")
    w.download(False, "file.txt")


@case
def targets_in_directories(w):
    for name in ("dir/file.txt", "a/b/c/d.bin", "other/file.txt"):
        w.add(name, name.encode())
    w.publish()
    w.init()
    w.download(True, "dir/file.txt", "a/b/c/d.bin", "other/file.txt", "file.txt")
    w.download(True, "dir/file.txt")


def odd_name(what, name, accepted=True):
    def run(w):
        w.add(name, b"odd")
        w.publish()
        w.init()
        w.download(accepted, name)
        assert not (w.home / "outside").exists() and not (w.home / OURS / "outside").exists()
    run.__name__ = f"target_name_{what}"
    case(run)


for what, name in {"up": "../outside", "up_in_the_middle": "a/../outside", "here": "./a"}.items():
    # To a URL these are other names.
    odd_name(what, name, False)
for what, name in {
    "blank": "a file.txt", "percent": "a%20b.txt", "unicode": "é/ü😀.txt", "dots": "a..b", "hidden": ".hidden", "plus": "a+b&c=d;e,f@g:h",
    "double_slash": "a//b", "absolute": "/outside",
    "backslash": "a\\b", "hash_like": f"{'0' * 64}.txt", "json": "root.json", "brackets": "a[1](2)!$'*~", "dot_json": "timestamp.json",
}.items():
    odd_name(what, name)


@case
def target_of_several_hashes(w):
    w.add("many.txt", b"many", hashes=("sha256", "sha512"))
    w.publish()
    w.init()
    w.download(True, "many.txt")
    w.add("many.txt", b"many!", hashes=("sha256", "sha512"))
    w.docs["targets"]["targets"]["many.txt"]["hashes"]["sha512"] = "00" * 64
    w.publish("targets", "snapshot", "timestamp")
    w.download(False, "many.txt")


def hashed_by(name, accepted, *algorithms):
    def run(w):
        w.add("t.txt", b"t", hashes=algorithms)
        w.publish()
        w.init()
        w.download(accepted, "t.txt")
    run.__name__ = f"target_by_{name}"
    case(run)


hashed_by("sha512", True, "sha512")
hashed_by("sha384", True, "sha384")
hashed_by("sha512_then_sha256", True, "sha512", "sha256")


@case
def target_without_hashes(w):
    w.docs["targets"]["targets"]["file.txt"]["hashes"] = {}
    w.publish()
    w.init()
    w.refresh(False, 1, 1, 1, 0)


@case
def target_without_length(w):
    del w.docs["targets"]["targets"]["file.txt"]["length"]
    w.publish()
    w.init()
    w.refresh(False, 1, 1, 1, 0)


@case
def target_of_length_0(w):
    w.add("empty", b"")
    w.publish()
    w.init()
    w.download(True, "empty")


@case
def target_not_served(w):
    w.init()
    for name in [name for name in w.files if name.startswith("targets/")]:
        del w.files[name]
    w.download(False, "file.txt")


@case
def several_targets_one_missing(w):
    w.add("second.txt", b"second")
    w.publish()
    w.init()
    w.download(False, "file.txt", "absent", "second.txt")


@case
def large_target(w):
    w.add("large", os.urandom(3_000_000))
    w.publish()
    w.init()
    w.download(True, "large")


@case
def endless_target(w):
    w.init()
    name = next(name for name in w.files if name.endswith(".file.txt"))
    w.replies[name] = endless(b"content")
    w.download(False, "file.txt")


for role in ("timestamp", "snapshot", "targets"):
    def never_ends(w, role=role):
        w.pins = False
        w.publish()
        w.init()
        name = w.file_of(role)
        w.replies[name] = endless(w.files[name])
        before = {"timestamp": (1, 0, 0, 0), "snapshot": (1, 1, 0, 0), "targets": (1, 1, 1, 0)}[role]
        w.refresh(False, *before)
    never_ends.__name__ = f"endless_{role}"
    case(never_ends)


@case
def endless_root(w):
    w.init()
    w.replies["metadata/2.root.json"] = endless(w.next_root())
    w.refresh(False, 1, 0, 0, 0)


@case
def broken_off_target(w):
    w.add("half", os.urandom(10_000))
    w.publish()
    w.init()
    name = next(name for name in w.files if name.endswith(".half"))
    w.replies[name] = broken_off(w.files[name])
    w.download(False, "half")
