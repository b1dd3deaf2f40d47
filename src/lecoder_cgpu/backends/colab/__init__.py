"""Google Colab as a backend: asking for runtimes, finding them again, giving them back, and what all that costs.

`control` is the interface of the two control planes, `web_plane` and `api_plane` implement it, `model` reads listings
and answers, `calls` sends requests, `requests` answers what code on the runtime asks of Colab's web page.
Who may use it: the registry of backends.
Never here: a request to a runtime itself, which is Jupyter's like any other.
"""
