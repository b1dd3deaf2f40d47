"""The process that keeps runtimes alive, watches their leases and gives them back.

`decisions` says what is done when, as a pure function of `events` and the time; `calls` does it over the network;
`daemon` is the process. `pulls` fetches the results of jobs that nobody watches, `restarts` runs
lost ones again.
Who may use it: nothing imports it; `sessions/keeper_process.py` starts it as a process of its own.
Never here: printing, or a question to a person.
"""
