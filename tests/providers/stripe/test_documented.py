"""docs/payments.md lists the events that Stripe's endpoint needs: those that Scrip uses, no more and no fewer."""

from __future__ import annotations

import re

from jobs.providers.stripe import events as stripe
from settings import ROOT


def test_the_page_lists_the_events_that_are_used() -> None:
    page = (ROOT / "docs" / "payments.md").read_text()
    block = page.split("with these events:")[1].split("```")[1]
    assert sorted(re.findall(r"[a-z_.]+", block)) == sorted(stripe.HANDLERS)
