"""Which customer a provider's own customer id stands for: rows of `models.tables.ProviderCustomer`."""

from __future__ import annotations

from collections.abc import Sequence

from models.database import Connection
from models.tables import Account, ProviderCustomer


def store(conn: Connection, app: str, provider: str, provider_id: str, account_id: int) -> None:
    """Store that the provider's id stands for this customer. It may stand for others too."""
    row = ProviderCustomer.insert(app=app, provider=provider, provider_id=provider_id, account_id=account_id)
    row.on_conflict_ignore().execute()


def customer_of(conn: Connection, app: str, provider: str, provider_id: str | None) -> str | None:
    """The customer that the provider's id stands for; None if it stands for none, or for more than one."""
    query = Account.select(Account.customer).join(ProviderCustomer, on=(ProviderCustomer.account_id == Account.id))
    found = list(query.where(_has_id(app, provider, provider_id)).limit(2))
    return found[0].customer if len(found) == 1 else None


def exists(app: str, provider: str, provider_id: str) -> bool:
    """Whether the customer with this id at the provider is known."""
    return bool(ProviderCustomer.select().where(_has_id(app, provider, provider_id)).exists())


def of_accounts(ids: Sequence[int]) -> dict[int, dict[str, str]]:
    """`{account: {provider: id}}`: the last of several ids at one provider. Accounts without one are absent."""
    rows = ProviderCustomer.select().where(ProviderCustomer.account_id.in_(ids))
    found: dict[int, dict[str, str]] = {}
    for row in rows.order_by(ProviderCustomer.provider, ProviderCustomer.provider_id):
        found.setdefault(row.account_id, {})[row.provider] = row.provider_id
    return found


def _has_id(app: str, provider: str, provider_id: str | None) -> object:
    return (
        (ProviderCustomer.app == app)
        & (ProviderCustomer.provider == provider)
        & (ProviderCustomer.provider_id == provider_id)
    )
