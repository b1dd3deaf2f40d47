"""Where runtimes come from: each backend obtains, finds again and releases an `Endpoint`.

`protocol` is the seam: after it nothing asks which backend it is. A backend is one module or package here and one line
in the registry.
Who may use it: `sessions/` and the keeper, through the protocol.
Never here: runs, files, printing. Outside this package, `auth/` and the registry no name of a backend decides.
"""
