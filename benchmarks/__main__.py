"""`python -m benchmarks [--rounds N] [--json FILE] [NAME ...]`: all measurements, or those of the given names. It exits
with 1 if a target is missed by more than a tenth. `README.md` holds the last table.

Run it from the repository's root, on a quiet machine. Absolute times are this machine's; ratios are what counts.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from pathlib import Path

from .measure import Table, local_runtime

NAMES = (
    *("commands", "series", "starts", "requests", "lines", "recorder", "latency", "memory", "files", "notebook"),
    "surviving",
)


def main() -> int:
    """Measure, print, and return 1 if a target is missed by more than a tenth."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--rounds", type=int, default=11, help="pairs of each comparison (default: 11)")
    parser.add_argument("--no-verdict", action="store_true", help="exit 0 also if a target is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"there is no measurement {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    table = Table()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} processors, load {load:.1f}\n")
    with local_runtime() as runtime:
        for name in options.names or NAMES:
            importlib.import_module(f"{__package__}.{name}").measure(table, runtime, options.rounds)
    if options.json is not None:
        about = {
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "processors": os.cpu_count(),
            "load": load,
        }
        options.json.write_text(json.dumps({**about, "figures": table.rows}, indent=2) + "\n")
    if table.missed:
        print(f"\nmissed by more than a tenth: {', '.join(table.missed)}")
    return int(bool(table.missed) and not options.no_verdict)


if __name__ == "__main__":
    sys.exit(main())
