"""One HTTP client, one WebSocket, one way to retry, and what their failures mean.

`http` sends requests, `answers` reads what comes within limits, `websocket` opens sockets (`direct_socket` with its
`frames`, or `proxied_socket` where there is a proxy), `retry` decides about another try and its pause, `failures` turns
a status or a failed connection into one of our errors, `proxies` knows those of the environment and what goes wrong
there, `tls` whom connections trust, `addresses` puts names from outside into addresses. `kept_sockets` takes sockets
that `socket_holder`, a process of its own, has kept open since the last command; each is a `kept_line`.
Who may use it: every package below. Nothing else imports httpx2, websockets or stamina.
Never here: an address, a path or a status that only one service has.
"""
