"""What a recorder has the recorded kernel do: publish the reply of each of our runs, besides sending it.

Runs on the runtime (Python 3.8 and newer); the text `PREPARE` is executed in the user's kernel. A reply goes to the
client that sent the request and to nobody else, so a recorder does not see it. But only the reply tells whether code
failed: IPython publishes no `error` for an exception group or a mistyped magic, and it publishes one for an exception
that the code handles and shows (protocol J34). So `do_execute` is wrapped: behind each request of ours, and before its
`idle`, a message of the type `NOTE` is published. Its content is that of the reply, and besides it

* `unsent`: how many numbers were used for messages that could not be sent, of which the code was told;
* `shellExit`: the exit status of the last `!command` of the code, if it was not 0.

What a child process or C code has written to the file descriptors 1 and 2 is waited for: ipykernel reads it in a
thread, which may come to it only when the run has ended, so that nobody would get it.

A call of a helper that lives in this very kernel comes on the control channel, in a thread of its own, while code runs
(protocol C39). It is answered without IPython's machinery, which would take `input()` away from the code, show its
figures half drawn, and make a note of the code's end out of the call's.

And results are numbered when they are sent. IPython numbers them before it flushes the streams and formats them, so
that their numbers come late or never (protocol J35), which looks to readers as if messages were lost.
"""

NOTE = "lecoder_reply"
DRAIN_LOOKS = 200  # at what child processes wrote, one millisecond apart
QUEUE = 100_000  # messages that may wait in a kernel for each subscriber, far more than a busy machine lets pile up

PREPARE = f"""
def _lecoder_prepare():
    import functools, inspect, re, sys, threading, time, zmq
    from jupyter_client.session import msg_header
    from IPython import get_ipython
    shell = get_ipython()
    kernel = shell.kernel
    thread = kernel.iopub_thread
    # Its sockets belong to a thread, which is asked to do it.
    thread.schedule(lambda: thread.socket.setsockopt(zmq.SNDHWM, {QUEUE}))
    original = kernel.do_execute
    if getattr(original, "lecoder_notes", False):
        return
    ours = re.compile("run-[0-9a-f]{{16}}$")
    class Earlier(int):
        pass  # an exit status that was there before the code
    unsent = [0]
    session, hook = kernel.session, shell.displayhook
    send, finish = session.send, hook.finish_displayhook
    @functools.wraps(send)
    def counting_send(*args, **options):
        try:
            return send(*args, **options)
        except Exception:
            if threading.current_thread() is not thread.thread:  # else a stream's text was lost, and nobody told
                unsent[0] += 1
            raise
    session.send = counting_send
    def start_displayhook():
        header = msg_header("", "execute_result", session.username, session.session)
        content = {{"data": {{}}, "metadata": {{}}}}
        hook.msg = session.msg("execute_result", content, hook.parent_header, header)
    @functools.wraps(finish)
    def finish_displayhook():
        sys.stdout.flush()
        sys.stderr.flush()
        message = hook.msg
        if message and message["content"]["data"]:
            message["header"] = session.msg_header("execute_result")
            message["msg_id"] = message["header"]["msg_id"]
        finish()
    hook.start_displayhook, hook.finish_displayhook = start_displayhook, finish_displayhook
    def drain():
        import fcntl, termios
        for stream in (sys.stdout, sys.stderr):
            pipe, size = getattr(stream, "_fid", None), bytearray(4)
            for _ in range({DRAIN_LOOKS} if isinstance(pipe, int) else 0):
                fcntl.ioctl(pipe, termios.FIONREAD, size)
                time.sleep(0.001 if any(size) else 0)  # also for the thread that has read it and not passed it on
                if not any(size):
                    break
    signature = inspect.signature(original)
    @functools.wraps(original)
    async def do_execute(*args, **options):
        given = signature.bind(*args, **options).arguments
        silent, beside = given.get("silent"), threading.current_thread() is getattr(kernel, "control_thread", None)
        if silent and beside and not given["code"]:
            found = shell.user_expressions(given.get("user_expressions") or {{}})
            return dict(status="ok", execution_count=kernel.execution_count, user_expressions=found, payload=[])
        parent = kernel.get_parent()
        run = str((parent.get("header") or {{}}).get("msg_id"))
        noted = not silent and bool(ours.match(run))
        if noted:
            unsent[0] = 0
            if "_exit_code" in shell.user_ns:
                shell.user_ns["_exit_code"] = Earlier(shell.user_ns["_exit_code"])
        reply = original(*args, **options)
        if inspect.isawaitable(reply):
            reply = await reply
        if noted:
            try:
                drain()
            except Exception:
                pass  # another system, or another ipykernel
            try:
                names = ("status", "execution_count", "ename", "evalue", "traceback")
                note = {{name: reply[name] for name in names if name in reply}}
                note["unsent"] = unsent[0]
                status = shell.user_ns.get("_exit_code")
                if type(status) is int and status:
                    note["shellExit"] = status
                kernel.session.send(kernel.iopub_socket, {NOTE!r}, note, parent)
            except Exception:
                pass  # then nobody knows the reply but the client
        return reply
    do_execute.lecoder_notes = True
    kernel.do_execute = do_execute
try:
    _lecoder_prepare()
finally:
    del _lecoder_prepare
"""
