"""A Jupyter server, its kernels and terminals, as their protocols have it.

Who may use it: whoever holds an `Endpoint`. `messages` is pure; `server` is the REST API; `execution_watch` sees one
execution to its end.
Never here: sessions, backends, or anything that only one service adds to Jupyter.
"""
