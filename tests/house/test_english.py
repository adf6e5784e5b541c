"""Documents and user-visible texts are plain technical English: none of the words of the table below."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

import manage
from settings import ROOT
from web.app import routes
from web.http import openapi


class Word(NamedTuple):
    """A pattern to avoid, what to write instead, a text that it catches and one that it must not."""

    pattern: str
    instead: str
    catches: str
    spares: str


WORDS = (
    Word(r"told", "reported, emitted, sent, fetched: systems do not tell", "a payment told twice", "stolen"),
    Word(
        r"(?<!-)tell(?:s|ing)?(?!-)", "report, emit, return, show", "a list tells of it", "run tell-expiring; a teller"
    ),
    Word(
        r"ring(?:s|ing|er)?(?! buffer)|rang|rung", "wake-up, notify, enqueue", "a lost ring", "a string; a ring buffer"
    ),
    Word(r"doorbell", "wake-up message", "only a doorbell", "a door"),
    Word(r"who(?:m|se)?(?:so)?ever", "the role: the client, the operator", "whoever asks", "who; however"),
    Word(r"nobody(?:'s)?", "no client, no process; or the passive", "nobody waits", "no body is sent"),
    Word(r"anew", "again, or a verb with re-", "counted anew", "a new one"),
    Word(r"mend(?:s|ed|ing)?", "fix, correct", "once it is mended", "recommended; an amendment"),
    Word(r"(?:goes|went|gone|going)(?: \w+)? back", "is returned, refunded, reversed", "money went back", "Go back"),
    Word(
        r"g(?:ive|ives|ave|iven|iving)(?: \w+)? back", "return, release, reinstate", "it gives units back", "feedback"
    ),
    Word(r"what(?: has| had)? bec[ao]mes? of", "the state of, the result of", "what became of it", "what became due"),
    Word(
        r"(?<![Tt]here )(?:is|are|was|were) no (?!longer|more|less|fewer|later|earlier|larger|smaller|higher|lower)\w+",
        "is not a …",
        "a refusal is no failure",
        "there is no app; it is no longer due",
    ),
    Word(r"(?<!-)laps(?:e|es|ed|ing)", "expire", "units lapse", "a collapse; time-lapse"),
    Word(r"judg(?:e|es|ed|ing|ment|ement)s?", "check, decide, validate", "judged on receipt", "adjust"),
    Word(
        r"on (?:its|his|her|their) own account", "by itself, for its own app", "on its own account", "its own account"
    ),
    Word(r"hear(?:s|ing)?|heard", "receive, record", "we never heard of it", "a heartbeat; shear"),
    Word(r"bur(?:y|ies|ied|ying)", "dead-letter", "the row is buried", "a burst"),
    Word(r"(?:is|are|was|were|be|been) away", "is unavailable, does not respond", "Redis is away", "move it away"),
    Word(r"(?:is|are|was|were|be|stands?) in the way", "blocks, prevents", "what is in the way", "in the way shown"),
    Word(r"of ours", "Scrip's own, created by Scrip", "a checkout of ours", "of hours"),
    Word(r"by hand", "manually", "given by hand", "by handing it over"),
    Word(r"c[ao]mes? to be", "is created", "customers come to be", "it came to begin"),
    Word(r"lest", "so that … not", "lest it blocks", "the least"),
    Word(r"in vain", "without effect", "it waits in vain", "in vanilla Python"),
)
DOCUMENTS = (
    *("README.md", "CHANGELOG.md", ".env.example", "Makefile", "sdk/python/README.md"),
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")),
    *sorted(f"catalog/{path.name}" for path in (ROOT / "catalog").glob("*.toml")),
)
# Folders and files of the program, and the document that is built from its routes.
OPENAPI = "openapi.json"
PROGRAM = (
    *sorted(path.name for path in ROOT.glob("*.py")),
    *sorted({path.relative_to(ROOT).parts[0] for path in ROOT.glob("[!.]*/**/*.py")} - {"tests"}),
    OPENAPI,
)
NOT_PROSE = re.compile(r"^ *```.*?^ *```|^ {4}.*?$|`[^`]*`|\]\([^)]*\)", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`]*`")
SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|WHERE|JOIN|VALUES)\b")
MARKUP = re.compile(r"\{[{%#].*?[}%#]\}|<style.*?</style>|<script.*?</script>|<[^>]*>", re.DOTALL)


def findings(text: str) -> list[str]:
    """The words of the table in a text, each with what stands around it and what to write instead."""
    text = " ".join(text.split())
    return [
        f"…{text[max(0, found.start() - 30) : found.end() + 30]}… → {word.instead}"
        for word in WORDS
        for found in re.finditer(rf"\b(?:{word.pattern})\b", text, re.IGNORECASE)
    ]


def texts_of(name: str) -> Iterator[tuple[str, str]]:
    """(place, text) of what a person reads of one name below the root."""
    path = ROOT / name
    if name in DOCUMENTS:
        yield name, NOT_PROSE.sub(" ", path.read_text())
        return
    if name == OPENAPI:
        yield from ((name, text) for text in descriptions(openapi.document(routes())))
        return
    for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
        yield from texts_of_module(file)
    for page in sorted(path.rglob("*.html")):
        yield str(page.relative_to(ROOT)), MARKUP.sub(" ", page.read_text())


def texts_of_module(file: Path) -> Iterator[tuple[str, str]]:
    """Public docstrings, and every other text of several words that is not SQL: messages, titles, descriptions."""
    tree = ast.parse(file.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    said = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings]
    texts = [(node.lineno, node.value) for node in said if isinstance(node.value, str) and is_prose(node.value)]
    texts += [(getattr(node, "lineno", 1), ast.get_docstring(node) or "") for node in public(tree)]
    for line, text in texts:
        yield f"{file.relative_to(ROOT)}:{line}", CODE.sub("", text)


def is_prose(text: str) -> bool:
    """Whether a text of a program has several words and is not SQL."""
    return " " in text.strip() and SQL.search(text) is None


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def public(tree: Documented) -> Iterator[Documented]:
    """The module, its public classes with their public methods, its public functions."""
    yield tree
    for node in tree.body if isinstance(tree, ast.Module | ast.ClassDef) else []:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield from public(node)


def every_command(command: click.Command, name: str) -> Iterator[tuple[str, click.Context]]:
    """A command and its subcommands, each with the context that its help is made from."""
    context = click.Context(command, info_name=name)
    yield name, context
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            assert found is not None
            yield from every_command(found, f"{name} {sub}")


HELP = dict(every_command(manage.main, "manage.py"))


def descriptions(schema: object) -> Iterator[str]:
    """Every summary and description of an OpenAPI document."""
    if isinstance(schema, dict):
        yield from (text for key in ("summary", "description") if isinstance(text := schema.get(key), str))
        for part in schema.values():
            yield from descriptions(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from descriptions(part)


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.catches)
def test_each_word_is_caught_and_its_like_is_not(word: Word) -> None:
    pattern = re.compile(rf"\b(?:{word.pattern})\b", re.IGNORECASE)
    assert pattern.search(word.catches)
    assert not pattern.search(word.spares)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_plain(name: str) -> None:
    assert [found for _, text in texts_of(name) for found in findings(text)] == []


@pytest.mark.parametrize("name", PROGRAM)
def test_the_texts_of_the_program_are_plain(name: str) -> None:
    assert [f"{place}: {found}" for place, text in texts_of(name) for found in findings(text)] == []


@pytest.mark.parametrize("name", HELP)
def test_the_help_of_a_command_is_plain(name: str) -> None:
    assert findings(HELP[name].get_help()) == []
