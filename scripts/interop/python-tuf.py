"""python-tuf as a command, in the argument order of the public tuf-conformance suite.

  python-tuf --metadata-dir D init ROOT
  python-tuf --metadata-dir D --metadata-url U refresh
  python-tuf --metadata-dir D --metadata-url U --target-name N --target-base-url B --target-dir T download

Exit 0 accepted, 1 refused or failed.
"""

import argparse
import pathlib
import shutil
import sys

import tuf
from tuf.ngclient import Updater


def updater(flags: argparse.Namespace) -> Updater:
    # No bootstrap: `init` has placed the root that is trusted.
    return Updater(
        flags.metadata_dir,
        flags.metadata_url,
        flags.target_dir,
        flags.target_base_url,
        bootstrap=None,
    )


def init(flags: argparse.Namespace) -> None:
    metadata = pathlib.Path(flags.metadata_dir)
    metadata.mkdir(parents=True, exist_ok=True)
    shutil.copy(flags.root, metadata / "root.json")


def refresh(flags: argparse.Namespace) -> None:
    updater(flags).refresh()


def download(flags: argparse.Namespace) -> None:
    client = updater(flags)
    client.refresh()
    for name in flags.target_name:
        info = client.get_targetinfo(name)
        if info is None:
            raise FileNotFoundError(f"no target {name}")
        if client.find_cached_target(info) is None:
            client.download_target(info)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python-tuf")
    parser.add_argument("--version", action="version", version=tuf.__version__)
    for flag in ("metadata-dir", "metadata-url", "target-dir", "target-base-url"):
        parser.add_argument(f"--{flag}")
    parser.add_argument("--target-name", action="append", default=[])
    commands = parser.add_subparsers(required=True)
    start = commands.add_parser("init")
    start.add_argument("root")
    start.set_defaults(run=init)
    commands.add_parser("refresh").set_defaults(run=refresh)
    commands.add_parser("download").set_defaults(run=download)
    flags = parser.parse_args()
    try:
        flags.run(flags)
    except Exception as error:  # every refusal is exit 1, with the library's own reason
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
