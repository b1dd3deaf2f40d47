"""A Jupyter server, its kernels and its terminals, as every Jupyter server has them.

`endpoint` is an address with its token, `server` the REST API, `kernelspecs` what kernels it can start,
`kernel_channels` one client's connection to a kernel, `messages` the messaging protocol without a socket,
`message_numbers` which of them are missing, `message_size` how large they may be, `pieces` what to do with longer text,
`large_messages` with larger ones that come, `frame_form` in which form they come, `breaks` what to do about sockets
that break off soon,
`execution` the state machine of one request. `execution_watch` follows one execution to its end, without a socket or a
clock: `watch_events` go in and actions come out, `watch_state` is what it knows, `execution_end` what it does after the
run, `late_output` what may come then, `outcome` how the run ended, `watch_limits` how long it may take; `watch_driver`
does the actions. `reducer` knows
what is left of outputs, `outputs` collects them in `stream_buffers`, `shown_order` knows in which order they were
shown, `widgets` which of it a widget captured, `screen` (of `screen_row`s) makes of text what a terminal shows,
`terminal` is a shell. `password` logs in at a server's login page.
Who may use it: any code that holds an `Endpoint`.
Never here: sessions, backends, or anything that only one service adds to Jupyter.
"""
