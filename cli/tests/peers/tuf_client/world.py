"""A TUF repository on a server, what can be wrong with it, and two clients that work on it.

Everything here is for the cases in the files beside this one; run.py says how they are run.
"""

import copy
import datetime
import hashlib
import http.server
import json
import os
import shutil
import subprocess
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
# Where the server is, once it runs.
BASE = ""


def case(run):
    CASES.append(run)
    return run


# --- keys

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
