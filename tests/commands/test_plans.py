"""manage.py plans, as a person uses it."""

from __future__ import annotations

import json
from datetime import timedelta

from models import clock
from tests.support.providers.stripe_events import event, subscription
from tests.support.running import Running
from tests.support.waiting import wait_until


def test_a_subscription_is_explained_and_computed_again(system: Running) -> None:
    now = clock.now()
    end = now + timedelta(days=31)
    told = subscription("songs", "plans-ada", "pro", anchor=now, start=now, end=end, number="explained")
    assert system.webhook(event("customer.subscription.created", told, created=now), app="songs") == 200
    wait_until(lambda: system.balance("plans-ada", app="songs") == 1000)

    shown = system.manage("plans", "explain", "sub_explained", "--app", "songs")
    assert shown.returncode == 0, shown.stderr
    for part in ("status    active", "customer  plans-ada", "pro: the subscription is active", "1,000 pro; entry"):
        assert part in shown.stdout
    found = json.loads(system.manage("plans", "explain", "sub_explained", "--json").stdout)
    assert found["lots"][0]["granted"] == 1000

    dry = system.manage("plans", "recompute", "--app", "songs", "--dry-run")
    assert (dry.returncode, dry.stdout.splitlines()[0][:8]) == (0, "computed")
    assert json.loads(system.manage("plans", "recompute", "--json").stdout)["dry_run"] is False


def test_an_unknown_subscription_and_an_unknown_app_are_refused_in_one_line(system: Running) -> None:
    refused = system.manage("plans", "explain", "sub_none")
    assert refused.returncode == 1
    assert "there is no subscription 'sub_none'" in refused.stderr.splitlines()[-1]
    assert system.manage("plans", "recompute", "--app", "dance").returncode == 2
