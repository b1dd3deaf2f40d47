"""The public library, for programs that run code on runtimes without the command line.

`client` finds sessions, `session` is one of them in use: `session_base` is which one, `session_code`,
`session_commands`, `session_jobs`, `session_notebooks` and `session_files` are what can be done with it. `job` is work
that runs on without the program, `stream` iterates over a run's outputs, `notebooks` executes notebooks, `limits` reads
the arguments that ask for a runtime, `aio` is the same library under asyncio or trio, `running` knows what a call has
begun and ends it, `outcomes` turns the document of a run into a result or an exception, `references`
finds a pickled session again, `arguments` refuses what does not fit a call,
`suggestions` names methods where the command line names commands.

    from lecoder_cgpu import Client

    session = Client(backend="local").session()
    print(session.run("print(6 * 7)").stdout)

What the code did is data: a `results.Run`, whose `error` tells how it failed. With `check=True`, the failure is
raised, as the class of the error tree (`lecoder_cgpu.errors`) that has its code. Failures of the tool are always
raised.
Synchronous; every call opens its own connection, so sessions may be used from several threads.
Who may use it: programs, through the names of `lecoder_cgpu` itself; `remote_functions`, `pool` and `agents`.
Never here: printing, or anything that the packages below do already.
"""
