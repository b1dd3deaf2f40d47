"""What was run: one entry for each run, the images that it showed, and the history as a web page.

`entries` owns `state/history.jsonl` and its size, `images` keeps pictures, `page` writes the web page (`overview`: its
upper part, `page_text`: its text), `exports` that and other documents. `metrics` finds the numbers that a program
prints, `curves` draws them.
Who may use it: everything that runs code adds to it; the commands `logs …` read it.
Never here: what the tool itself did (`system/logs.py`), or a request to a runtime.
"""
