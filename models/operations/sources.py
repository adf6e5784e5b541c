"""The sources of the operation log, and the names of operations."""

from __future__ import annotations

from dataclasses import dataclass

STATUSES = ("STARTED", "SUCCESS", "ERROR")

# Prefix of a provider event's type to the operation. The first match applies.
EVENT_OPERATIONS = {
    "checkout.session.": "PAYMENT",
    "payment_intent.": "PAYMENT",
    "invoice.": "GRANT",
    "customer.subscription.": "SUBSCRIPTION",
    "charge.": "PAYMENT_REVERSAL",
    "refund.": "PAYMENT_REVERSAL",
    "invoice_payment.": "PAYMENT",
    "PAYMENT.CAPTURE.RE": "PAYMENT_REVERSAL",
    "CUSTOMER.DISPUTE.": "PAYMENT_REVERSAL",
    "PAYMENT.": "PAYMENT",
    "CHECKOUT.ORDER.": "PAYMENT",
}
OTHER_EVENT = "EVENT"

# Kind at the start of a key of a request or an entry to the operation. Any other kind is its own name in capitals.
KEY_OPERATIONS = {
    "usage": "TRACK_USAGE",
    "charge": "CHARGE",
    "hold": "HOLD",
    "adjustment": "ADJUSTMENT",
    "refund": "REFUND",
    "purchase": "PAYMENT",
    "grant": "GRANT",
    "expiry": "EXPIRY",
    "clawback": "CLAWBACK",
    "reinstatement": "REINSTATEMENT",
    "repayment": "REPAYMENT",
    "import": "IMPORT",
}
BY_EVENT = frozenset({*EVENT_OPERATIONS.values(), OTHER_EVENT})
BY_KEY = frozenset(KEY_OPERATIONS.values())
# Entries with a key of these kinds end an operation that a row of another source started; others have both lines.
STARTED_ELSEWHERE = ("usage", "charge", "adjustment", "refund", "import")


def _event_operation(type_: str) -> str:
    whens = " ".join(f"WHEN {type_} LIKE '{start}%%' THEN '{name}'" for start, name in EVENT_OPERATIONS.items())
    return f"CASE {whens} ELSE '{OTHER_EVENT}' END"


def _key_operation(kind: str) -> str:
    whens = " ".join(f"WHEN '{start}' THEN '{name}'" for start, name in KEY_OPERATIONS.items())
    return f"CASE {kind} {whens} ELSE upper({kind}) END"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A table `t` whose rows are operations, with up to two lines per row: part 0 is the start, part 1 the end.

    `operations` and `statuses` are those that the table can have; None: any. `operation`, `customer`, `details` and
    `error` are the columns of the log. `lines` yields s(part, status, at) and whatever else the columns take from s.
    `owner` and `position` are pairs: for one customer, and for the whole app. Where an index covers the app only, the
    lines are filtered by customer afterwards. Positions grow with `recorded_at`.
    """

    name: str
    table: str
    operations: frozenset[str] | None
    statuses: frozenset[str]
    operation: str
    details: str
    lines: str
    recorded_at: str
    customer: str = "t.customer"
    error: str = "NULL::jsonb"
    where: str = "true"
    owner: tuple[str, str] = ("t.app = %(app)s", "t.app = %(app)s")
    position: tuple[str, str] = ("t.id", "t.id")

    def window(self, columns: str, bound: str, end: str, *, of_customer: bool) -> str:
        """SQL for rows of the table from the position `bound` downwards. `end`: its LIMIT or OFFSET."""
        scope = 0 if of_customer else 1
        position = self.position[scope]
        return f"""SELECT {columns}, {position} AS position, {self.recorded_at} AS recorded_at
            FROM {self.table} t WHERE {self.owner[scope]} AND {position} <= {bound} ORDER BY {position} DESC {end}"""

    def rows(self, window: str) -> str:
        """SQL for the lines: position, ref, part, operation, status, customer, details, error, at, recorded_at."""
        account = "JOIN account a ON a.id = t.account_id" if self.customer == "a.customer" else ""
        return f"""SELECT t.position, {self.position[1]} AS ref, s.part, {self.operation} AS operation, s.status,
            {self.customer} AS customer, {self.details} AS details, {self.error} AS error, s.at, t.recorded_at
            FROM ({window}) AS t {account} CROSS JOIN LATERAL (VALUES {self.lines}
            WHERE s.status IS NOT NULL AND {self.where}"""


ACCOUNT = "t.account_id = (SELECT id FROM account WHERE app = %(app)s AND customer = %(customer)s)"
KIND_OF_KEY = "split_part(t.key, ':', 1)"
STARTED_OR_DONE = frozenset({"STARTED", "SUCCESS"})
# The collation is that of the index on the event's id. With another one PostgreSQL does not use the index.
_ENTRIES_OF_EVENT = """(
    SELECT coalesce(jsonb_agg(jsonb_build_object('entry', e.id, 'type', e.type, 'amount', e.amount)
                              ORDER BY e.id), '[]') FROM entry e
    WHERE e.app = t.app AND e.meta ? 'event' AND e.meta ->> 'event' = t.event_id COLLATE "default")"""
_FAILED_EVENT = _event_operation("t.details ->> 'type'")

SOURCES = (
    Source(
        name="event",
        table="inbox_event",
        operations=BY_EVENT,
        statuses=STARTED_OR_DONE,
        operation=_event_operation("t.type"),
        details=f"""jsonb_build_object('key', 'event:' || t.id, 'event', t.id, 'event_id', t.event_id,
            'provider', t.provider, 'type', t.type) || s.details
            || CASE WHEN s.status = 'SUCCESS'
                    THEN jsonb_build_object('entries', {_ENTRIES_OF_EVENT}) ELSE '{{}}' END""",
        lines="""(0, 'STARTED', t.received_at, '{}'::jsonb),
            (1, CASE WHEN t.state IN ('done', 'ignored') THEN 'SUCCESS' END, t.processed_at,
             jsonb_build_object('state', t.state, 'reason', t.error))) AS s(part, status, at, details)""",
        recorded_at="t.received_at",
    ),
    Source(
        name="usage",
        table="usage_report",
        operations=frozenset({"TRACK_USAGE"}),
        statuses=STARTED_OR_DONE,
        operation="'TRACK_USAGE'",
        details="""jsonb_build_object('key', 'usage:' || t.external_id, 'report', t.external_id, 'rate', t.rate,
            'quantity', t.quantity) || s.details
            || CASE WHEN t.lines IS NULL THEN '{}' ELSE jsonb_build_object('lines', t.lines) END""",
        lines="""(0, 'STARTED', t.received_at, '{}'::jsonb),
            (1, CASE WHEN t.state = 'settled' AND t.entry_id IS NULL THEN 'SUCCESS' END, t.settled_at,
             jsonb_build_object('units', t.units, 'shortfall', t.shortfall))) AS s(part, status, at, details)""",
        recorded_at="t.received_at",
        owner=("t.app = %(app)s AND t.customer = %(customer)s", "t.app = %(app)s"),
    ),
    # Holds are a source of their own, because they can end without a request.
    Source(
        name="request",
        table="request",
        operations=BY_KEY - {"TRACK_USAGE", "HOLD", "EXPIRY"},
        statuses=STARTED_OR_DONE,
        operation=_key_operation("t.resource"),
        details="t.content || jsonb_build_object('key', t.resource || ':' || t.id, 'id', t.id)",
        lines="""(0, 'STARTED', t.created_at),
            (1, CASE WHEN t.answer ->> 'entry' IS NULL THEN 'SUCCESS' END, t.created_at)) AS s(part, status, at)""",
        recorded_at="t.created_at",
        where="t.resource NOT LIKE 'hold%%' AND t.resource <> 'session'",
        position=("t.seq", "t.seq"),
    ),
    Source(
        name="hold",
        table="hold",
        operations=frozenset({"HOLD"}),
        statuses=STARTED_OR_DONE,
        operation=_key_operation(KIND_OF_KEY),
        customer="a.customer",
        details="jsonb_build_object('key', t.key, 'units', t.units, 'reason', t.reason) || s.details",
        lines="""(0, 'STARTED', t.created_at, jsonb_build_object('expires_at', t.expires_at)),
            (1, CASE WHEN t.state <> 'held' THEN 'SUCCESS' END, coalesce(t.closed_at, t.created_at),
             jsonb_build_object('state', t.state, 'captured', t.captured, 'entry', t.entry_id)))
            AS s(part, status, at, details)""",
        recorded_at="t.created_at",
        where="t.key NOT LIKE 'session:%%'",
        owner=(ACCOUNT, "t.app = %(app)s"),
    ),
    Source(
        name="session",
        table="session",
        operations=frozenset({"SESSION"}),
        statuses=frozenset(STATUSES),
        operation="'SESSION'",
        customer="a.customer",
        details="""jsonb_build_object('key', 'session:' || t.external_id, 'session', t.external_id, 'free', t.free,
            'metadata', coalesce(t.metadata, '{}'::jsonb)) || s.details""",
        error="s.error",
        lines="""(0, 'STARTED', t.created_at, jsonb_build_object('waited', t.wait_until IS NOT NULL,
             'started_at', t.started_at), NULL::jsonb),
            (1, CASE WHEN t.state IN ('ended', 'cancelled') THEN 'SUCCESS' WHEN t.state = 'refused' THEN 'ERROR' END,
             t.ended_at, jsonb_build_object('state', t.state, 'ended_by', t.ended_by, 'duration_seconds',
             t.duration_seconds, 'units', t.units, 'shortfall', t.shortfall, 'entry', t.entry_id),
             CASE WHEN t.state = 'refused'
                  THEN jsonb_build_object('message', 'the session waited, but the balance stayed too low') END))
            AS s(part, status, at, details, error)""",
        recorded_at="t.created_at",
        owner=(ACCOUNT, "t.app = %(app)s"),
    ),
    Source(
        name="checkout",
        table="checkout",
        operations=frozenset({"CHECKOUT"}),
        statuses=STARTED_OR_DONE,
        operation="'CHECKOUT'",
        details="""jsonb_build_object('key', 'checkout:' || t.external_id, 'checkout', t.external_id, 'pack', t.pack,
            'plan', t.plan, 'quantity', t.quantity, 'provider', t.provider, 'provider_id', t.provider_id)""",
        lines="""(0, 'STARTED', t.created_at), (1, CASE WHEN t.state <> 'new' THEN 'SUCCESS' END, t.created_at))
            AS s(part, status, at)""",
        recorded_at="t.created_at",
        owner=("t.app = %(app)s AND t.customer = %(customer)s", "t.app = %(app)s"),
    ),
    Source(
        name="refund_request",
        table="refund_request",
        operations=frozenset({"PAYMENT_REVERSAL"}),
        statuses=frozenset(STATUSES),
        operation="'PAYMENT_REVERSAL'",
        details="""jsonb_build_object('key', 'payment-refund:' || t.external_id, 'id', t.external_id, 'payment',
            t.payment_id, 'amount_minor', t.amount_minor, 'reason', t.reason, 'actor', t.actor) || s.details""",
        error="s.error",
        lines="""(0, 'STARTED', t.created_at, '{}'::jsonb, NULL::jsonb),
            (1, CASE WHEN t.answer ->> 'state' = 'failed' THEN 'ERROR' WHEN t.answer IS NOT NULL THEN 'SUCCESS' END,
             t.answered_at, jsonb_build_object('state', t.answer -> 'state', 'money', t.answer -> 'money',
             'reference', t.answer -> 'reference'),
             CASE WHEN t.answer ->> 'state' = 'failed'
                  THEN jsonb_build_object('message', 'the provider accepted the refund, but it failed') END))
            AS s(part, status, at, details, error)""",
        recorded_at="t.created_at",
        owner=("t.app = %(app)s AND t.customer = %(customer)s", "t.app = %(app)s"),
    ),
    # Entries of events, holds and sessions are shown by those sources.
    Source(
        name="entry",
        table="entry",
        operations=BY_KEY - {"HOLD"},
        statuses=STARTED_OR_DONE,
        operation=_key_operation(KIND_OF_KEY),
        customer="a.customer",
        details="""coalesce(t.meta, '{}'::jsonb) || jsonb_build_object('key', t.key, 'entry', t.id, 'type', t.type,
            'amount', t.amount, 'balance', t.balance_after, 'reason', t.reason)""",
        lines=f"""(0, CASE WHEN {KIND_OF_KEY} NOT IN {STARTED_ELSEWHERE} THEN 'STARTED' END, t.created_at),
            (1, 'SUCCESS', t.created_at)) AS s(part, status, at)""",
        recorded_at="t.created_at",
        where="t.key NOT LIKE 'capture:%%' AND t.key NOT LIKE 'session:%%' AND NOT coalesce(t.meta ? 'event', false)",
        owner=(ACCOUNT, "t.app = %(app)s"),
        position=("t.seq", "t.id"),
    ),
    # The STARTED line of a queue's row comes from the queue. A refused request has only this row.
    Source(
        name="error",
        table="operation_error",
        operations=None,
        statuses=frozenset({"STARTED", "ERROR"}),
        operation=f"CASE WHEN t.details ? 'event' THEN {_FAILED_EVENT} ELSE t.operation END",
        details="t.details",
        error="CASE WHEN s.status = 'ERROR' THEN t.error END",
        lines="""(0, CASE WHEN NOT t.details ? 'dead' THEN 'STARTED' END, t.created_at),
            (1, 'ERROR', t.created_at)) AS s(part, status, at)""",
        recorded_at="t.created_at",
    ),
)
