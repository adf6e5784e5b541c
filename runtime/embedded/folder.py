"""Who holds a data folder: at most one owner, who runs the servers, and any number of others who have joined.

Both are kernel locks (flock), which end with the process that has them, however it ends:

    run/owner.lock     exclusive: the owner; its content tells who that is, and stays behind after a kill
    run/users.lock     shared: those who joined; an owner that stops waits for them
    run/servers.json   the sockets' folder and, while the servers can be joined, their URLs
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from runtime.processes import ProcessError

Role = Literal["up", "command"]


@dataclass(frozen=True)
class Joined:
    """A share in the servers of another process."""

    urls: Mapping[str, str]
    _users: IO[str]

    def __enter__(self) -> Joined:
        return self

    def __exit__(self, *exception: object) -> None:
        self._users.close()


class DataFolder:
    """The data folder of one instance, made on first use. Raises ProcessError if it cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._run = path / "run"
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (self._run, path / "log"):
                folder.mkdir(exist_ok=True, mode=0o700)
            self._open("owner.lock").close()
        except OSError as error:
            raise ProcessError(f"SCRIP_DATA_DIR {path} cannot be written: {error.strerror}") from error

    def claim(self, role: Role, port: int) -> Owner | None:
        """Makes this process the owner; None while another is."""
        lock = self._open("owner.lock")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        return Owner(self._run, lock, {"pid": os.getpid(), "role": role, "port": port})

    def join(self) -> Joined | None:
        """A share in the running servers; None if they cannot be joined, now or at all."""
        users = self._open("users.lock")
        try:
            fcntl.flock(users, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            users.close()
            return None
        # Read under the lock: an owner that stops withdraws the URLs first, then waits for this lock.
        urls = _read_json(self._run / "servers.json").get("urls")
        if not urls:
            users.close()
            return None
        return Joined(urls, users)

    def owner(self) -> dict[str, Any]:
        """What the last owner said of itself: pid, role and port; empty if it has left in good order."""
        return _read_json(self._run / "owner.lock")

    def _open(self, name: str) -> IO[str]:
        return open(self._run / name, "a+", encoding="utf-8")


class Owner:
    """The right to run the servers of a data folder, for the time of the block."""

    def __init__(self, run: Path, lock: IO[str], who: Mapping[str, Any]) -> None:
        self._run, self._lock = run, lock
        lock.seek(0)
        self.follows_a_kill = bool(lock.read().strip())
        """True if the owner before could not clean up: its children may still be on their way out."""
        self._say(json.dumps(who))

    def __enter__(self) -> Owner:
        return self

    def __exit__(self, *exception: object) -> None:
        self._say("")
        self._lock.close()

    @contextmanager
    def sockets(self) -> Iterator[Path]:
        """A folder for the servers' sockets, for the time of the block."""
        _remove_sockets(_read_json(self._run / "servers.json"))
        folder = _socket_folder()
        self._write({"sockets": str(folder)})
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            (self._run / "servers.json").unlink(missing_ok=True)

    @contextmanager
    def published(self, urls: Mapping[str, str], wait: bool = True) -> Iterator[None]:
        """Others can join for the time of the block; with `wait`, it ends when they have gone."""
        sockets = _read_json(self._run / "servers.json")
        self._write({**sockets, "urls": urls})
        try:
            yield
        finally:
            self._write(sockets)
            if wait:
                with open(self._run / "users.lock", "a") as users:
                    fcntl.flock(users, fcntl.LOCK_EX)

    def _say(self, text: str) -> None:
        self._lock.seek(0)
        self._lock.truncate()
        self._lock.write(text)
        self._lock.flush()

    def _write(self, state: Mapping[str, Any]) -> None:
        draft = self._run / "servers.new"
        draft.write_text(json.dumps(state))
        draft.replace(self._run / "servers.json")


def _socket_folder() -> Path:
    """A private folder with a short, plain name: the path of a socket may have 107 bytes (103 on macOS)."""
    usual = tempfile.gettempdir()
    plain = len(usual) < 60 and all(letter.isalnum() or letter in "/_-" for letter in usual)
    return Path(tempfile.mkdtemp(prefix="scrip-", dir=usual if plain else "/tmp"))  # noqa: S108


def _remove_sockets(state: Mapping[str, Any]) -> None:
    left = Path(state.get("sockets", "/nowhere"))
    if left.name.startswith("scrip-"):
        shutil.rmtree(left, ignore_errors=True)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8") or "{}")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
