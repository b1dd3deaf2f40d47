"""Stored sessions and their leases, as data.

Who may use it: backends, sessions and the keeper.
Never here: the network, or a decision to start or release anything.
"""
