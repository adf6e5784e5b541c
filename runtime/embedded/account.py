"""The user that the embedded servers run as. PostgreSQL refuses to run as root.

A normal user runs them as itself. Root gives them the account that owns their data already, or one that the
machine has for such things; nothing is added to the machine. That account must be able to walk to the data
and to the programs, so root opens the folders on the way for walking through, not for listing or reading.
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from runtime.processes import Account, ProcessError

CANDIDATES = ("postgres", "pgserver", "nobody")


def account_for(folder: Path) -> Account | None:
    """Who the server with its data in `folder` runs as; None for the user of this process."""
    if os.geteuid() != 0:
        return None
    return _owner(folder) or _first_candidate()


def give(folder: Path, account: Account | None) -> None:
    """Makes `folder` with all in it the account's, and lets the account walk to it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if account is None:
        return
    let_walk_to(folder, account)
    if folder.stat().st_uid != account.uid:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)


def let_walk_to(path: Path, account: Account) -> None:
    """Adds the one bit for walking through to each folder above `path` that keeps the account out."""
    for folder in path.resolve().parents:
        mode = folder.stat()
        bit = _class_bit(mode, account, stat.S_IXUSR)
        if not mode.st_mode & bit:
            _add(folder, bit)


def let_read(tree: Path, account: Account) -> None:
    """Lets the account use the programs in `tree`, if their installer was told to keep all others out."""
    let_walk_to(tree, account)
    for path in (tree, *tree.rglob("*")):
        mode = path.stat()
        wanted = _class_bit(mode, account, stat.S_IRUSR)
        if mode.st_mode & stat.S_IXUSR:
            wanted |= _class_bit(mode, account, stat.S_IXUSR)
        if mode.st_mode & wanted != wanted:
            _add(path, wanted)


def _owner(folder: Path) -> Account | None:
    try:
        uid = folder.stat().st_uid
        return _account(pwd.getpwuid(uid)) if uid != 0 else None
    except (FileNotFoundError, KeyError):
        return None


def _first_candidate() -> Account:
    for name in CANDIDATES:
        try:
            return _account(pwd.getpwnam(name))
        except KeyError:
            continue
    raise ProcessError(
        f"PostgreSQL refuses to run as root, and there is no user {' or '.join(CANDIDATES)} to run it as"
    )


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)


def _class_bit(mode: os.stat_result, account: Account, bit_of_owner: int) -> int:
    """The bit that decides for this account: exactly one of the three classes applies."""
    if mode.st_uid == account.uid:
        return bit_of_owner
    return bit_of_owner >> 3 if mode.st_gid == account.gid else bit_of_owner >> 6


def _add(path: Path, bits: int) -> None:
    try:
        path.chmod(stat.S_IMODE(path.stat().st_mode) | bits)
    except OSError as error:
        raise ProcessError(f"{path} keeps the embedded servers out and cannot be opened: {error.strerror}") from error
