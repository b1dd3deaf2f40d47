"""Runs on the runtime: the helper, the programs that it starts, and the guards that outlive it.

`service` answers our calls, `store` and `runs` know the runs, `supervisor` watches one process, `recorder` and
`recording` keep what kernels publish, `executor` runs jobs in a kernel, `lease_guard` ends work and releases the
runtime, `files` and `trees` are the far end of transfers, `port_tunnel` that of forwarded ports.
Sent there as source by `helper/bootstrap.py`, so it is written for Python 3.8, the standard library and pyzmq. What
Colab's machines have is protocol C38.
Who may use it: `helper/` packs it; `files/` packs and unpacks with `trees` on this machine, too.
Never here: an import from outside this package, anything newer than Python 3.8, a third-party library.
"""
