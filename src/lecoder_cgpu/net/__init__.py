"""One HTTP client, one WebSocket, one way to retry, and what their failures mean.

Who may use it: every package below. Nothing else imports httpx2, websockets or stamina.
Never here: an address, a path or a status that only one service has.
"""
