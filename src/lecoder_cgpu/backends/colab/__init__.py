"""Google Colab as a backend: asking for runtimes, finding them again, giving them back, and what all that costs.

`control` is the interface of the two control planes, `web_plane` and `api_plane` serve it, `model` reads what they say.
Who may use it: the registry of backends.
Never here: a request to a runtime itself, which is Jupyter's like any other.
"""
