"""Code and commands: executed, watched, detached, recorded, and their failures explained.

Who may use it: the command line, the library, notebooks and the agents' tools.
Never here: which cells a notebook has (`notebooks/`), or how a run is printed (`cli/`).
"""
