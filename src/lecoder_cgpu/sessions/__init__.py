"""Choosing, starting, listing and giving back sessions; and one session in use.

Who may use it: everything that runs code or moves files starts with a `Session` from here.
Never here: what is run on a session, or which backend it has.
"""
