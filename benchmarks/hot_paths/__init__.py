"""The hot paths by their CPU time, a file each.

`pieces(database_url, count, accounts)` of a path makes its rows, yields pieces of work that together do `count` units,
and at the end checks what they left. It runs in a process that was set up as a worker is (`table.set_up`), on a
database with the accounts of benchmarks/customers.py.

`python -m benchmarks.hot_paths` measures all of them once. To measure an older checkout, copy this folder,
benchmarks/customers.py, benchmarks/databases.py and benchmarks/frame.py there.
"""
