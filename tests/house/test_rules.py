"""The rules of the house: each holds for the repository, and each is seen to find what breaks it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from scheduler.tick import QUEUES
from settings import ROOT
from tests.house import rules
from tests.house.rules import Sources
from tests.support.shared import LONGEST, SCRIPS

# Every package on a floor: one name a noun. A new noun is a line here, in docs/architecture.md and in tests/.
NOUNS = frozenset(
    "access catalog inbox imports ledger operations outbox payments planning plans reconciliation reports sessions"
    " streams tables usage".split()
)
NOT_NOUNS = {"models": {"migrations"}, "jobs": {"providers"}, "web": {"api", "http", "server"}, "workers": set[str]()}
SHORT = 'def f() -> int:\n    """One."""\n    return 1\n'


@cache
def repository() -> Sources:
    """The Python files that git knows, and those that it will."""
    command = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py")
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return {path: (ROOT / path).read_text() for path in listed if (ROOT / path).exists()}


RULES: tuple[tuple[Callable[[Sources], list[str]], Sources], ...] = (
    (rules.lonely_packages, {"models/coupons/codes.py": SHORT}),
    (rules.reexports, {"models/coupons/__init__.py": "from models.coupons.codes import f\n"}),
    (rules.prefix_families, {f"jobs/stripe_{name}.py": SHORT for name in ("a", "b", "c")}),
    (rules.long_packages, {f"models/m{number}.py": SHORT for number in range(16)}),
    (rules.long_modules, {"jobs/long.py": "x = 1\n" * 251}),
    (rules.long_functions, {"jobs/long.py": "def f() -> None:\n" + "    pass\n" * 40}),
    (rules.statements_outside_models, {"jobs/sly.py": 'QUERY = "SELECT id FROM lot WHERE id = 1"\n'}),
    (rules.statements_outside_models, {"web/sly.py": "import psycopg\n"}),
    (rules.connection_types, {"jobs/typed.py": "Connection = int\n"}),
    (rules.cycles, {"jobs/a.py": "from jobs import b\n", "jobs/b.py": "from jobs.a import f\n"}),
)


@pytest.mark.parametrize("rule", dict.fromkeys(rule for rule, _ in RULES), ids=lambda rule: rule.__name__)
def test_the_repository_keeps_the_rule(rule: Callable[[Sources], list[str]]) -> None:
    assert rule(repository()) == []


@pytest.mark.parametrize(("rule", "broken"), RULES, ids=lambda value: getattr(value, "__name__", ""))
def test_the_rule_finds_what_breaks_it(rule: Callable[[Sources], list[str]], broken: Sources) -> None:
    assert len(rule(broken)) == 1


@pytest.mark.parametrize("floor", rules.FLOORS)
def test_a_noun_has_one_name_on_every_floor(floor: str) -> None:
    assert rules.foreign_nouns(repository(), NOUNS | NOT_NOUNS[floor], floor) == []


def test_a_package_that_is_not_a_noun_is_found() -> None:
    broken = {"jobs/webhooks/events.py": SHORT, "jobs/webhooks/prefetch.py": SHORT}
    assert rules.foreign_nouns(broken, NOUNS, "jobs") == ["jobs/webhooks is not one of the nouns"]


def test_a_queue_is_named_like_its_actor_and_its_job() -> None:
    assert rules.queues_without_a_noun(repository(), QUEUES) == []
    assert rules.queues_without_a_noun(repository(), ("webhooks",)) == [
        "the queue webhooks has no workers/webhooks",
        "the queue webhooks has no jobs/webhooks",
    ]


def test_every_package_of_jobs_has_a_package_of_tests() -> None:
    packages = {path.name for path in (ROOT / "jobs").iterdir() if (path / "__init__.py").exists()}
    assert sorted(name for name in packages if not (ROOT / "tests" / name).is_dir()) == []


def test_what_programs_of_others_import_is_where_it_was() -> None:
    from jobs.providers.paypal import CannotVerify, verify_signature

    assert callable(verify_signature)
    assert issubclass(CannotVerify, Exception)


def test_the_longest_files_of_tests_exist() -> None:
    assert [name for name in LONGEST if name not in SCRIPS and not (ROOT / name).exists()] == []


def test_the_contracts_of_imports_cover_every_folder_with_code() -> None:
    """A folder that import-linter does not look at has no walls."""
    text = Path(ROOT / "pyproject.toml").read_text()
    roots = re.search(r"root_packages = \[(.*)\]", text)
    assert roots
    covered = set(re.findall(r'"(\w+)"', roots[1]))
    folders = {path.partition("/")[0] for path in repository() if "/" in path} - {"tests", "sdk", "benchmarks"}
    assert folders - covered == set()
