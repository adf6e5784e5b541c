"""One running Scrip for all stories of a test process, with a catalog of their own.

Each subject has an app of its own in the catalog, so that reports and events of one are not seen by another; the clock
is everybody's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.folders import data_folder
from tests.support.running import Running

HEAD = 'name = "{name}"\nunit = "credit"\nprovider = "stripe"\n'
PACK = '[packs.{key}]\nunits = {units}\nprice = "{price}"\ncurrency = "{currency}"\nstripe_price = "{app}_{key}"\n'
PLAN = '[plans.{key}]\nunits = {units}\nprice = "{price}"\ncurrency = "usd"\nstripe_price = "{app}_{key}"\n'
CHECKOUT = "[checkout]\nallow_promotion_codes = true\n"
PLANS = (("basic", 100, "10.00"), ("large", 250, "25.00"))
CURRENCIES = (("yen", "1000", "jpy"), ("dinar", "12.340", "kwd"), ("krona", "500.00", "isk"), ("forint", "990", "huf"))


def write_catalog(folder: Path, *apps: str) -> None:
    """Apps of the stories: `money` sells in four currencies, every other one packs and plans for dollars."""
    for app in apps:
        sold = [PACK.format(key="starter", units=100, price="10.00", currency="usd", app=app)]
        sold += [PLAN.format(key=key, units=units, price=price, app=app) for key, units, price in PLANS]
        if app == "money":
            sold = [
                PACK.format(key=key, units=100, price=price, currency=code, app=app) for key, price, code in CURRENCIES
            ]
        (folder / f"{app}.toml").write_text("\n".join([HEAD.format(name=app), *sold, CHECKOUT]))


def catalog_folder(system: Running) -> Path:
    """Where its catalog is."""
    return Path(system.env["SCRIP_CATALOG_DIR"])


@contextmanager
def running_stories() -> Iterator[Running]:
    """A Scrip with four of these apps, for the time of the block; it has to be started."""
    with data_folder() as folder:
        write_catalog(folder, "packs", "events", "modes", "orders")
        yield Running(SCRIP_CATALOG_DIR=str(folder))
