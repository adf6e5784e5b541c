"""The rows of the table: one file a subject. A new row is a file here and a line in `benchmarks/table.py`."""
