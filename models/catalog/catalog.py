"""The catalog: every app that `<catalog directory>/<app>.toml` declares, loaded and judged once at start."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from models.catalog.apps import Alerts, App, Pack, PayPalAccount, Plan, Rate, Sessions, StripeAccount
from models.catalog.files import read_app
from models.catalog.toml_table import Problem
from models.errors import CatalogError, UnknownApp

__all__ = [
    "Alerts",
    "App",
    "Catalog",
    "CatalogError",
    "Pack",
    "PayPalAccount",
    "Plan",
    "Problem",
    "Rate",
    "Sessions",
    "StripeAccount",
    "UnknownApp",
    "current",
    "load",
    "use",
]


@dataclass(frozen=True, slots=True)
class Catalog:
    """The apps by slug. Iterating gives the apps themselves, in the order of their slugs.

    `catalog[slug]` raises UnknownApp where there is none.
    """

    apps: Mapping[str, App]

    def __getitem__(self, slug: str) -> App:
        try:
            return self.apps[slug]
        except KeyError:
            raise UnknownApp(f'there is no app "{slug}" in the catalog') from None

    def __contains__(self, slug: object) -> bool:
        return slug in self.apps

    def __iter__(self) -> Iterator[App]:
        return iter(self.apps.values())

    def __len__(self) -> int:
        return len(self.apps)


def load(directory: Path, environ: Mapping[str, str]) -> Catalog:
    """Read every `*.toml` of `directory`; `environ` is where "env:NAME" is looked up.

    Raises CatalogError with every problem of every file: str() has one a line, `extra["problems"]` the parts.
    """
    problems: list[Problem] = []
    files = sorted(directory.glob("[!.]*.toml"))
    if not files:
        problems.append(Problem(_shown(directory), "", "is no directory with *.toml files in it"))
    apps = [read_app(file, _shown(file), environ, problems) for file in files]
    if problems:
        raise CatalogError("\n".join(map(str, problems)), problems=tuple(problems))
    return Catalog(MappingProxyType({app.slug: app for app in apps if app}))


_current: Catalog | None = None


def current() -> Catalog:
    """The catalog of this process, loaded from `settings.catalog_dir` on the first call."""
    global _current
    if _current is None:
        from settings import settings

        _current = load(settings.catalog_dir, os.environ)
    return _current


def use(catalog: Catalog | None) -> None:
    """Make `catalog` the one of this process; None makes the next `current` load it again."""
    global _current
    _current = catalog


def _shown(path: Path) -> str:
    """The path as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
