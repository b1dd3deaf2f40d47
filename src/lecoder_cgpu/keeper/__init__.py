"""The process that keeps runtimes alive, watches their leases and gives them back.

`daemon` has what it does in each round: pings, tokens, leases.
Who may use it: nothing imports it; `sessions/keeper_process.py` starts it as a process of its own.
Never here: printing, or a question to a person.
"""
