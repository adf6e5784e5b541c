"""Which customer a provider's own customer id stands for: rows of `models.tables.ProviderCustomer`."""

from __future__ import annotations

from collections.abc import Sequence

from models import database
from models.database import Connection
from models.tables import Account, ProviderCustomer

FOR_PORTAL = """
SELECT c.provider_id FROM provider_customer c JOIN account a ON a.id = c.account_id
WHERE a.app = %(app)s AND a.customer = %(customer)s AND c.app = a.app AND c.provider = %(provider)s
  AND NOT EXISTS (SELECT 1 FROM provider_customer other
                  WHERE other.app = c.app AND other.provider = c.provider AND other.provider_id = c.provider_id
                    AND other.account_id <> c.account_id)
ORDER BY EXISTS (
    SELECT 1 FROM subscription s JOIN plan_fact f ON f.app = s.app AND f.provider = s.provider
      AND f.kind = 'snapshot' AND f.key = s.snapshot
    WHERE s.account_id = a.id AND s.provider = c.provider AND s.ended_at IS NULL
      AND f.content ->> 'provider_customer' = c.provider_id) DESC, c.is_own DESC, c.provider_id DESC
LIMIT 1
"""
LOCK = "SELECT id FROM account WHERE app = %s AND customer = %s FOR UPDATE"


def store(conn: Connection, app: str, provider: str, provider_id: str, account_id: int) -> None:
    """Store that the provider's id stands for this customer. It may stand for others too."""
    row = ProviderCustomer.insert(app=app, provider=provider, provider_id=provider_id, account_id=account_id)
    row.on_conflict_ignore().execute()


def customer_of(conn: Connection, app: str, provider: str, provider_id: str | None) -> str | None:
    """The customer that the provider's id stands for; None if it stands for none, or for more than one."""
    query = Account.select(Account.customer).join(ProviderCustomer, on=(ProviderCustomer.account_id == Account.id))
    found = list(query.where(_has_id(app, provider, provider_id)).limit(2))
    return found[0].customer if len(found) == 1 else None


def own(app: str, provider: str, customer: str) -> str | None:
    """The id of the customer that Scrip created at the provider for this one."""
    query = ProviderCustomer.select(ProviderCustomer.provider_id).join(
        Account, on=(Account.id == ProviderCustomer.account_id)
    )
    named = query.where(Account.app == app, Account.customer == customer, ProviderCustomer.provider == provider)
    row = named.where(ProviderCustomer.is_own).first()
    return row.provider_id if row else None


def store_own(conn: Connection, app: str, provider: str, provider_id: str, customer: str) -> None:
    """Store the customer that Scrip created at the provider; it replaces the one before. The account must exist."""
    database.require_transaction(conn)
    row = conn.execute(LOCK, [app, customer]).fetchone()
    assert row is not None, "a checkout creates the account"
    (account_id,) = row
    of_account = (ProviderCustomer.account_id == account_id) & (ProviderCustomer.provider == provider)
    replaced = of_account & ProviderCustomer.is_own & (ProviderCustomer.provider_id != provider_id)
    ProviderCustomer.update(is_own=False).where(replaced).execute()
    new = ProviderCustomer.insert(
        app=app, provider=provider, provider_id=provider_id, account_id=account_id, is_own=True
    )
    key = (
        *(ProviderCustomer.app, ProviderCustomer.provider),
        *(ProviderCustomer.provider_id, ProviderCustomer.account_id),
    )
    new.on_conflict(conflict_target=key, preserve=[ProviderCustomer.is_own]).execute()


def for_portal(app: str, provider: str, customer: str) -> str | None:
    """The provider's id under which the customer's running subscription is, else Scrip's own, else the last one.

    Ids that stand for other customers too are left out: their portal would show what the others bought.
    """
    values = {"app": app, "provider": provider, "customer": customer}
    rows = database.read(FOR_PORTAL, values)
    return str(rows[0][0]) if rows else None


def exists(app: str, provider: str, provider_id: str) -> bool:
    """Whether the customer with this id at the provider is known."""
    return bool(ProviderCustomer.select().where(_has_id(app, provider, provider_id)).exists())


def of_accounts(ids: Sequence[int]) -> dict[int, dict[str, str]]:
    """`{account: {provider: id}}`: of several ids Scrip's own, else the last. Accounts without one are absent."""
    rows = ProviderCustomer.select().where(ProviderCustomer.account_id.in_(ids))
    found: dict[int, dict[str, str]] = {}
    for row in rows.order_by(ProviderCustomer.is_own, ProviderCustomer.provider_id):
        found.setdefault(row.account_id, {})[row.provider] = row.provider_id
    return found


def _has_id(app: str, provider: str, provider_id: str | None) -> object:
    return (
        (ProviderCustomer.app == app)
        & (ProviderCustomer.provider == provider)
        & (ProviderCustomer.provider_id == provider_id)
    )
