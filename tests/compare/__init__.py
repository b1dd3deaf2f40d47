"""Notebooks executed by nbclient and by us, and compared: outputs, verdict, metadata.

`normal` leaves out what differs from one run to the next, and knows the differences that docs/papermill.md defends.
`engines` executes. `python -m tests.compare FOLDER` does it for a folder of notebooks, of other projects for example.
"""
