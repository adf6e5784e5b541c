"""The rules of the house that no import contract expresses: pure functions from sources to violations.

`Sources` maps paths, relative to the root, to Python source text. Every rule returns one sentence per violation.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath

Sources = dict[str, str]
FLOORS = ("models", "jobs", "workers", "web")
MOST_MODULES, MOST_MODULE_LINES, MOST_FUNCTION_LINES = 15, 250, 40
# `web/api` holds one noun a file, `benchmarks/rows` one row a file.
LONG_PACKAGES = ("web/api",)
# Addresses that programs outside of Scrip import, and packages whose `__init__` is the code that its modules share.
PUBLIC_PACKAGES = (
    "jobs/providers/paypal/__init__.py",
    "models/tables/__init__.py",
    "runtime/embedded/__init__.py",
    "runtime/processes/__init__.py",
    "sdk/python/scrip_client/__init__.py",
)
# The sandbox providers keep their objects in a SQLite file of their own, behind `sandbox/store`.
WITH_SQL = ("models/", "sandbox/store/", "benchmarks/", "tests/")
# Packages with one module, because the other floors of their noun have more.
ONE_MODULE = ("models/inbox",)
SQL = re.compile(r"\b(SELECT\s.+\sFROM\s|INSERT INTO\s|UPDATE\s+\w+\s+SET\s|DELETE FROM\s|TRUNCATE\s)", re.DOTALL)
DATABASE_LIBRARIES = ("peewee", "playhouse", "psycopg")


def program(sources: Sources) -> Sources:
    """The sources without tests."""
    return {path: text for path, text in sources.items() if not path.startswith("tests/")}


def modules_by_package(sources: Sources) -> dict[str, list[str]]:
    """Package path to the names of its modules, without `__init__`."""
    packages: dict[str, list[str]] = defaultdict(list)
    for path in sources:
        module = PurePosixPath(path)
        if module.name != "__init__.py" and str(module.parent) != ".":
            packages[str(module.parent)].append(module.stem)
    return packages


def lonely_packages(sources: Sources) -> list[str]:
    """Rule 1: a noun starts as a file and becomes a package with its second file."""
    packages = modules_by_package(program(sources))
    parents = {str(PurePosixPath(package).parent) for package in packages}
    return [
        f"{package} has one module: make it a file"
        for package, modules in sorted(packages.items())
        if len(modules) < 2 and package not in parents and package not in ONE_MODULE
    ]


def reexports(sources: Sources) -> list[str]:
    """Rule 1: no re-exports; an `__init__` holds a docstring at most."""
    return [
        f"{path} holds code"
        for path, text in sorted(sources.items())
        if path.endswith("/__init__.py") and path not in PUBLIC_PACKAGES and _statements(text)
    ]


def _statements(text: str) -> list[ast.stmt]:
    return [node for node in ast.parse(text).body if not (isinstance(node, ast.Expr) and _is_text(node.value))]


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def nouns(sources: Sources, floor: str) -> set[str]:
    """The packages and modules directly on a floor."""
    parts = [PurePosixPath(path).parts for path in sources if path.startswith(f"{floor}/")]
    return {part[1].removesuffix(".py") for part in parts} - {"__init__"}


def queues_without_a_noun(sources: Sources, queues: tuple[str, ...]) -> list[str]:
    """Rule 2: a queue, its actor's module, its job and its tables have one name."""
    return [
        f"the queue {queue} has no {floor}/{queue}"
        for queue in queues
        for floor in ("workers", "jobs")
        if queue not in nouns(sources, floor)
    ]


def foreign_nouns(sources: Sources, known: frozenset[str], floor: str) -> list[str]:
    """Rule 2: a package on a floor is one of the nouns, so that a second name for one is noticed."""
    packages = {
        PurePosixPath(path).parts[1] for path in sources if path.startswith(f"{floor}/") and path.count("/") > 1
    }
    return [f"{floor}/{package} is not one of the nouns" for package in sorted(packages - known)]


def prefix_families(sources: Sources) -> list[str]:
    """Rule 3: three modules of one package that begin with the same word are a package."""
    found = []
    for package, modules in sorted(modules_by_package(program(sources)).items()):
        words = Counter(module.split("_")[0] for module in modules if not module.startswith("_"))
        found += [f"{package}: {count} modules begin with {word!r}" for word, count in words.items() if count >= 3]
    return found


def long_packages(sources: Sources) -> list[str]:
    """Rule 4: at most 15 modules a package."""
    return [
        f"{package} has {len(modules)} modules"
        for package, modules in sorted(modules_by_package(sources).items())
        if len(modules) > MOST_MODULES and package not in LONG_PACKAGES
    ]


def long_modules(sources: Sources) -> list[str]:
    """Rule 4: at most 250 lines a module."""
    sizes = {path: text.count("\n") for path, text in program(sources).items()}
    return [f"{path} has {lines} lines" for path, lines in sorted(sizes.items()) if lines > MOST_MODULE_LINES]


def long_functions(sources: Sources) -> list[str]:
    """Rule 4: at most 40 lines a function."""
    return [
        f"{path}:{node.lineno} {node.name} has {lines} lines"
        for path, text in sorted(program(sources).items())
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > MOST_FUNCTION_LINES
    ]


def statements_outside_models(sources: Sources) -> list[str]:
    """Rule 6: SQL and peewee queries live in `models/` only."""
    return [
        f"{path}:{line} {what}"
        for path, text in sorted(sources.items())
        if not path.startswith(WITH_SQL)
        for line, what in _database_use(ast.parse(text))
    ]


def _database_use(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value):
            yield node.lineno, f"holds SQL: {' '.join(node.value.split())[:40]}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            for name in names:
                if name.partition(".")[0] in DATABASE_LIBRARIES:
                    yield node.lineno, f"imports {name}"


def connection_types(sources: Sources) -> list[str]:
    """Rule 7: `Connection` is defined once, in models/database.py."""
    return [
        f"{path}:{node.lineno} defines Connection"
        for path, text in sorted(program(sources).items())
        if path != "models/database.py"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "Connection" for target in node.targets)
    ]


def cycles(sources: Sources) -> list[str]:
    """Rule 8: no import cycles, counting imports for type checking and inside functions too."""
    graph = import_graph(program(sources))
    return [" → ".join(sorted(component)) for component in components(graph) if len(component) > 1]


def import_graph(sources: Sources) -> dict[str, set[str]]:
    """Module to the modules of `sources` that it imports. A package's `__init__` counts as the package."""
    names = {_dotted(path): path for path in sources}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for name, path in names.items():
        for node in ast.walk(ast.parse(sources[path])):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                full = [f"{node.module}.{alias.name}" for alias in node.names]
                graph[name] |= {each if each in names else node.module for each in full} & (names.keys() - {name})
            elif isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names} & (names.keys() - {name})
    return graph


def _dotted(path: str) -> str:
    return path.removeprefix("sdk/python/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def components(graph: dict[str, set[str]]) -> Iterator[set[str]]:
    """The strongly connected components (Tarjan's algorithm, without recursion)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    for start in graph:
        if start in order:
            continue
        path = [(start, iter(sorted(graph[start])))]
        order[start] = low[start] = len(order)
        stack.append(start)
        while path:
            node, following = path[-1]
            for each in following:
                if each not in order:
                    order[each] = low[each] = len(order)
                    stack.append(each)
                    path.append((each, iter(sorted(graph[each]))))
                    break
                if each in stack:
                    low[node] = min(low[node], order[each])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[node])
                if low[node] == order[node]:
                    index = stack.index(node)
                    yield set(stack[index:])
                    del stack[index:]
