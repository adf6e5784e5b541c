"""The table: every row, in the order in which it is printed. Targets are those of docs/benchmarks.md."""

from __future__ import annotations

from benchmarks.rows.costs import C1, C2
from benchmarks.rows.grants import L4, P8
from benchmarks.rows.kernel import K1, K2
from benchmarks.rows.one_deduction import L1
from benchmarks.rows.settle import P1

ROWS = (L1, K1, K2, P1, L4, P8, C1, C2)
