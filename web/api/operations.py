"""The operation log."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from models.operations import log as operations
from web.http.fields import Page, Shape
from web.http.routes import Answer, Call, Routes

routes = Routes("Operations")

Status = Literal["STARTED", "SUCCESS", "ERROR"]


class OperationsQuery(Page):
    customer: str | None = Field(None, max_length=120, description="Only operations of this customer.")
    operation: str | None = Field(None, max_length=64, description="Only this one, such as PAYMENT or TRACK_USAGE.")
    status: Status | None = Field(None, description="Only lines with this status.")


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
    """What was started, what succeeded, what failed; newest first.

    Every operation has a line STARTED, and then one SUCCESS or ERROR; `details.key` says which belong together.
    """
    lines, following = operations.list_page(call.app.slug, **dict(call.query))
    return {"operations": lines, "next": following}
