"""What goes wrong between a notebook and its client."""


class Error(Exception):
    """Anything of the below."""


class MessageError(Error):
    """The client answered a request with an error."""


class RuntimeManagementError(Error):
    """The VM's own service did not do what it was asked for."""
