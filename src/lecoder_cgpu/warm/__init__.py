"""Prepared processes: a command is done by a process that has imported everything, instead of by a new interpreter.

`client` asks for one and hands the command over, `server` is the process that forks them, `likeness` says which process
may stand for which command, `messages` is what both send, `launch` starts one, `control` shows and ends them.
Linux, where `LECODER_CGPU_WARM` says `on`. The theory stands in `server`.
Who may use it: `__main__` starts both sides; `cli` and `diagnostics` use `control`.
Never here: what a command does. `client`, `likeness` and `messages` import next to nothing: their time is all there is.
"""
