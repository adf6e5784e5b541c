"""The JSON endpoints, one module per noun. Each defines `routes`, its part of the route table."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


def nouns() -> list[ModuleType]:
    """All modules of this package, sorted by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return [importlib.import_module(f"{__name__}.{name}") for name in names]
