"""`@remote`: a function that is executed on a runtime and returns its value, or raises its exception, here.

    from lecoder_cgpu import remote

    @remote(gpu="T4")
    def train(rate: float) -> float: ...

    loss = train(0.01)

The function and its arguments travel as a pickle (cloudpickle, extra `remote`), so closures and functions of a script
work; what is long goes through a file there. A runtime with another minor version of Python, or without cloudpickle,
gets the source of a function that needs no more than its arguments, modules and functions like it. The answer is a
pickle, too, and a pickle can run code here: use this only with runtimes that you trust.

`function` is the decorator and what it makes, `calls` is one call, `mapping` many of them, `travel` how a function gets
there; `guest/remote_call.py` is executed there.
Who may use it: programs, through `lecoder_cgpu.remote`, and `pool`.
Never here: which runtime is used (`api/`).
"""
