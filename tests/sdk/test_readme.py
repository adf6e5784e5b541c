"""The README's example against a running Scrip: refused without credit, served and charged after a pack was bought."""

from __future__ import annotations

import re
import uuid
from typing import Any

from settings import ROOT
from tests.support.running import Running
from tests.support.waiting import wait_until

ADDRESS = "http://127.0.0.1:8000"


def example() -> str:
    """The first Python block of the README."""
    found = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found
    return found[1]


def test_the_example_has_about_twenty_lines() -> None:
    assert len([line for line in example().splitlines() if line.strip()]) <= 20


def test_the_example_sells_a_song(system: Running) -> None:
    assert ADDRESS in example()
    names: dict[str, Any] = {"__name__": "songs"}
    exec(compile(example().replace(ADDRESS, system.url), "README.md", "exec"), names)
    client, customer = names["app"].test_client(), f"mia-{uuid.uuid4().hex}"

    def order() -> Any:
        return client.post("/songs", data="spring", headers={"X-User": customer})

    refused = order()
    assert (refused.status_code, refused.json["required"], refused.json["balance"]) == (402, 25, 0)
    sent = system.manage("sandbox", "send", "stripe", "--app", "songs", "--customer", customer, "--pack", "starter")
    assert sent.returncode == 0, sent.stderr
    wait_until(lambda: system.balance(customer, app="songs") == 100)
    served = order()
    assert (served.status_code, served.json) == (201, {"song": "a song about spring"})
    assert system.balance(customer, app="songs") == 75
