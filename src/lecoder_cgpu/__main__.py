"""`python -m lecoder_cgpu` and the two console scripts."""

from __future__ import annotations

import sys


def run() -> None:
    """Run the command line and exit with its status."""
    from .cli.main import main

    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
