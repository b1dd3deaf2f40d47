"""Stand-ins for what cannot be had offline. `colab.FakeColab` is a Google for one machine; see docs/fake-colab.md.

Nothing that the command line does imports this package.
"""
