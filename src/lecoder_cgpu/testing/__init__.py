"""A Google for one machine: login, Colab and Drive, for tests and for rehearsing offline.

`colab.FakeColab` starts it; docs/fake-colab.md explains it. `state` has its switches, `world` the rules by which
runtimes come and go, `front` the runtime proxy, `tunnel`, `private` and `public` the control planes, `oauth` the login,
`drive` Google Drive. What runs on a fake runtime is in `vm/`.
Who may use it: tests, and people who run `python -m lecoder_cgpu.testing.colab`.
Never here: anything that the command line or the library imports.
"""

import importlib.util
import sys

if importlib.util.find_spec("tornado") is None:
    text = "the fake Colab needs the extra 'local': pip install \"lecoder-cgpu[local]\""
    if sys.argv[:1] == ["-m"]:  # a person has started it
        sys.exit(text)
    raise ImportError(text)
