"""Google Colab as a backend: asking for runtimes, finding them again, giving them back, and what all that costs.

`backend` is the backend. `listing` is what Colab says of the account's runtimes, `allocation` asks for one and writes
down how far that got, `refusals` passes on why it got no further, `records` has Colab's facts in a session's record.
`control` is the interface of the two control
planes; `web_plane` and `api_plane` implement it (`planes` chooses). `model` reads listings and answers, `calls` sends
requests, `resources` tells GPUs and memory, `requests` answers what code on the runtime asks of Colab's web page.
Who may use it: the registry of backends.
Never here: a request to a runtime itself, which is Jupyter's like any other.
"""
