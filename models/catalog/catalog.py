"""The catalog: every app that `<catalog directory>/<app>.toml` declares, loaded and validated once at start."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from models.catalog.apps import App
from models.catalog.files import read_app
from models.catalog.toml_table import Problem
from models.errors import CatalogError, UnknownApp

__all__ = ["Catalog", "CatalogError", "Problem", "UnknownApp", "current", "load", "use"]


@dataclass(frozen=True, slots=True)
class Catalog:
    """The apps by slug. Iteration yields the apps, sorted by slug. `catalog[slug]` raises UnknownApp."""

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
    """The catalog of all `*.toml` files in `directory`. Values "env:NAME" are looked up in `environ`.

    Raises:
        CatalogError: every problem of every file, one per line in str(), as a tuple in `extra["problems"]`.
    """
    problems: list[Problem] = []
    files = sorted(directory.glob("[!.]*.toml"))
    if not files:
        problems.append(Problem(_display_path(directory), "", "is not a directory with *.toml files"))
    apps = [read_app(file, _display_path(file), environ, problems) for file in files]
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
    """Set the catalog of this process. None: the next call of `current` loads it again."""
    global _current
    _current = catalog


def _display_path(path: Path) -> str:
    """The path for messages: relative to the working directory if it is inside it."""
    cwd = Path.cwd()
    return str(path.relative_to(cwd) if path.is_relative_to(cwd) else path)
