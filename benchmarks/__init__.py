"""How fast, and with how much memory: ratios to floors that are measured in the same run. `python -m benchmarks`."""
