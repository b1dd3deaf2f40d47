"""Where runtimes come from: each backend obtains, finds again and releases an `Endpoint`.

`protocol` is what a backend must do; after it, nothing asks which backend it is. `registry` is the table of names. A
backend is one module or package here and one line there: `local` (with its server program `local_server`, which
`local_owner` has ended when its command was killed), `jupyter`, `gateway`, `hub/` and `colab/`.
Who may use it: `sessions/` and the keeper, through the protocol.
Never here: runs, files, printing. Outside this package, `auth/` and the registry no name of a backend decides.
"""
