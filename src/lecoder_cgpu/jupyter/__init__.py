"""A Jupyter server, its kernels and its terminals, as every Jupyter server has them.

`endpoint` is an address with its token, `messages` the messaging protocol without a socket, `server` the REST API,
`kernel_channels` one client's connection to a kernel, `execution_watch` follows one execution to its end,
`watch_limits` bounds it, `outputs` collects what it shows (with carriage returns carried out), `terminal` is a shell.
Who may use it: any code that holds an `Endpoint`.
Never here: sessions, backends, or anything that only one service adds to Jupyter.
"""
