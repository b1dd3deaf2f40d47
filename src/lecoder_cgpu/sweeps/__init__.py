"""Sweeps: one command with many values, as jobs over several runtimes.

`grid` makes items of parameters and files, `template` puts an item's values into the command, `identity` says when two
sweeps are the same, `code` keeps what is sent as it was. `store` keeps sweeps on this machine, `standing` tells from it
how each item stands. `places` are the sessions that execute items, `schedule` gives them out, `work` is one process at
work on a sweep, from looking what has a result already to giving the runtimes back. `elsewhere` finds sweeps of other
machines, `claims` says who executes an item while several work on it, `joblog` writes a log of what has ended.
Who may use it: the command line.
Never here: how a job is started or waited for (`runs/`), or what is printed (`cli/`).
"""
