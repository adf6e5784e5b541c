"""The output of the supervisor's children: `name | line` on the terminal, and one log file per child."""

from __future__ import annotations

import os
import re
import sys
from collections import deque
from pathlib import Path
from typing import TextIO

TRACEBACK = "Traceback (most recent call last)"
COLOURS = ("36", "35", "34", "32", "33")
RED, DIM = "31", "2"

ROTATE_BYTES = 10_000_000
LAST_LINES = 15
# Longer lines are split, to limit memory.
LINE_BYTES = 64_000


class Console:
    """Writes lines prefixed with the name of the process, in colour on a terminal."""

    def __init__(self, verbose: bool, stream: TextIO | None = None) -> None:
        self.verbose = verbose
        self.muted = False
        self._stream = stream or sys.stdout
        self._coloured = self._stream.isatty() and not os.environ.get("NO_COLOR")
        self._colour_of: dict[str, str] = {}

    def info(self, text: str) -> None:
        """Write a line of the supervisor."""
        self._write("scrip", text, DIM)

    def error(self, text: str) -> None:
        """Write a line of the supervisor about a failure."""
        self._write("scrip", text, RED)

    def line(self, name: str, text: str) -> None:
        """Write a line of a child."""
        colour = self._colour_of.setdefault(name, COLOURS[len(self._colour_of) % len(COLOURS)])
        self._write(name, text, colour)

    def _write(self, name: str, text: str, colour: str) -> None:
        prefix = f"{name:<9} | "
        if self._coloured:
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        try:
            print(prefix + text, file=self._stream, flush=True)
        except (OSError, ValueError):
            # The terminal was closed. The children and their log files continue.
            pass


class Output:
    """The output of one child: split into lines, written to its log file, and shown if it matches `alarming`."""

    def __init__(self, name: str, log_dir: Path, console: Console, alarming: str) -> None:
        self.name = name
        self.path = log_dir / f"{name}.log"
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._console = console
        self._alarming = re.compile(alarming)
        self._in_traceback = False
        self._rest = b""
        self._file = open(self.path, "ab")

    def feed(self, data: bytes) -> None:
        """Process the next bytes, which may end within a line."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._process(line)
        if lines:
            self._file.flush()
            self._rotate_if_large()

    def close(self) -> None:
        if self._rest:
            self.feed(b"\n")
        self._file.close()

    def _process(self, line: bytes) -> None:
        self._file.write(line + b"\n")
        text = line.decode("utf-8", "replace").rstrip()
        self.last_lines.append(text)
        if self._is_shown(text):
            self._console.line(self.name, text)

    def _is_shown(self, text: str) -> bool:
        shown = bool(self._console.verbose or self._in_traceback or self._alarming.search(text) or TRACEBACK in text)
        if TRACEBACK in text:
            self._in_traceback = True
        elif self._in_traceback and not text.startswith((" ", "\t")):
            self._in_traceback = False
        return shown and not self._console.muted

    def _rotate_if_large(self) -> None:
        """Rename a large log file to NAME.log.1, replacing the previous one, and start a new file."""
        if self._file.tell() < ROTATE_BYTES:
            return
        self._file.close()
        self.path.replace(self.path.with_suffix(".log.1"))
        self._file = open(self.path, "ab")
