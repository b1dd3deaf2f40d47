"""Execute all notebooks of a folder by nbclient and by us, in copies of their folders, and tell what differs.

Exit status 1 if anything differs that docs/papermill.md does not defend.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.compare.engines import by_nbclient, by_us
from tests.compare.normal import difference
from tests.support.cli import Cli


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.compare", description=__doc__)
    parser.add_argument("folder", type=Path, help="searched with its subfolders")
    parser.add_argument("--suffix", action="append", help="of the files, .ipynb unless given; repeatable")
    parser.add_argument("--limit", type=int, default=60, help="seconds for each cell (default: 60)")
    parser.add_argument("--detached", action="store_true", help="run ours as jobs")
    options = parser.parse_args()
    suffixes = options.suffix or [".ipynb"]
    files = sorted(path for path in options.folder.rglob("*") if path.suffix in suffixes and path.is_file())
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        cli = Cli(Path(scratch) / "home", {"LECODER_CGPU_BACKEND": "local"})
        cli.home.mkdir()
        try:
            for number, path in enumerate(files):
                copies = [Path(scratch) / f"{number}-{name}" for name in ("theirs", "ours")]
                for copy in copies:
                    shutil.copytree(path.parent, copy)
                theirs = by_nbclient(cli, copies[0] / path.name, options.limit)
                ours = by_us(cli, copies[1] / path.name, options.limit, detached=options.detached)
                defended, left = difference(ours, theirs)
                kind = "different" if left else "defended" if defended else "refused" if ours.refused else "same"
                counts[kind] += 1
                print(f"{kind:<10} {path.relative_to(options.folder)}", flush=True)
                refused = [f"ours: {ours.refused}; theirs: {theirs.refused}"] if kind == "refused" else []
                for line in [*(f"({name})" for name in defended), *left, *refused]:
                    print(f"           {line}", flush=True)
                for copy in copies:
                    shutil.rmtree(copy)
        finally:
            cli("sessions", "close", "--all")
    print(", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) + f" of {len(files)}")
    return 1 if counts["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
