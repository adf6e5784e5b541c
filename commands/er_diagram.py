"""`manage.py er-diagram`: the schema as Mermaid diagrams, drawn from the models."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from models.tables import TABLES
from models.tables.base import ReferenceField

BEGIN = "<!-- er-diagram: drawn by `manage.py er-diagram --write`; edit the models instead -->\n"
END = "<!-- er-diagram: end -->\n"
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("er-diagram", short_help="Draw the database's tables as Mermaid diagrams.")
@click.option("--check", type=FILE, help="Exit with 1 if the diagrams in this file are out of date.")
@click.option("--write", type=FILE, help="Replace the diagrams in this file.")
def command(check: Path | None, write: Path | None) -> None:
    """Print Markdown: how the tables refer to each other, and each group of tables with its columns and keys."""
    if write:
        write.write_text(replaced(write))
    elif check and replaced(check) != check.read_text():
        raise click.ClickException(f"the diagrams are out of date: run `manage.py er-diagram --write {check}`")
    elif not check:
        click.echo(markdown(), nl=False)


def replaced(path: Path) -> str:
    """The file's text, with current diagrams between its markers.

    Raises:
        click.ClickException: the file has no markers.
    """
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise click.ClickException(f"{path}: a line is missing: {(END if begin else BEGIN).strip()}")
    return f"{before}{BEGIN}\n{markdown()}\n{END}{after}"


def markdown() -> str:
    """The overview and one section for each group of tables."""
    overview = ["## Overview", "", *_diagram(line for model in TABLES for line in _relations(model))]
    groups = [_section(name, list(models)) for name, models in groupby(TABLES, _group)]
    return "\n".join(line for section in (overview, *groups) for line in (*section, "")).rstrip() + "\n"


def _group(model: Any) -> str:
    """The module that the table is in: `ledger`."""
    return str(model.__module__.rpartition(".")[2])


def _section(name: str, models: list[Any]) -> list[str]:
    columns = [line for model in models for line in _columns(model)]
    relations = [line for model in models for line in _relations(model)]
    sentences = [f"- `{model._meta.table_name}`: {_sentence(model)}" for model in models]
    return [f"## {name.capitalize()}", "", *sentences, "", *_diagram((*columns, *relations))]


def _diagram(lines: Any) -> list[str]:
    return ["```mermaid", "erDiagram", *(f"    {line}" for line in lines), "```"]


def _sentence(model: Any) -> str:
    """What a row of the table is, and which combinations of columns are unique."""
    summary = " ".join(model.__doc__.partition("\n\n")[0].split())
    combined = [columns for columns in _unique(model) if "," in columns]
    return f"{summary} Unique: {', '.join(f'({columns})' for columns in combined)}." if combined else summary


def _columns(model: Any) -> Iterator[str]:
    yield f"{model._meta.table_name} {{"
    for field in model._meta.sorted_fields:
        keys = ", ".join(_keys(field))
        note = '"null"' if field.null else ""
        yield "    " + " ".join(part for part in (_type(field), field.column_name, keys, note) if part)
    yield "}"


def _keys(field: Any) -> Iterator[str]:
    if _is_primary(field):
        yield "PK"
    if getattr(field, "references", None):
        yield "FK"
    if field.column_name in _unique(field.model):
        yield "UK"


def _relations(model: Any) -> Iterator[str]:
    """A line for each column that refers to another table, with Mermaid's signs for how many rows are at each end."""
    for field in model._meta.sorted_fields:
        if target := getattr(field, "references", None):
            one = "||" if _is_found(field) else "|o"
            many = "o|" if field.primary_key or field.column_name in _unique(model) else "o{"
            yield f"{target} {one}--{many} {model._meta.table_name} : {field.column_name}"


def _is_found(field: Any) -> bool:
    """Whether every row refers to a row that exists."""
    return isinstance(field, ReferenceField) and not field.null


def _is_primary(field: Any) -> bool:
    return any(field is key for key in field.model._meta.get_primary_keys())


def _unique(model: Any) -> list[str]:
    """The columns of each UNIQUE constraint: `app, customer`."""
    texts = [constraint.sql for constraint in model._meta.constraints or ()]
    return [text[len("UNIQUE (") : -1] for text in texts if text.startswith("UNIQUE (")]


def _type(field: Any) -> str:
    """The column's type as one word: `bigint`, `text[]`, `timestamptz`."""
    context = field.model._meta.database.get_sql_context()
    sql, _ = context.sql(field.ddl_datatype(context)).query()
    return str(sql).split()[0].lower()
