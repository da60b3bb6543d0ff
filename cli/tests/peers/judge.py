"""What sigstore-python says of bundles: verdicts of one process for thousands of cases, as starting it costs a second.

Reads one case a line, as JSON, and answers each with a line, in order:

    {"bundle": TEXT, "root": TEXT, "digest": "sha256:HEX", "identity": [SIGNER, ISSUER] or null}
    null, or why it is refused

`bundle` and `root` are the documents' own text, so that a text that is not quite JSON can be asked about. `identity` null means
anyone. Only sigstore-python's public interface is used, and a statement is compared with the artifact as its command line does.
"""

import functools
import json
import logging
import sys
import tempfile

from sigstore import dsse
from sigstore.hashes import Hashed
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier, policy
from sigstore_models.common.v1 import HashAlgorithm

IN_TOTO = "application/vnd.in-toto+json"


@functools.lru_cache(maxsize=8)
def verifier(root: str) -> Verifier:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write(root)
        file.flush()
        return Verifier(trusted_root=TrustedRoot.from_file(file.name))


def check(case: dict) -> None:
    """Raises unless the case is accepted."""
    judge = verifier(case["root"])
    bundle = Bundle.from_json(case["bundle"])
    algorithm, digest = case["digest"].split(":")
    if algorithm != "sha256":
        raise ValueError("sigstore-python compares SHA-256 digests only")
    wanted = bytes.fromhex(digest)
    whom = case["identity"]
    signer = policy.Identity(identity=whom[0], issuer=whom[1]) if whom else policy.UnsafeNoOp()
    if "messageSignature" in json.loads(bundle.to_json()):
        judge.verify_artifact(Hashed(algorithm=HashAlgorithm.SHA2_256, digest=wanted), bundle, signer)
        return
    kind, payload = judge.verify_dsse(bundle, signer)
    if kind != IN_TOTO:
        raise ValueError(f"a payload of type {kind}")
    dsse.Statement(payload)
    subjects = [subject["digest"].get("sha256") for subject in json.loads(payload)["subject"]]
    if digest not in subjects:
        raise ValueError("the statement is about something else")


def main() -> None:
    logging.disable()
    for line in sys.stdin:
        try:
            check(json.loads(line))
            answer = None
        except Exception as refusal:  # It raises whatever its libraries raise: its command line fails just so.
            answer = f"{type(refusal).__name__}: {refusal}"[:300]
        print(json.dumps(answer), flush=True)


main()
