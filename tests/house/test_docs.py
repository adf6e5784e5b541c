"""What exists is documented: every setting, command, endpoint and metric, and the README's links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

import manage
from runtime import crashpoints
from settings import ROOT


def text(*names: str) -> str:
    return "\n".join((ROOT / name).read_text() for name in names)


def test_every_command_is_documented() -> None:
    shown = text("docs/commands.md")
    missing = [name for name in manage.COMMANDS if name != "welcome" and f"`{name}" not in shown]
    assert missing == []


def test_every_setting_is_documented() -> None:
    names = set(re.findall(r'read\("([A-Z_]+)"', text("settings.py")))
    assert len(names) > 15
    assert [name for name in sorted(names) if f"`{name}`" not in text("docs/settings.md")] == []


def test_every_endpoint_is_in_the_openapi_document(client) -> None:
    described = client.get("/openapi.json").get_json()["paths"]
    served = {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(rule)) for rule in client.application.url_map.iter_rules()}
    undocumented = {path for path in served if path.startswith(("/v1/", "/webhooks/"))} - set(described)
    assert undocumented == set()
    assert "/v1/usage" in described


def test_every_metric_is_documented(client) -> None:
    names = set(re.findall(r"^# HELP (\w+)", client.get("/metrics").get_data(as_text=True), re.MULTILINE))
    assert names
    assert [name for name in sorted(names) if name not in text("docs/metrics.md")] == []


@pytest.mark.parametrize("page", ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", text(page))
    missing = [link for link in links if "://" not in link and not ((ROOT / page).parent / link).exists()]
    assert missing == []


def test_files_that_the_readme_names_exist() -> None:
    diagram = text("README.md")
    for name in re.findall(r"\b((?:web|jobs|workers|models|scheduler)/[\w/]+\.py)\b", diagram):
        assert (ROOT / name).exists(), name


def test_every_crash_point_is_documented_and_there() -> None:
    sources = [
        path for part in ("jobs", "models", "web", "workers", "scheduler") for path in (ROOT / part).rglob("*.py")
    ]
    visited = re.findall(r'crashpoint\("([\w-]+)"\)', "\n".join(path.read_text() for path in sources))
    assert sorted(visited) == sorted(crashpoints.NAMES)
    documented = text("docs/settings.md").partition("The crash points:")[2]
    assert sorted(re.findall(r"`([\w-]+)`", documented)) == sorted(crashpoints.NAMES)


@pytest.mark.parametrize("armed", ["after-apply", "event-before-commit:x", ":2"])
def test_an_unknown_crash_point_is_refused_at_the_start(armed: str) -> None:
    command = [sys.executable, "manage.py", "--help"]
    refused = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "SCRIP_CRASH_AT": armed}, capture_output=True, text=True
    )
    assert refused.returncode != 0
    assert "event-before-commit" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_servers_are_named_alike_everywhere() -> None:
    """The names of the supervisor's processes, as its log has them."""
    for page in ("README.md", "docs/running.md"):
        assert "| `redis` |" in text(page)
        assert "| `valkey` |" not in text(page)
