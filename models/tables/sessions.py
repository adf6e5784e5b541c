"""Gated sessions."""

from __future__ import annotations

from peewee import BigIntegerField, BooleanField, Check, IntegerField, TextField

from models.tables.base import (
    ArrayField,
    Base,
    IdentifierField,
    IdField,
    JsonbField,
    JsonField,
    ReferenceField,
    TimeField,
    default,
    index,
    unique,
)


class Session(Base):
    """A session that runs while its customer can pay. `due_at`: when the engine looks at an active one again."""

    id = IdField()
    app = IdentifierField()
    external_id = IdentifierField()
    account_id = ReferenceField("account")
    state = TextField(constraints=[Check("state IN ('waiting', 'active', 'ended', 'cancelled', 'refused')")])
    free = BooleanField(constraints=[default("false")])
    rate = TextField(null=True)
    price = ArrayField(BigIntegerField, null=True)
    metadata = JsonbField(null=True)
    summary = TextField(null=True)
    created_at = TimeField()
    starts_at = TimeField(null=True)
    wait_until = TimeField(null=True)
    started_at = TimeField(null=True)
    heartbeat_at = TimeField(null=True)
    longest_until = TimeField(null=True)
    ends_by = TimeField(null=True)
    due_at = TimeField(null=True)
    tried_at = TimeField(null=True)
    needs = BigIntegerField(constraints=[default("0")])
    attempts = IntegerField(constraints=[default("0")])
    ended_at = TimeField(null=True)
    ended_by = TextField(null=True, constraints=[Check("ended_by IN ('client', 'heartbeat', 'balance', 'limit')")])
    duration_seconds = BigIntegerField(null=True)
    units = BigIntegerField(constraints=[default("0")])
    shortfall = BigIntegerField(constraints=[default("0")])
    entry_id = ReferenceField("entry", null=True)
    cooldown_until = TimeField(null=True)
    start_answer = JsonField(null=True)
    end_answer = JsonField(null=True)

    class Meta:
        table_name = "session"
        constraints = [unique("app, external_id")]
        indexes = [
            index("session_account ON session (account_id, id)"),
            index("session_open ON session (account_id) WHERE state IN ('waiting', 'active')"),
            index("session_waiting ON session (starts_at) WHERE state = 'waiting'"),
            index("session_due ON session (due_at) WHERE state = 'active'"),
        ]
        table_settings = "WITH (fillfactor = 80)"
