"""Looks on a real runtime at the facts of docs/protocol.md that nobody has confirmed, or that may change.

`check` lists the facts and goes through them; `subject` is the runtime that is looked at. `kernel_facts` asks code in a
kernel, `socket_facts` the way to it, `server_facts` the server, `access_facts` tokens and other ports, and
`lender_facts` the lender.
"""
