"""The command line: parse, call one client method, hand the answer to the Printer."""
