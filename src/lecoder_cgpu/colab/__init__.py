"""Google Colab's control plane: asking for runtimes, finding them again, giving them back, and what all that costs.

`control` is the interface; `tunnel` and `public` are the two planes that serve it. Nothing here talks to a runtime.
"""
