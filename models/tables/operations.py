"""Refused and failed operations, and the runs of scheduled jobs."""

from __future__ import annotations

from peewee import Check, CompositeKey, IntegerField, TextField

from models.tables.base import (
    AssignedIdField,
    Base,
    CustomerField,
    IdentifierField,
    JsonbField,
    TimeField,
    default,
    index,
)


class OperationError(Base):
    """An operation that was refused or failed, committed on its own so that it survives the rollback."""

    id = AssignedIdField()
    app = IdentifierField()
    operation = IdentifierField()
    customer = CustomerField(null=True)
    details = JsonbField()
    error = JsonbField()
    created_at = TimeField()

    class Meta:
        table_name = "operation_error"
        indexes = [index("operation_error_app ON operation_error (app, id)")]


class ScheduleRun(Base):
    """One period of a scheduled job. The primary key makes it run once, however many nodes schedule it.

    `reached`: where a run that was interrupted continues.
    """

    job = TextField()
    period = TimeField()
    state = TextField(constraints=[default("'pending'"), Check("state IN ('pending', 'done', 'dead')")])
    counts = JsonbField(null=True)
    reached = JsonbField(null=True)
    error = TextField(null=True)
    attempts = IntegerField(constraints=[default("0")])
    next_attempt_at = TimeField()
    created_at = TimeField(constraints=[default("clock_timestamp()")])
    finished_at = TimeField(null=True)

    class Meta:
        table_name = "schedule_run"
        primary_key = CompositeKey("job", "period")
        indexes = [index("schedule_run_pending ON schedule_run (next_attempt_at) WHERE state = 'pending'")]
