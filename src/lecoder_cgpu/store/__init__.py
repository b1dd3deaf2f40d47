"""Stored sessions and their leases, as data.

`session_store` owns `state/sessions.json`; `lifecycle` decides what a record means for its runtime, `leases` when a
runtime has to be given back, `opening` who opens kernels, `owners` which command it was started for, `succession` which
session is active after another, `rates` what it was seen to cost, and `former` which runtimes no session has any more.
Who may use it: backends, sessions and the keeper.
Never here: the network, or starting or releasing anything.
"""
