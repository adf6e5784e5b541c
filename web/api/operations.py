"""The operation log."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from models.operations import log as operations
from web.http.call import Call
from web.http.fields import Page, Shape
from web.http.routes import Answer, Routes

routes = Routes("Operations")

Status = Literal["STARTED", "SUCCESS", "ERROR"]


class OperationsQuery(Page):
    customer: str | None = Field(None, max_length=120, description="Return only operations of this customer.")
    operation: str | None = Field(None, max_length=64, description="Return only this operation, such as PAYMENT.")
    status: Status | None = Field(None, description="Return only records with this status.")


class Operation(Shape):
    id: str
    operation: str
    status: Status
    customer: str | None
    details: dict[str, Any]
    error: dict[str, Any] | None
    timestamp: datetime


class Operations(Shape):
    operations: list[Operation]
    next: str | None
    example = {
        "operations": [
            {
                "id": "entry:2:success",
                "operation": "TRACK_USAGE",
                "status": "SUCCESS",
                "customer": "ada",
                "details": {"key": "usage:call-77", "entry": 2, "amount": -3, "rate": "voice_call"},
                "error": None,
                "timestamp": "2026-01-31T12:00:00Z",
            }
        ],
        "next": None,
    }


@routes.get("/v1/operations", scope="admin", query=OperationsQuery, answer=Operations)
def log(call: Call) -> Answer:
    """List the operation log.

    Returns the records newest first. Every operation has a STARTED record and then a SUCCESS or ERROR record; the
    records of one operation have the same `details.key`.
    """
    lines, following = operations.list_page(call.app.slug, **dict(call.query))
    return {"operations": lines, "next": following}
