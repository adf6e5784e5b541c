"""Lives of subscriptions against a plain account of what was paid: see stories/account.py for the rules.

`make stories SECONDS=600 SEED=1` runs more of them.
"""

from __future__ import annotations

import random

import pytest

from tests.plans.stories import generator, rules, runner
from tests.support.deep import times

pytestmark = [pytest.mark.usefixtures("db"), pytest.mark.deep]
STORIES, ORDERS = times(40), times(2, 12)


@pytest.mark.parametrize("part", range(4))
def test_whatever_a_subscription_goes_through_its_units_are_those_that_were_paid(part: int) -> None:
    seed, result = random.randrange(10**9), runner.Result()
    for number in range(STORIES // 4):
        assert (failure := runner.run_story(seed + number, ORDERS, result)) is None, f"\n{failure}"


@pytest.mark.parametrize("name", [*generator.STARTS, *generator.STEPS])
def test_each_step_occurs_in_stories(name: str) -> None:
    """A step that never applies would test nothing."""
    for seed in range(4000):
        story = generator.invent(seed)
        if name in [step.name for step in story] and name in generator.live(story).taken:
            return
    raise AssertionError(f"no story takes the step {name!r}")


def test_a_story_is_the_same_for_the_same_seed() -> None:
    first, second = (generator.live(generator.invent(7)) for _ in range(2))
    assert (first.log, first.told) == (second.log, second.told)


def test_a_rule_that_no_story_notices_is_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def breaks(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(runner, "compare", lambda world: "nothing is owed")

    monkeypatch.setattr(runner, "compare", lambda world: None)
    monkeypatch.setattr(runner, "lots", list)
    broken = [("a rule", breaks), ("a rule that is not broken", lambda patch: None)]
    assert rules.unnoticed(broken, seed=1, patience=0.5) == ["a rule that is not broken"]
    assert "a rule: " in capsys.readouterr().out
