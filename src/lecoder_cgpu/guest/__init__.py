"""Runs on the runtime: the helper, the programs it starts, and the guards that outlive it.

Sent there as source by `helper/bootstrap.py`, so it is written for Python 3.8, the standard library and pyzmq. What
Colab's machines have is protocol C38.
Who may use it: `helper/` packs it; `files/` packs and unpacks with `trees` on this machine, too.
Never here: an import from outside this package, anything newer than Python 3.8, a third-party library.
"""
