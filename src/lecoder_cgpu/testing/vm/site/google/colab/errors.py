"""Errors between a notebook and its client."""


class Error(Exception):
    """Base of the errors below."""


class MessageError(Error):
    """The client answered a request with an error."""


class RuntimeManagementError(Error):
    """The VM's own service refused or failed."""
