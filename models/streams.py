"""What event streams watch: whether anything of a customer may have changed."""

from __future__ import annotations

from collections.abc import Sequence

from models import arrays, database

# Every change of a balance, hold or tier writes the account's row, every change of a session its own.
VERSIONS = """
SELECT a.app, a.customer, concat_ws(' ', a.xmin, (
    SELECT string_agg(concat(s.id, s.state, s.xmin), ' ' ORDER BY s.id) FROM session s
    WHERE s.account_id = a.id AND s.state IN ('waiting', 'active')))
FROM account a JOIN unnest(%s::text[], %s::text[]) AS watched(app, customer)
  ON a.app = watched.app AND a.customer = watched.customer
"""


def versions(customers: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """A text for each (app, customer) that has an account; another one after each change."""
    columns = [arrays.texts([app for app, _ in customers]), arrays.texts([customer for _, customer in customers])]
    return {(app, customer): version for app, customer, version in database.read(VERSIONS, columns)}
