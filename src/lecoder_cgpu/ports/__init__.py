"""Ports of the runtime on this machine: through the kernel's channels, the backend's proxy, or SSH.

`tunnel` is the way through the kernel, over a `link` (the other end is `guest/port_tunnel.py`); `http_proxy` is the way
through the backend's proxy, and `proxy_heads` changes headers on it; `serving` puts it in
front of the session's own Jupyter server; `ssh` carries SSH.
Who may use it: the commands `forward`, `serve`, `ssh` and `ssh-config`.
Never here: the address or token of a backend's proxy; the backend's `upstream` knows them.
"""
