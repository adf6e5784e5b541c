"""How fast Scrip is, beside the limits of the machine it runs on: `python -m benchmarks`, or `make bench`."""
