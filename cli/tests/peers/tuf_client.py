"""TUF repositories, sound and broken, as two clients see them: python-tuf's, and the one behind scripts/conformance-tuf.

  python tuf_client.py CONFORMANCE_TUF [CASE...]

Each case is a function below: it builds a repository, changes it, and lets both clients work on it, each with a metadata directory of
its own. For every step one line of JSON says what was expected (by the specification, section 5) and what each client did: its verdict,
the files it trusts afterwards, byte for byte, the targets it has, and what it asked for. Nothing is judged here; tuf_client.rs does.
"""

import concurrent.futures
import copy
import datetime
import hashlib
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from securesystemslib.formats import encode_canonical
from tuf.ngclient import Updater

CASES = []
WORLDS = {}
OURS, PEER = "ours", "python-tuf"


def case(run):
    CASES.append(run)
    return run


# --- keys -----------------------------------------------------------------------------------------------------------------------------

KEYS = {}
LOCK = threading.Lock()


class Key:
    def __init__(self, name, kind):
        self.kind, self.fields = kind, {}
        if kind == "ed25519":
            self.private = ed25519.Ed25519PrivateKey.generate()
            self.keytype, self.scheme = "ed25519", "ed25519"
            raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
            self.public = self.private.public_key().public_bytes(*raw).hex()
            return
        if kind.startswith("rsa"):
            self.private = rsa.generate_private_key(65537, 2048)
            self.keytype, self.scheme = "rsa", "rsassa-pss-sha256"
        else:
            curve = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1}[kind]
            self.private = ec.generate_private_key(curve())
            self.keytype, self.scheme = "ecdsa", f"ecdsa-sha2-nist{kind}"
        pem = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        self.public = self.private.public_key().public_bytes(*pem).decode()

    def sign(self, data):
        hash_ = {"384": hashes.SHA384, "512": hashes.SHA512, "521": hashes.SHA512}.get(self.scheme[-3:], hashes.SHA256)()
        if self.kind == "ed25519":
            return self.private.sign(data)
        if "pkcs1v15" in self.scheme:
            return self.private.sign(data, padding.PKCS1v15(), hash_)
        if self.kind.startswith("rsa"):
            return self.private.sign(data, padding.PSS(padding.MGF1(hash_), hash_.digest_size), hash_)
        return self.private.sign(data, ec.ECDSA(hash_))

    def value(self):
        return {"keytype": self.keytype, "scheme": self.scheme, "keyval": {"public": self.public}, **self.fields}

    def id(self):
        return hashlib.sha256(canonical(self.value())).hexdigest()


def key(name, kind="ed25519"):
    """A key by its name, made once in a run."""
    with LOCK:
        if (name, kind) not in KEYS:
            KEYS[name, kind] = Key(name, kind)
        return copy.copy(KEYS[name, kind])


def canonical(value):
    return encode_canonical(value).encode()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def moment(seconds):
    then = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return then.strftime("%Y-%m-%dT%H:%M:%SZ")


PAST, VALID = moment(-3600), moment(86400 * 30)


# --- repositories ---------------------------------------------------------------------------------------------------------------------

def fresh(kind, **fields):
    return {"_type": kind, "spec_version": "1.0.31", "version": 1, "expires": VALID, **fields}


def signed(document, keys):
    """A signed document; `keys` are keys, or pairs of a key id and a key."""
    data = canonical(document)
    pairs = [k if isinstance(k, tuple) else (k.id(), k) for k in keys]
    signatures = [{"keyid": keyid, "sig": k.sign(data).hex()} for keyid, k in pairs]
    return {"signatures": signatures, "signed": document}


class World:
    """A repository on a server, and two clients' directories."""

    def __init__(self, name, script, home):
        self.name, self.script, self.home = name, script, home
        self.files, self.replies, self.asked = {}, {}, {OURS: [], PEER: []}
        self.steps = []
        self.keys = {role: [key(role)] for role in ("root", "timestamp", "snapshot", "targets")}
        role = lambda name: {"keyids": [k.id() for k in self.keys[name]], "threshold": 1}
        self.root = fresh(
            "root",
            consistent_snapshot=True,
            keys={k.id(): k.value() for keys in self.keys.values() for k in keys},
            roles={name: role(name) for name in self.keys},
        )
        self.docs = {"targets": fresh("targets", targets={}), "snapshot": fresh("snapshot", meta={}), "timestamp": fresh("timestamp", meta={})}
        self.pins = True  # lengths and digests in snapshot and timestamp
        self.render = json.dumps
        self.put_root()
        self.add("file.txt", b"content")
        self.publish()

    # What is served.

    def put(self, name, data):
        self.files[name] = data if isinstance(data, bytes) else data.encode()
        return self.files[name]

    def put_root(self, *keys):
        return self.put(f"metadata/{self.root['version']}.root.json", json.dumps(signed(self.root, keys or self.keys["root"])))

    def next_root(self, *keys, **fields):
        """The next root, signed by `keys`: the root's present ones if none are given."""
        self.root["version"] += 1
        self.root.update(fields)
        return self.put_root(*keys)

    def assign(self, role, *keys, threshold=1):
        """Changes in the root who speaks for a role; `next_root` publishes it."""
        self.root["keys"].update({k.id(): k.value() for k in keys})
        self.root["roles"][role] = {"keyids": [k.id() for k in keys], "threshold": threshold}
        self.keys[role] = list(keys)

    def file_of(self, role):
        prefix = f"{self.docs[role]['version']}." if self.root["consistent_snapshot"] and role != "timestamp" else ""
        return f"metadata/{prefix}{role}.json"

    def put_role(self, role, keys=None):
        return self.put(self.file_of(role), self.render(signed(self.docs[role], self.keys[role] if keys is None else keys)))

    def pin(self, role, data):
        pin = {"version": self.docs[role]["version"]}
        if self.pins:
            pin.update({"length": len(data), "hashes": {"sha256": sha256(data)}})
        return pin

    def publish(self, *bumped):
        """Writes every role but root, with the next version for those that are named."""
        for role in bumped:
            self.docs[role]["version"] += 1
        for role in self.docs:
            if role not in ("snapshot", "timestamp"):
                self.docs["snapshot"]["meta"][f"{role}.json"] = self.pin(role, self.put_role(role))
        self.seal()

    def seal(self, *bumped):
        """Writes snapshot and timestamp only."""
        for role in bumped:
            self.docs[role]["version"] += 1
        self.docs["timestamp"]["meta"]["snapshot.json"] = self.pin("snapshot", self.put_role("snapshot"))
        self.put_role("timestamp")

    def add(self, name, content, role="targets", hashes=("sha256",), prefix=None):
        digests = {name: hashlib.new(name, content).hexdigest() for name in hashes}
        self.docs[role]["targets"][name] = {"length": len(content), "hashes": digests}
        dir_, slash, base = name.rpartition("/")
        for digest in digests.values():
            self.put(f"targets/{dir_}{slash}{digest}.{base}", content)
        self.put(f"targets/{name}", content)

    def delegate(self, parent, child, *keys, threshold=1, ids=None, **rule):
        """Lets `child` speak for what `rule` says."""
        keys = keys or (key(f"of {child}"),)
        if child not in self.docs:
            self.docs[child] = fresh("targets", targets={})
        self.keys[child] = list(keys)
        block = self.docs[parent].setdefault("delegations", {"keys": {}, "roles": []})
        block["keys"].update({k.id(): k.value() for k in keys})
        rule = {"terminating": False, **rule}
        block["roles"].append({"name": child, "keyids": [k.id() for k in keys], "threshold": threshold, **rule})

    # What the clients do.

    def dir(self, client, kind):
        path = self.home / client / kind
        path.mkdir(parents=True, exist_ok=True)
        return path

    def url(self, client, kind):
        return f"{BASE}/{self.name}/{client}/{kind}"

    def init(self, version=1):
        """Both clients are given a root. python-tuf's has no such command: the file is put where it looks for it."""
        root = self.home / "given.json"
        root.write_bytes(self.files[f"metadata/{version}.root.json"])
        shutil.copy(root, self.dir(PEER, "metadata") / "root.json")
        return self.command("--metadata-dir", self.dir(OURS, "metadata"), "init", root)

    def command(self, *args):
        run = subprocess.run([self.script, *map(str, args)], capture_output=True, text=True, timeout=120)
        return run.returncode, run.stderr.strip().splitlines()[-1:] or [""]

    def ours(self, names):
        flags = ["--metadata-url", self.url(OURS, "metadata"), "--metadata-dir", self.dir(OURS, "metadata")]
        if not names:
            return self.command(*flags, "refresh")
        wanted = [flag for name in names for flag in ("--target-name", name)]
        places = ["--target-dir", self.dir(OURS, "targets"), "--target-base-url", self.url(OURS, "targets")]
        return self.command(*flags, *wanted, *places, "download")

    def peer(self, names):
        try:
            metadata, targets = self.dir(PEER, "metadata"), self.dir(PEER, "targets")
            places = str(metadata), self.url(PEER, "metadata"), str(targets), self.url(PEER, "targets")
            client = Updater(*places, bootstrap=None)
            client.refresh()
            for name in names:
                info = client.get_targetinfo(name)
                if info is None:
                    raise FileNotFoundError(f"no target {name}")
                if client.find_cached_target(info) is None:
                    client.download_target(info)
        except Exception as error:  # every refusal
            return 1, [f"{type(error).__name__}: {error}"]
        return 0, [""]

    def seen(self, client, outcome):
        code, words = outcome
        listing = sorted(self.dir(client, "metadata").iterdir())
        trusted = {path.name: path.read_bytes() for path in listing if path.name.endswith(".json") and path.is_file()}
        asked, self.asked[client] = self.asked[client], []
        targets = self.dir(client, "targets")
        return {
            "code": code,
            "says": words[0],
            "trusted": {name: sha256(data) for name, data in trusted.items()},
            "versions": {name.removesuffix(".json"): version_of(data) for name, data in trusted.items()},
            "targets": {str(path.relative_to(targets)): sha256(path.read_bytes()) for path in sorted(targets.rglob("*")) if path.is_file()},
            "asked": asked,
        }

    def step(self, accepted, versions, names):
        both = [(OURS, self.ours(names)), (PEER, self.peer(names))]
        self.steps.append({
            "case": self.name,
            "step": len(self.steps) + 1,
            "accepted": accepted,
            "versions": versions,
            **{client: self.seen(client, outcome) for client, outcome in both},
        })

    def refresh(self, accepted, *versions):
        """Both refresh. Expected: the verdict, and the trusted versions of root, timestamp, snapshot, targets; 0 for none."""
        self.step(accepted, list(versions) or None, [])

    def download(self, accepted, *names):
        self.step(accepted, None, names)

    def local(self, name, data):
        """Puts a file into both metadata directories."""
        for client in (OURS, PEER):
            (self.dir(client, "metadata") / name).write_bytes(data)


def version_of(data):
    try:
        return json.loads(data)["signed"]["version"]
    except Exception:
        return None


# --- the server -----------------------------------------------------------------------------------------------------------------------

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        _, name, client, path = self.path.split("/", 3)
        world = WORLDS[name]
        world.asked[client].append(urllib.parse.unquote(path))
        reply = world.replies.get(path)
        if reply is not None:
            return reply(self)
        data = world.files.get(urllib.parse.unquote(path), world.files.get(path))
        answer(self, 404 if data is None else 200, data or b"")

    def log_message(self, *_):
        pass


def answer(handler, code, data=b"", length=None):
    handler.send_response(code)
    handler.send_header("Content-Length", str(len(data) if length is None else length))
    handler.end_headers()
    handler.wfile.write(data)


def status(code):
    return lambda handler: answer(handler, code, b"no")


def endless(start):
    """A body that says nothing of its length and does not stop."""
    def reply(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(start)
        try:
            for _ in range(200):
                handler.wfile.write(b" " * 100_000)
        except OSError:
            pass
        handler.close_connection = True
    return reply


def broken_off(data):
    """A body that ends before the length that was announced."""
    def reply(handler):
        answer(handler, 200, data[: len(data) // 2], len(data))
        handler.close_connection = True
    return reply


def redirect(to):
    def reply(handler):
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
    return reply


# --- roots (5.3) ----------------------------------------------------------------------------------------------------------------------

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


# --- signatures, keys and ids (4.2) ---------------------------------------------------------------------------------------------------

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


# --- what a document may look like (4.1 to 4.7) -----------------------------------------------------------------------------------------

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


# --- timestamp (5.4) ------------------------------------------------------------------------------------------------------------------

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


# --- snapshot (5.5) -------------------------------------------------------------------------------------------------------------------

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


# --- targets (5.6) --------------------------------------------------------------------------------------------------------------------

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


# --- keys that change (5.3.11) ----------------------------------------------------------------------------------------------------------

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


# --- one's own files that are no good -----------------------------------------------------------------------------------------------------

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


# --- targets and where they lie (5.7) -----------------------------------------------------------------------------------------------------

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


# --- delegations (5.6.7) ------------------------------------------------------------------------------------------------------------------

@case
def delegated(w):
    w.delegate("targets", "role1", paths=["d/*"])
    w.add("d/x", b"x", "role1")
    w.add("e/y", b"y", "role1")
    w.publish()
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    w.download(True, "d/x")
    w.download(False, "e/y")
    w.download(True, "d/x", "file.txt")
    w.publish("role1", "snapshot", "timestamp")
    w.download(True, "d/x")


@case
def delegated_unchanged_is_not_fetched(w):
    w.delegate("targets", "role1", paths=["d/*"])
    w.add("d/x", b"x", "role1")
    w.publish()
    w.init()
    w.download(True, "d/x")
    del w.files["metadata/1.role1.json"]
    w.download(True, "d/x")
    w.publish("targets", "snapshot", "timestamp")
    del w.files["metadata/1.role1.json"]
    w.download(True, "d/x")


@case
def delegated_in_order(w):
    w.delegate("targets", "first", paths=["d/*"])
    w.delegate("targets", "second", paths=["*/x", "d/y"])
    w.add("d/x", b"of the first", "first")
    w.add("d/x", b"of the second", "second")
    w.add("d/y", b"of the second", "second")
    w.publish()
    w.init()
    w.download(True, "d/x")
    w.download(True, "d/y")


@case
def delegated_depth_first(w):
    w.delegate("targets", "a", paths=["*"])
    w.delegate("targets", "b", paths=["*"])
    w.delegate("a", "c", paths=["*"])
    w.add("x", b"of b", "b")
    w.add("x", b"of c", "c")
    w.publish()
    w.init()
    w.download(True, "x")


@case
def delegator_speaks_first(w):
    w.delegate("targets", "role1", paths=["*"])
    w.add("file.txt", b"of the delegated role", "role1")
    w.docs["targets"]["targets"]["file.txt"] = {"length": 7, "hashes": {"sha256": sha256(b"content")}}
    w.publish()
    w.init()
    w.download(True, "file.txt")


@case
def delegated_path_must_match_all_the_way(w):
    w.delegate("targets", "a", paths=["a/*"])
    w.delegate("a", "b", paths=["*", "b/*", "a/*"])
    w.add("a/x", b"fits", "b")
    w.add("b/x", b"does not", "b")
    w.publish()
    w.init()
    w.download(True, "a/x")
    w.download(False, "b/x")


@case
def terminating(w):
    w.delegate("targets", "first", paths=["*.txt"], terminating=True)
    w.delegate("targets", "second", paths=["*"])
    w.delegate("first", "below", paths=["*"])
    w.add("a.txt", b"second", "second")
    w.add("b.bin", b"second", "second")
    w.add("c.txt", b"below", "below")
    w.publish()
    w.init()
    w.download(False, "a.txt")
    w.download(True, "b.bin")
    w.download(True, "c.txt")


@case
def terminating_below(w):
    w.delegate("targets", "a", paths=["*"])
    w.delegate("targets", "b", paths=["*"])
    w.delegate("a", "c", paths=["*"], terminating=True)
    w.add("x", b"of b", "b")
    w.publish()
    w.init()
    w.download(False, "x")


@case
def terminating_left_out(w):
    w.delegate("targets", "first", paths=["*"])
    del w.docs["targets"]["delegations"]["roles"][0]["terminating"]
    w.add("x", b"x", "first")
    w.publish()
    w.init()
    w.download(True, "x")


def pattern(what, pattern, matching, others):
    def run(w):
        w.delegate("targets", "role1", paths=[pattern])
        for name in [*matching, *others]:
            w.add(name, name.encode(), "role1")
        w.publish()
        w.init()
        for name in matching:
            w.download(True, name)
        for name in others:
            w.download(False, name)
    run.__name__ = f"pattern_{what}"
    case(run)


pattern("star", "*.tgz", ["foo.tgz", ".tgz"], ["targets/foo.tgz", "foo.txt", "foo.tgz.x"])
pattern("star_in_directory", "targets/*.tgz", ["targets/foo.tgz"], ["targets/foo.txt", "foo.tgz", "targets/a/foo.tgz"])
pattern("question_mark", "foo-version-?.tgz", ["foo-version-2.tgz", "foo-version-a.tgz"], ["foo-version-alpha.tgz", "foo-version-.tgz"])
pattern("exact", "foo.tgz", ["foo.tgz"], ["Foo.tgz", "a/foo.tgz"])
pattern("star_alone", "*", ["a", ".hidden"], ["a/b"])
pattern("star_directory", "*/x", ["a/x"], ["x", "a/b/x"])
pattern("two_stars", "a/**", ["a/b"], ["a/b/c"])
pattern("two_stars_between", "**/x", ["a/x"], ["x", "a/b/x"])
pattern("stars_in_a_row", "a**b", ["ab", "axxb"], ["a/b"])
pattern("three_stars", "***", ["a"], ["a/b"])
pattern("set", "foo-[0-9].tgz", ["foo-2.tgz"], ["foo-a.tgz"])
pattern("set_negated", "foo-[!0-9].tgz", ["foo-a.tgz"], ["foo-2.tgz"])
pattern("set_of_bracket", "a[]]b", ["a]b"], ["a[b"])
pattern("set_unclosed", "a[b", ["a[b"], ["ab"])
pattern("braces", "{a,b}.txt", ["{a,b}.txt"], ["a.txt"])
pattern("question_mark_is_no_slash", "a?b", ["axb"], ["a/b"])
pattern("dot", "a.b", ["a.b"], ["axb"])
pattern("unicode", "?.txt", ["é.txt", "😀.txt"], ["éé.txt"])
pattern("leading_slash", "/a", [], ["a"])
pattern("plus_and_dollar", "a+b$", ["a+b$"], ["aab$"])
pattern("backslash", "a\\*", ["a\\x"], ["a*"])
pattern("empty", "", [], ["a"])
pattern("star_many", "*a*b*c*", ["xaxbxcx", "abc"], ["acb"])


@case
def prefixes_of_hashes(w):
    name = "some/file.bin"
    w.delegate("targets", "bin", path_hash_prefixes=[sha256(name.encode())[:3], "0"])
    w.delegate("targets", "other", path_hash_prefixes=["zz"])
    w.add(name, b"in the bin", "bin")
    w.add("else", b"else", "other")
    w.publish()
    w.init()
    w.download(True, name)
    w.download(False, "else")


@case
def prefix_in_capitals(w):
    name = next(f"n{i}" for i in range(99) if sha256(f"n{i}".encode())[0] in "abcdef")
    w.delegate("targets", "bin", path_hash_prefixes=[sha256(name.encode())[:1].upper()])
    w.add(name, b"x", "bin")
    w.publish()
    w.init()
    w.download(False, name)


@case
def prefixes_and_paths(w):
    w.delegate("targets", "role1", paths=["*"], path_hash_prefixes=["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f"])
    w.add("x", b"x", "role1")
    w.publish()
    w.init()
    w.download(False, "x")


@case
def neither_prefixes_nor_paths(w):
    w.delegate("targets", "role1")
    w.add("x", b"x", "role1")
    w.publish()
    w.init()
    w.download(False, "x")


@case
def no_paths_match(w):
    w.delegate("targets", "role1", paths=[])
    w.add("x", b"x", "role1")
    w.publish()
    w.init()
    w.download(False, "x")


@case
def circles(w):
    w.delegate("targets", "a", key("circle"), paths=["*"])
    w.delegate("a", "b", key("circle"), paths=["*"])
    w.delegate("b", "a", key("circle"), paths=["*"])
    w.delegate("b", "b", key("circle"), paths=["*"])
    w.add("x", b"x", "b")
    w.publish()
    w.init()
    w.download(True, "x")
    w.download(False, "y")


@case
def long_chain(w):
    parent = "targets"
    for i in range(1, 41):
        w.delegate(parent, f"r{i}", key("chain"), paths=["*"])
        w.add(f"in-{i}", b"x", f"r{i}")
        parent = f"r{i}"
    w.publish()
    w.init()
    for i in (1, 20, 30, 31, 32):
        w.download(True, f"in-{i}")
    for i in (33, 40):
        w.download(False, f"in-{i}")


@case
def wide(w):
    for i in range(1, 41):
        w.delegate("targets", f"r{i}", key("chain"), paths=["*"])
        w.add(f"in-{i}", b"x", f"r{i}")
    w.publish()
    w.init()
    for i in (1, 31, 32):
        w.download(True, f"in-{i}")
    w.download(False, "in-33")


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


# --- running them -------------------------------------------------------------------------------------------------------------------------

def run(function, script):
    with tempfile.TemporaryDirectory() as home:
        name = function.__name__
        world = WORLDS[name] = World(name, script, pathlib.Path(home))
        try:
            function(world)
        except Exception as error:  # a case that cannot go on is a failed case
            world.steps.append({"case": name, "step": len(world.steps) + 1, "broken": f"{type(error).__name__}: {error}"})
        return world.steps


def main():
    global BASE
    script, *wanted = sys.argv[1:]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    BASE = f"http://127.0.0.1:{server.server_address[1]}"
    cases = [function for function in CASES if not wanted or function.__name__ in wanted]
    names = [function.__name__ for function in cases]
    assert len(set(names)) == len(names), "two cases have one name"
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for steps in pool.map(lambda function: run(function, script), cases):
            for step in steps:
                print(json.dumps(step), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
