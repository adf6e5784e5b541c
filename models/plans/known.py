"""Whether a fact that a provider lists says anything new."""

from __future__ import annotations

from models import database
from models.plans import codec, stored_facts
from models.plans.facts import STATES, Bill, PlanFact, Snapshot

LATEST = """
SELECT content FROM plan_fact WHERE app = %s AND provider = %s AND subscription = %s AND kind = 'snapshot'
ORDER BY content ->> 'at' DESC, id DESC LIMIT 1
"""
BILL_STATES = """
SELECT DISTINCT content ->> 'state' FROM plan_fact WHERE app = %s AND provider = %s AND bill = %s AND kind = 'bill'
"""


def is_news(app: str, provider: str, subscription: str | None, fact: PlanFact) -> bool:
    """Whether the fact differs from what is known: a snapshot from the latest one, a bill by a state of precedence."""
    if isinstance(fact, Snapshot):
        rows = database.read(LATEST, [app, provider, subscription])
        return not rows or codec.read(Snapshot, rows[0][0]).said != fact.said
    if isinstance(fact, Bill):
        known = [STATES.index(state) for (state,) in database.read(BILL_STATES, [app, provider, fact.bill])]
        return STATES.index(fact.state) > max(known, default=-1)
    return not stored_facts.has(app, provider, fact)
