"""One HTTP client and one WebSocket, and what their failures mean.

Who may use it: whoever speaks to a server. Nothing else imports httpx2 or websockets.
Never here: an address, a path or a status that only one service has.
"""
