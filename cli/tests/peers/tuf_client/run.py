"""TUF repositories, sound and broken, as two clients see them: python-tuf's, and the one behind scripts/conformance-tuf.

  python run.py CONFORMANCE_TUF [CASE...]

Each case is a function in a file beside this one: it builds a repository, changes it, and lets both clients work on it, each with a metadata directory of
its own. For every step one line of JSON says what was expected (by the specification, section 5) and what each client did: its verdict,
the files it trusts afterwards, byte for byte, the targets it has, and what it asked for. Nothing is judged here; ../tuf_client.rs does.
"""

import concurrent.futures
import http.server
import json
import os
import pathlib
import sys
import tempfile
import threading

import world
from world import CASES, WORLDS, Handler, World

# Each of them adds its cases to the list.
import delegations, documents, roles, roots, targets, updates  # noqa: E401, F401


def run(function, script):
    with tempfile.TemporaryDirectory() as home:
        name = function.__name__
        place = WORLDS[name] = World(name, script, pathlib.Path(home))
        try:
            function(place)
        except Exception as error:  # a case that cannot go on is a failed case
            place.steps.append({"case": name, "step": len(place.steps) + 1, "broken": f"{type(error).__name__}: {error}"})
        return place.steps


def main():
    script, *wanted = sys.argv[1:]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    world.BASE = f"http://127.0.0.1:{server.server_address[1]}"
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
