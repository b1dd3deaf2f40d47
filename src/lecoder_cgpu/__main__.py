"""`python -m lecoder_cgpu` and the two console scripts."""

from __future__ import annotations

import signal
import sys


def run() -> None:
    """Run the command line and exit with its status."""
    # Signals wait until `main` can answer them with a document: importing it takes a moment.
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    from .cli.main import main

    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
