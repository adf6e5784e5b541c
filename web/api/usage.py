"""Usage reports: validated and stored by the receiver, settled by a worker."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError
from typing_extensions import NotRequired, TypedDict

from jobs import usage as jobs
from models.catalog.apps import App
from models.errors import Invalid
from models.usage import reports
from web.http import bodies
from web.http.call import Call
from web.http.fields import Lines, Metadata, Name, NoBody, Page, Quantity, Shape, Text, Time, check_amount
from web.http.routes import Answer, Routes
from workers.wakeups import notify_soon

routes = Routes("Usage")
State = Literal["pending", "settled", "refused", "dead"]
MOST_REPORTS = 1000
MOST_ERRORS = 6 * MOST_REPORTS
STRICT = ConfigDict(strict=True, extra="forbid")


# Typed dicts instead of models: validation takes a microsecond, and jobs use them without conversion.
class UsageReport(TypedDict):
    __pydantic_config__ = STRICT  # type: ignore[misc]
    id: Name
    customer: Name
    rate: NotRequired[Text]
    quantity: NotRequired[Quantity]
    lines: NotRequired[Lines]
    occurred_at: NotRequired[Time | None]
    metadata: NotRequired[Metadata | None]


def _has_one_amount(report: UsageReport) -> UsageReport:
    if "lines" in report or "rate" not in report or "quantity" not in report:
        check_amount(report)
    return report


PricedReport = Annotated[UsageReport, AfterValidator(_has_one_amount)]


class UsageReports(TypedDict):
    __pydantic_config__ = STRICT  # type: ignore[misc]
    reports: list[PricedReport]


ONE: TypeAdapter[UsageReport] = TypeAdapter(PricedReport)
MANY = TypeAdapter(UsageReports)
ONE_AMOUNT = [
    {"required": ["rate", "quantity"], "not": {"required": ["lines"]}},
    {"required": ["lines"], "not": {"anyOf": [{"required": ["rate"]}, {"required": ["quantity"]}]}},
]
REPORT: dict[str, Any] = {**ONE.json_schema(), "title": "One report", "anyOf": ONE_AMOUNT}
REPORTS: dict[str, Any] = {
    "title": "Several reports",
    "type": "object",
    "required": ["reports"],
    "additionalProperties": False,
    "properties": {"reports": {"type": "array", "minItems": 1, "maxItems": MOST_REPORTS, "items": REPORT}},
}
EXAMPLE = {"id": "call-77", "customer": "ada", "rate": "voice_call", "quantity": 123}
BODY: dict[str, Any] = {"schema": {"anyOf": [REPORT, REPORTS]}, "example": EXAMPLE}
DESCRIBED: dict[str, Any] = {"requestBody": {"required": True, "content": {"application/json": BODY}}}


class Accepted(Shape):
    accepted: int
    duplicates: int
    example = {"accepted": 1, "duplicates": 0}


class UsageLine(Shape):
    rate: str
    quantity: int


class UsageReportState(Shape):
    id: str
    customer: str
    rate: str | None
    quantity: int | None
    lines: list[UsageLine] | None
    state: State
    units: int
    shortfall: int
    entry: int | None
    received_at: datetime
    settled_at: datetime | None
    occurred_at: datetime | None
    metadata: dict[str, Any]
    error: str | None
    example = {
        "id": "call-77",
        "customer": "ada",
        "rate": "voice_call",
        "quantity": 123,
        "lines": None,
        "state": "settled",
        "units": 3,
        "shortfall": 0,
        "entry": 42,
        "received_at": "2026-01-31T12:00:00Z",
        "settled_at": "2026-01-31T12:00:00.012Z",
        "occurred_at": None,
        "metadata": {},
        "error": None,
    }


class UsageReportStates(Shape):
    reports: list[UsageReportState]
    next: str | None


class UsageQuery(Page):
    customer: Name | None = None
    state: State | None = None


@routes.post("/v1/usage", scope="write", answer=Accepted, status=202, errors=(400, 409, 413, 422), describe=DESCRIBED)
def report(call: Call) -> Answer:
    """Report usage.

    Send one report, or up to 1000 as `reports`. Accepted reports are stored durably; a worker deducts their units
    within moments. Its price is that of the current catalog, whatever changes before it is settled. A report may have
    `lines`, up to 20 rates with their quantities, in place of one: they become one entry. Either all reports of a
    request are stored or none: 422 names every invalid report, 409 names an `id` that is stored with another customer,
    rate or quantity.
    """
    content = bodies.parse_json(call.raw())
    if isinstance(content, dict) and "reports" in content:
        answer = _accept(call, _many(call.app, content))
    else:
        answer = _accept_one(call, content)
    notify_soon("usage")
    return answer, 202


def _many(app: App, content: dict[str, Any]) -> list[UsageReport]:
    try:
        reports = MANY.validate_python(content)["reports"]
    except ValidationError as error:
        items = content["reports"] if isinstance(content["reports"], list) else []
        errors = bodies.field_errors(error, MOST_ERRORS) + jobs.unknown_rates(app, items[:MOST_REPORTS])
        raise Invalid(sorted(errors, key=_report_index)) from None
    if not 1 <= len(reports) <= MOST_REPORTS:
        raise Invalid([("reports", f"must have 1 to {MOST_REPORTS} items, not {len(reports)}")])
    return reports


def _report_index(error: tuple[str, str]) -> int:
    """The index of the report that the field of an error belongs to; -1 for fields of the body itself."""
    match = re.match(r"reports\[(\d+)\]", error[0])
    return int(match.group(1)) if match else -1


def _accept_one(call: Call, content: Any) -> dict[str, int]:
    if not isinstance(content, dict):
        raise Invalid([("body", bodies.NOT_AN_OBJECT)])
    try:
        return _accept(call, [ONE.validate_python(content)])
    except ValidationError as error:
        raise Invalid(bodies.field_errors(error)) from None
    except Invalid as error:
        raise Invalid([(field.removeprefix("reports[0]."), reason) for field, reason in error.errors]) from None


def _accept(call: Call, reports: list[Any]) -> dict[str, int]:
    accepted, duplicates = jobs.accept(call.app, reports, now=call.now)
    return {"accepted": accepted, "duplicates": duplicates}


@routes.get("/v1/usage", scope="read", query=UsageQuery, answer=UsageReportStates)
def page(call: Call) -> Answer:
    """List usage reports.

    Returns the usage reports of the app, newest first.
    """
    rows, following = reports.list_page(call.app.slug, **dict(call.query))
    return {"reports": rows, "next": following}


@routes.get("/v1/usage/{id}", scope="read", customer_token=True, answer=UsageReportState, errors=(404,))
def one(call: Call, id: str) -> Answer:
    """Retrieve a usage report.

    `units` is the number of units deducted. The price of the report is `units` plus `shortfall`. `rate` and `quantity`
    are null in a report with `lines`, and `lines` is null in one without.
    """
    found = reports.get(call.app.slug, id)
    call.check_owner(found["customer"])
    return found


@routes.post(
    "/v1/usage/{id}/replay",
    scope="admin",
    body=NoBody,
    answer=UsageReportState,
    status=202,
    errors=(404, 409),
)
def replay(call: Call, id: str) -> Answer:
    """Replay a usage report.

    Settles a dead or refused report again, as if it were received now.
    """
    report = jobs.replay(call.app, id, now=call.now)
    notify_soon("usage")
    return report, 202
