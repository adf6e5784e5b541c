"""Benchmarks of Scrip relative to the limits of the machine: `python -m benchmarks`, or `make bench`."""
