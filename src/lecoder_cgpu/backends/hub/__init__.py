"""Backend `hub`: servers of a JupyterHub, started, found again and stopped through its REST API.

`backend` is what sessions use; `api` is the Hub's REST API, typed, with its refusals as our errors.
Who may use it: the registry, by its name.
Never here: what every Jupyter server has.
"""
