"""Random input for all that reads what servers, runtimes and repositories have made; see tests/support/fuzz.py."""
