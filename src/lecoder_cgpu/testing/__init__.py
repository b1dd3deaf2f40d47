"""Stand-ins for what cannot be had offline. `colab.FakeColab` is a Google for one machine; see docs/fake-colab.md.

Nothing that the command line does imports this package.
"""

import importlib.util

if importlib.util.find_spec("tornado") is None:
    raise ImportError("the fake Colab needs the extra 'local': pip install \"lecoder-cgpu[local]\"")
