"""The user account that the embedded servers run as. PostgreSQL refuses to run as root.

An ordinary user runs them under its own account. Root runs them under the account that owns their data, or under an
existing system account; no account is created. That account must be able to traverse the folders above the data and the
programs, so root adds the execute bit to these folders, but not the read bit.
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from runtime.processes import Account, ProcessError

CANDIDATES = ("postgres", "pgserver", "nobody")


def account_for(folder: Path) -> Account | None:
    """The account for the server with its data in `folder`. None: the user of this process."""
    if os.geteuid() != 0:
        return None
    return _owner(folder) or _first_candidate()


def give_ownership(folder: Path, account: Account | None) -> None:
    """Create `folder`, change the owner of it and its contents to the account, and allow traversal to it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if account is None:
        return
    allow_traversal(folder, account)
    if folder.stat().st_uid != account.uid:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)


def allow_traversal(path: Path, account: Account) -> None:
    """Add the execute bit to each folder above `path` that the account cannot traverse."""
    for folder in path.resolve().parents:
        mode = folder.stat()
        bit = _class_bit(mode, account, stat.S_IXUSR)
        if not mode.st_mode & bit:
            _add(folder, bit)


def allow_reading(tree: Path, account: Account) -> None:
    """Let the account read and run the programs in `tree`, even if they were installed for their owner only."""
    allow_traversal(tree, account)
    for path in (tree, *tree.rglob("*")):
        mode = path.stat()
        bits = _class_bit(mode, account, stat.S_IRUSR)
        if mode.st_mode & stat.S_IXUSR:
            bits |= _class_bit(mode, account, stat.S_IXUSR)
        if mode.st_mode & bits != bits:
            _add(path, bits)


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
        f"PostgreSQL refuses to run as root: run Scrip as another user, or create the user {CANDIDATES[0]}"
    )


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)


def _class_bit(mode: os.stat_result, account: Account, bit_of_owner: int) -> int:
    """The permission bit that applies to this account: of its owner, group or other class."""
    if mode.st_uid == account.uid:
        return bit_of_owner
    return bit_of_owner >> 3 if mode.st_gid == account.gid else bit_of_owner >> 6


def _add(path: Path, bits: int) -> None:
    try:
        path.chmod(stat.S_IMODE(path.stat().st_mode) | bits)
    except OSError as error:
        raise ProcessError(f"cannot give the embedded servers access to {path}: {error.strerror}") from error
