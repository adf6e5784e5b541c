"""Reads one file of the catalog into an App."""

import re
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_args

from models.catalog import offers, sections
from models.catalog.apps import App, Provider
from models.catalog.kinds import Environ, entry_key
from models.catalog.toml_kinds import one_of, text
from models.catalog.toml_table import Problem, Table

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

_SLUG = re.compile(r"[a-z0-9-]{1,64}")


def read_app(file: Path, shown: str, environ: Environ, problems: list[Problem]) -> App | None:
    """The app that `file` declares, or None if it has problems, which are added to `problems`.

    `shown`: the file's name in the problems.
    """
    before = len(problems)
    if _SLUG.fullmatch(file.stem) is None:
        rule = "the file's name is the app's name: use a-z, 0-9 and - only, at most 64 characters"
        problems.append(Problem(shown, "", rule))
    values = _parse(file, shown, problems)
    if values is None:
        return None
    app = _app(file.stem, Table(values, problems, shown), environ)
    return app if len(problems) == before else None


def _parse(file: Path, shown: str, problems: list[Problem]) -> dict[str, Any] | None:
    try:
        content = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(Problem(shown, "", f"cannot be read: {error}"))
        return None
    try:
        # Decimal keeps a float as it was written, for the message of the error that refuses it.
        return tomllib.loads(content, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError) as error:
        # Besides bad TOML: a number with thousands of digits, hundreds of nested tables.
        problems.append(_syntax_problem(shown, str(error), content))
        return None


def _syntax_problem(shown: str, message: str, content: str) -> Problem:
    """The problem with its line. Messages of the parser end in "(at line 3, column 5)" or "(at end of document)"."""
    reason, _, position = message.rpartition(" (at ")
    match = re.match(r"line (\d+)", position)
    line = int(match[1]) if match else len(content.splitlines())
    return Problem(f"{shown}:{line}", "", f"is not valid TOML: {reason or message}")


def _app(slug: str, root: Table, environ: Environ) -> App:
    provider: Provider = root.optional("provider", one_of(get_args(Provider)), "stripe")
    burn_order, on_shortfall = sections.burn(root.table("burn"))
    rates = _entries(root, "rates", sections.rate)
    sessions = root.table("sessions")
    has_sessions = "sessions" in root.values and root.sound("sessions")
    app = App(
        slug=slug,
        name=root.required("name", text()),
        unit=root.required("unit", text(longest=32)),
        provider=provider,
        burn_order=burn_order,
        on_shortfall=on_shortfall,
        packs=_entries(root, "packs", lambda key, table: offers.pack(key, table, provider, environ)),
        rates=rates,
        plans=_entries(root, "plans", lambda key, table: offers.plan(key, table, provider, environ)),
        sessions=sections.sessions(sessions, rates) if has_sessions else None,
        alerts=sections.alerts(root.table("alerts")),
        refund_grace=sections.refund_grace(root.table("refunds")),
        checkout=sections.checkout(root.table("checkout")),
        stripe=sections.stripe_account(root.table("stripe"), environ),
        paypal=sections.paypal_account(root.table("paypal"), environ),
    )
    root.close()
    _refuse_shared_prices(app, root)
    return app


def _entries(root: Table, key: str, read: Callable[[str, Table], T]) -> Mapping[str, T]:
    return MappingProxyType({name: read(name, table) for name, table in root.tables(key, entry_key)})


def _refuse_shared_prices(app: App, root: Table) -> None:
    """Refuse a price id that two packs or plans share: it must identify what was bought."""
    prices = [(f"packs.{pack.key}", "stripe_price", pack.stripe_price) for pack in app.packs.values()]
    for plan in app.plans.values():
        prices.append((f"plans.{plan.key}", "stripe_price", plan.stripe_price))
        prices += [(f"plans.{plan.key}", "stripe_prices", price_id) for price_id in plan.stripe_prices or ()]
        prices.append((f"plans.{plan.key}", "paypal_plan", plan.paypal_plan))
    sold_as: dict[str, str] = {}
    for path, name, price_id in prices:
        if price_id and sold_as.setdefault(price_id, path) != path:
            root.refuse(f"{path}.{name}", f"is already the price of {sold_as[price_id]}")
