"""The process that keeps runtimes alive, watches their leases and gives them back.

Who may use it: it is started as a process of its own by `sessions/keeper_process.py`.
Never here: printing, or a question to a person.
"""
