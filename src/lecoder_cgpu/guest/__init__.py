"""Runs on the runtime: the helper, the programs that it starts, and the guards that outlive it.

* The helper: `service` answers our calls, `store` and `runs` know the runs, `progress` reads percentages from their
  output, `report` measures GPUs, memory and disks.
* Processes: `supervisor` starts and watches one, with the variables of `environment`.
* Kernels: `recorder` keeps what they publish as a `recording`, `executor` gives them jobs, one after the other.
* Files: `files` answers requests, `trees` lists folders, `packs` and `unpacker` carry many small files.
* Programs of their own: `lease_guard` ends work and releases the runtime, `notebook_driver` runs a notebook without us,
  `installer` installs packages, `port_tunnel` is the far end of forwarded ports.
Sent there as source by `helper/bootstrap.py`, so it is written for Python 3.8, the standard library and pyzmq. What
Colab's machines have is protocol C38.
Who may use it: `helper/` packs it; `files/` packs and unpacks with `trees` on this machine, too.
Never here: an import from outside this package, anything newer than Python 3.8, a third-party library.
"""
