"""Our client of `guest/`: puts the helper on a runtime, calls it, and follows what it tells.

Who may use it: sessions, runs, files and notebooks, which ask for runs, recordings, reports and files.
Never here: code that runs on the runtime (that is `guest/`), or words for the user.
"""
