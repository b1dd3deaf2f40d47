"""The public library, for programs that run code on runtimes without the command line.

`client` finds sessions, `session` is one of them in use, `job` is a command that runs on without the program, `stream`
iterates over a run's outputs, `notebooks` executes notebooks, `outcomes` turns the document of a failed run into an
exception.

    from lecoder_cgpu import Client

    session = Client(backend="local").session()
    print(session.run("print(6 * 7)").stdout)

What the code did is data: a `models.runs.Run`, whose `error` tells how it failed. With `check=True`, the failure is
raised, as the class of the error tree (`lecoder_cgpu.errors`) that has its code. Failures of the tool are always
raised.
Synchronous; every call opens its own connection, so sessions may be used from several threads.
Who may use it: programs, through the names of `lecoder_cgpu` itself; `remote_functions`, `pool` and `agents`.
Never here: printing, or anything that the packages below do already.
"""
