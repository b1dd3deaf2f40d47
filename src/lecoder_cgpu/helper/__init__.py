"""Our client of `guest/`: installs the helper on a runtime, calls it, and follows the runs that it reports.

`bootstrap` packs the source, `client` has one typed method per call, `follow` watches a run, `file_service` carries
file requests, `documents` types the answers.
Who may use it: sessions, runs, files and notebooks.
Never here: code that runs on the runtime (that is `guest/`), or text for users.
"""
