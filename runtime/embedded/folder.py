"""Data-directory lock: one owner process runs the servers, other processes attach.

Both locks are kernel locks (flock), which the kernel releases when the process ends, even by a kill:

    run/owner.lock     exclusive, held by the owner; its content identifies the owner and remains after a kill
    run/users.lock     shared, held by attached processes; an owner that stops waits for them
    run/servers.json   the folder of the sockets and, while processes can attach, the server URLs
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
    """An attachment to the servers of another process, until the end of the block."""

    urls: Mapping[str, str]
    _users: IO[str]

    def __enter__(self) -> Joined:
        return self

    def __exit__(self, *exception: object) -> None:
        self._users.close()


class DataFolder:
    """The data folder of one instance, created on first use. Raises ProcessError if it is not writable."""

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
        """Make this process the owner. Returns None while another process is the owner."""
        lock = self._open("owner.lock")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        return Owner(self._run, lock, {"pid": os.getpid(), "role": role, "port": port})

    def join(self) -> Joined | None:
        """Attach to the running servers. Returns None if no servers accept attachments."""
        users = self._open("users.lock")
        try:
            fcntl.flock(users, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            users.close()
            return None
        # Read under the lock: a stopping owner first removes the URLs, then waits for this lock.
        urls = _read_json(self._run / "servers.json").get("urls")
        if not urls:
            users.close()
            return None
        return Joined(urls, users)

    def owner(self) -> dict[str, Any]:
        """pid, role and port of the last owner; empty if it stopped cleanly."""
        return _read_json(self._run / "owner.lock")

    def _open(self, name: str) -> IO[str]:
        return open(self._run / name, "a+", encoding="utf-8")


class Owner:
    """Ownership of a data folder, with the right to run its servers, until the end of the block."""

    def __init__(self, run: Path, lock: IO[str], identity: Mapping[str, Any]) -> None:
        self._run, self._lock = run, lock
        lock.seek(0)
        self.follows_a_kill = bool(lock.read().strip())
        """Whether the previous owner was killed: its child processes may still be stopping."""
        self._write_identity(json.dumps(identity))

    def __enter__(self) -> Owner:
        return self

    def __exit__(self, *exception: object) -> None:
        self._write_identity("")
        self._lock.close()

    @contextmanager
    def sockets(self) -> Iterator[Path]:
        """A folder for the sockets of the servers, removed at the end of the block."""
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
        """Let other processes attach during the block. With `wait`, its end waits until they have detached."""
        sockets = _read_json(self._run / "servers.json")
        self._write({**sockets, "urls": urls})
        try:
            yield
        finally:
            self._write(sockets)
            if wait:
                with open(self._run / "users.lock", "a") as users:
                    fcntl.flock(users, fcntl.LOCK_EX)

    def _write_identity(self, text: str) -> None:
        self._lock.seek(0)
        self._lock.truncate()
        self._lock.write(text)
        self._lock.flush()

    def _write(self, state: Mapping[str, Any]) -> None:
        draft = self._run / "servers.new"
        draft.write_text(json.dumps(state))
        draft.replace(self._run / "servers.json")


def _socket_folder() -> Path:
    """A private folder with a short ASCII path: the path of a socket is limited to 107 bytes (103 on macOS)."""
    default = tempfile.gettempdir()
    is_plain = len(default) < 60 and all(letter.isalnum() or letter in "/_-" for letter in default)
    return Path(tempfile.mkdtemp(prefix="scrip-", dir=default if is_plain else "/tmp"))  # noqa: S108


def _remove_sockets(state: Mapping[str, Any]) -> None:
    folder = Path(state.get("sockets", "/nowhere"))
    if folder.name.startswith("scrip-"):
        shutil.rmtree(folder, ignore_errors=True)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8") or "{}")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
