"""How often a customer has bought a pack, for packs that each customer may buy a limited number of times."""

from __future__ import annotations

from datetime import datetime, timedelta

from models import database
from models.database import Connection

# As long as a payment page at a provider stays open.
OPEN_FOR = timedelta(days=1)
# A pending checkout counts however old it is, because its money is on its way; its payment counts once it is settled.
BOUGHT = """
SELECT (SELECT coalesce(sum(quantity), 0) FROM payment
        WHERE account_id = %(account)s AND pack = %(pack)s AND state IN ('settled', 'partly_refunded', 'disputed'))
     + (SELECT coalesce(sum(quantity), 0) FROM checkout
        WHERE app = %(app)s AND customer = %(customer)s AND pack = %(pack)s
          AND (state = 'pending' OR (state IN ('new', 'open') AND created_at > %(since)s)))
"""


def lock(conn: Connection, account_id: int) -> None:
    """Let the customer's checkouts be counted and stored one after another, until the end of the transaction."""
    database.require_transaction(conn)
    conn.execute("SELECT 1 FROM account WHERE id = %s FOR UPDATE", [account_id])


def bought(conn: Connection, app: str, account_id: int, customer: str, pack: str, *, now: datetime) -> int:
    """How many of the pack the customer has paid and not returned in full, or is about to pay."""
    values = {"app": app, "account": account_id, "customer": customer, "pack": pack, "since": now - OPEN_FOR}
    row = conn.execute(BOUGHT, values).fetchone()
    assert row is not None
    return int(row[0])
