"""The settings of Scrip, read once from the environment and validated.

    from settings import settings

`settings` is built from `os.environ` on first access, so that a program can first start the embedded servers and set
their URLs. `load()` builds settings from any mapping. Each variable NAME can also be given as NAME_FILE, the path of a
file with the value. An empty value counts as absent. docs/settings.md lists all variables.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import provider_keys
import reachable
from reachable import LOOPBACK, Allowed

ROOT = Path(__file__).resolve().parent
SANDBOX_WEBHOOK_SECRET = "whsec_sandbox"
SANDBOX_PAYPAL_WEBHOOK_ID = "WH-SANDBOX"
SPARE_CONNECTIONS = 12  # of a node, beyond its threads: two of the scheduler, those of commands and the demo

T = TypeVar("T")


class SettingsError(ValueError):
    """A variable has an invalid value. The message starts with the name of the variable."""


@dataclass(frozen=True)
class Settings:
    """The resolved settings of one process. The repr omits secrets."""

    database_url: str | None = field(repr=False)
    redis_url: str | None = field(repr=False)
    host: str
    port: int
    data_dir: Path
    catalog_dir: Path
    sandbox: bool
    sandbox_asked: bool
    sandbox_url: str | None
    sandbox_port: int | None
    demo: bool
    log_level: str
    web_workers: int
    web_threads: int
    worker_processes: int
    worker_threads: int
    stripe_secret_key: str | None = field(repr=False)
    stripe_webhook_secrets: tuple[str, ...] = field(repr=False)
    paypal_client_id: str | None
    paypal_client_secret: str | None = field(repr=False)
    paypal_webhook_id: str | None
    paypal_env: str
    allow_test_keys: bool
    outgoing_allow: Allowed

    @property
    def connections(self) -> int:
        """The maximum number of PostgreSQL connections of this node's processes."""
        threads = self.web_workers * self.web_threads + self.worker_processes * self.worker_threads
        return threads + SPARE_CONNECTIONS

    @property
    def reachable(self) -> Allowed:
        """`outgoing_allow`, with loopback in a sandbox that only this machine can reach.

        A sandbox open to the network excludes it: its keys are public, and services on loopback rely on isolation.
        """
        if not (self.sandbox and is_loopback(self.host)):
            return self.outgoing_allow
        return Allowed(self.outgoing_allow.hosts, (*self.outgoing_allow.networks, *LOOPBACK))

    @property
    def log_dir(self) -> Path:
        return self.data_dir / "log"


def load(environ: Mapping[str, str]) -> Settings:
    """Settings from `environ`. Raises SettingsError, which names the invalid variable."""
    read = _Reader(environ)
    database_url = read("DATABASE_URL", _url("postgresql", "postgres"), None)
    sandbox_variable = read("SCRIP_SANDBOX", _boolean, None)
    sandbox = database_url is None if sandbox_variable is None else sandbox_variable
    settings = Settings(
        database_url=database_url,
        redis_url=read("REDIS_URL", _url("redis", "rediss", "unix"), None),
        host=read("HOST", str, "127.0.0.1"),
        port=read("PORT", _integer(1, 65535), 8000),
        data_dir=read("SCRIP_DATA_DIR", _path, ROOT / ".data"),
        catalog_dir=read("SCRIP_CATALOG_DIR", _path, ROOT / "catalog"),
        sandbox=sandbox,
        sandbox_asked=sandbox_variable is True,
        sandbox_url=read("SCRIP_SANDBOX_URL", _url("http"), None),
        sandbox_port=read("SCRIP_SANDBOX_PORT", _integer(1, 65535), None),
        demo=read("SCRIP_DEMO", _boolean, sandbox),
        log_level=read("SCRIP_LOG_LEVEL", _choice("debug", "info", "warning", "error"), "info"),
        web_workers=read("SCRIP_WEB_WORKERS", _integer(1, 64), 2),
        web_threads=read("SCRIP_WEB_THREADS", _integer(1, 256), 8),
        worker_processes=read("SCRIP_WORKER_PROCESSES", _integer(1, 64), 2),
        worker_threads=read("SCRIP_WORKER_THREADS", _integer(1, 256), 8),
        stripe_secret_key=read("STRIPE_SECRET_KEY", str, None),
        stripe_webhook_secrets=_webhook_secrets(read("STRIPE_WEBHOOK_SECRET", _list, ()), sandbox),
        paypal_client_id=read("PAYPAL_CLIENT_ID", str, None),
        paypal_client_secret=read("PAYPAL_CLIENT_SECRET", str, None),
        paypal_webhook_id=read("PAYPAL_WEBHOOK_ID", str, None),
        paypal_env=read("PAYPAL_ENV", _choice("sandbox", "live"), "sandbox"),
        allow_test_keys=read("SCRIP_ALLOW_TEST_KEYS", _boolean, False),
        outgoing_allow=read("SCRIP_OUTGOING_ALLOW", _allowed, Allowed()),
    )
    _check_exposure(settings)
    if not settings.allow_test_keys:
        _check_keys(settings, is_paypal_used="PAYPAL_ENV" in environ or "PAYPAL_ENV_FILE" in environ)
    return settings


def _check_keys(settings: Settings, is_paypal_used: bool) -> None:
    """Reject live keys in a sandbox, and test keys and a sandbox's secrets outside of one."""
    sandbox = settings.sandbox
    is_secret_public = SANDBOX_WEBHOOK_SECRET in settings.stripe_webhook_secrets
    is_webhook_public = settings.paypal_webhook_id == SANDBOX_PAYPAL_WEBHOOK_ID
    faults = {
        "STRIPE_SECRET_KEY": provider_keys.stripe_key_fault(settings.stripe_secret_key, sandbox=sandbox),
        "STRIPE_WEBHOOK_SECRET": provider_keys.secret_fault(is_secret_public, sandbox=sandbox),
        "PAYPAL_WEBHOOK_ID": provider_keys.secret_fault(is_webhook_public, sandbox=sandbox),
    }
    if is_paypal_used or settings.paypal_client_id or settings.paypal_webhook_id:
        faults["PAYPAL_ENV"] = provider_keys.paypal_fault(settings.paypal_env, sandbox=sandbox)
    for name, reason in faults.items():
        if reason:
            raise SettingsError(f"{name} {reason}")


def _webhook_secrets(secrets: tuple[str, ...], sandbox: bool) -> tuple[str, ...]:
    """`secrets`, in the sandbox with the well-known secret, so that `sandbox sign` always works there."""
    is_missing = sandbox and SANDBOX_WEBHOOK_SECRET not in secrets
    return (*secrets, SANDBOX_WEBHOOK_SECRET) if is_missing else secrets


def _check_exposure(settings: Settings) -> None:
    """Reject a sandbox on the network without SCRIP_SANDBOX=1: the keys of a sandbox are public."""
    if settings.sandbox and not settings.sandbox_asked and not is_loopback(settings.host):
        raise SettingsError(
            f"HOST is {settings.host!r}, but this is a sandbox, whose keys are public: set DATABASE_URL for "
            "production, set SCRIP_SANDBOX=1 to open the sandbox to the network, or unset HOST"
        )


def is_loopback(host: str) -> bool:
    """Whether `host` can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Reader:
    """Reads a variable, or the file that its _FILE variant names. Raises SettingsError with the variable's name."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ

    def __call__(self, name: str, parse: Callable[[str], T], default: Any) -> Any:
        text = self._text(name)
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            raise SettingsError(f"{name} {error}") from None

    def _text(self, name: str) -> str:
        value, path = self.environ.get(name, ""), self.environ.get(f"{name}_FILE", "")
        if value and path:
            raise SettingsError(f"{name} and {name}_FILE are both set: unset one of them")
        if not path:
            return value.strip()
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{name}_FILE is the path of a file that cannot be read: {error}") from None


def _boolean(text: str) -> bool:
    if (lowered := text.lower()) in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"must be 1 or 0, not {text!r}")


def _integer(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and lowest <= int(text) <= highest):
            raise ValueError(f"must be a whole number from {lowest} to {highest}, not {text!r}")
        return int(text)

    return parse


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}, not {text!r}")
        return text.lower()

    return parse


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        # The message omits the value: a URL often contains a password.
        if not text.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError(f"must start with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return text

    return parse


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _allowed(text: str) -> Allowed:
    return reachable.read(_list(text))


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()


settings: Settings


def __getattr__(name: str) -> Settings:
    """Build `settings` on first access and keep it: the environment is read once."""
    if name != "settings":
        raise AttributeError(f"module 'settings' has no attribute {name!r}")
    globals()["settings"] = loaded = load(os.environ)
    return loaded
