"""Our client of `guest/`: installs the helper on a runtime, calls it, and follows the runs that it reports.

`bootstrap` packs the source, `client` has one method per call, `calls` sends them and takes what comes, `launch` is
what a run is started with, `answers` and `documents` type what comes back, `follow` watches a run. For files:
`file_service` has one method per operation, `file_channel` sends the requests (`gentle_channel`: without slowing work),
`file_documents` types the answers,
`file_errors` turns problems into our errors.
Who may use it: sessions, runs, files and notebooks.
Never here: code that runs on the runtime (that is `guest/`), or text for users.
"""
