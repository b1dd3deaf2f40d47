"""Run code on remote accelerators: Google Colab, any Jupyter server, or an embedded local runtime."""

__version__ = "0.6.0"
