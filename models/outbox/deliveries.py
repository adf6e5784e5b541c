"""Deliveries as the API reads and changes them: one message to one endpoint."""

from __future__ import annotations

from datetime import datetime
from operator import attrgetter
from typing import Any

from models import database, pagination
from models.database import Connection
from models.errors import Conflict, NotFound
from models.outbox.messages import TEST_TYPE, message_id, payload
from models.tables import Endpoint, OutboxDelivery, OutboxMessage

OF_ENDPOINT = Endpoint.id == OutboxDelivery.endpoint_id


def add_test(conn: Connection, app: str, endpoint_row_id: int, data: dict[str, Any], *, now: datetime) -> int:
    """Store a test message for one endpoint, whatever its `events` are. Returns the id of the delivery."""
    message = OutboxMessage.create(app=app, type=TEST_TYPE, data=data, created_at=now)
    delivery = OutboxDelivery.create(
        app=app, message_id=message.id, endpoint_id=endpoint_row_id, next_attempt_at=now, created_at=now
    )
    return int(delivery.id)


def replay(conn: Connection, app: str, delivery_id: int, *, now: datetime) -> None:
    """Make the delivery due again, in whatever state it is, under the same webhook-id.

    Raises:
        NotFound: the app has no such delivery. Conflict: its endpoint is disabled or deleted.
    """
    database.require_transaction(conn)
    query = OutboxDelivery.select(OutboxDelivery, Endpoint.state).join(Endpoint, on=OF_ENDPOINT, attr="endpoint")
    locked = query.where(OutboxDelivery.app == app, OutboxDelivery.id == delivery_id).for_update(of=OutboxDelivery)
    delivery: Any = locked.first()
    if delivery is None:
        raise NotFound(f"no delivery {delivery_id}")
    if delivery.endpoint.state != "enabled":
        state = delivery.endpoint.state
        raise Conflict(f"the endpoint of delivery {delivery_id} is {state}", status=state)
    delivery.state, delivery.attempts, delivery.next_attempt_at = "pending", 0, now
    delivery.leased_until = delivery.status_code = delivery.error = delivery.delivered_at = None
    delivery.save()


def get(app: str, delivery_id: int) -> dict[str, Any]:
    """Return one delivery with its payload.

    Raises:
        NotFound: the app has no such delivery.
    """
    delivery = _select().where(OutboxDelivery.app == app, OutboxDelivery.id == delivery_id).first()
    if delivery is None:
        raise NotFound(f"no delivery {delivery_id}")
    return _to_json(delivery)


def list_page(
    app: str,
    *,
    endpoint: str | None = None,
    type: str | None = None,
    state: str | None = None,
    customer: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """Return deliveries of the app, newest first, and the cursor of the next page.

    Raises:
        Invalid: the cursor is not one of this list.
    """
    (below,) = pagination.decode("deliveries", cursor)
    filters = (
        (Endpoint.external_id, endpoint),
        (OutboxMessage.type, type),
        (OutboxDelivery.state, state),
        (OutboxMessage.customer, customer),
    )
    # The app of the message is for the index on (app, customer).
    conditions = [OutboxDelivery.app == app, OutboxMessage.app == app, OutboxDelivery.id < below]
    conditions += [column == value for column, value in filters if value is not None]
    query = _select().where(*conditions).order_by(OutboxDelivery.id.desc()).limit(limit + 1)
    page, following = pagination.cut("deliveries", list(query), limit, attrgetter("id"))
    return [_to_json(delivery) for delivery in page], following


def _select() -> Any:
    """Deliveries, each with its `message` and with the id of its `endpoint`."""
    query = OutboxDelivery.select(OutboxDelivery, OutboxMessage, Endpoint.external_id)
    query = query.join(OutboxMessage, on=OutboxMessage.id == OutboxDelivery.message_id, attr="message")
    return query.join_from(OutboxDelivery, Endpoint, on=OF_ENDPOINT, attr="endpoint")


def _to_json(delivery: Any) -> dict[str, Any]:
    message = delivery.message
    return {
        "id": delivery.id,
        "message_id": message_id(message.uid),
        "endpoint": delivery.endpoint.external_id,
        "type": message.type,
        "customer": message.customer,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "status_code": delivery.status_code,
        "error": delivery.error,
        "created_at": delivery.created_at,
        "next_attempt_at": delivery.next_attempt_at if delivery.state == "pending" else None,
        "delivered_at": delivery.delivered_at,
        "payload": payload(message.type, message.created_at, message.data),
    }
