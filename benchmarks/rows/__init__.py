"""The rows of the table, one file per subject. A new row needs a file here and a line in `benchmarks/table.py`."""
