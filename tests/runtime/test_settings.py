"""What settings.py makes of an environment."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from runtime import embedded
from settings import ROOT, SettingsError, load

VARIABLES = sorted(set(re.findall(r'read\("([A-Z_]+)"', (ROOT / "settings.py").read_text(encoding="utf-8"))))
PRODUCTION = {"DATABASE_URL": "postgresql://db/scrip", "REDIS_URL": "redis://redis"}


def test_an_empty_environment_is_a_sandbox_on_this_machine():
    settings = load({})
    assert (settings.sandbox, settings.sandbox_asked, settings.demo) == (True, False, True)
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert (settings.database_url, settings.redis_url) == (None, None)
    assert (settings.data_dir, settings.catalog_dir) == (ROOT / ".data", ROOT / "catalog")


def test_a_database_url_turns_the_sandbox_off():
    settings = load(PRODUCTION)
    assert (settings.sandbox, settings.demo) == (False, False)


def test_the_sandbox_can_be_asked_for_beside_a_database_url():
    assert load({**PRODUCTION, "SCRIP_SANDBOX": "1"}).sandbox


def test_the_sandbox_can_be_refused_without_a_database_url():
    assert not load({"SCRIP_SANDBOX": "0"}).sandbox


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "scrip.example"])
def test_a_sandbox_that_nobody_asked_for_stays_off_the_network(host):
    with pytest.raises(SettingsError, match=r"^HOST "):
        load({"HOST": host})
    assert load({"HOST": host, "SCRIP_SANDBOX": "1"}).host == host
    assert load({**PRODUCTION, "HOST": host}).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_a_sandbox_listens_on_any_loopback_address(host):
    assert load({"HOST": host}).host == host


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "80a"),
        ("PORT", "²"),
        ("DATABASE_URL", "mysql://db/scrip"),
        ("REDIS_URL", "localhost:6379"),
        ("SCRIP_SANDBOX", "maybe"),
        ("SCRIP_DEMO", "2"),
        ("SCRIP_LOG_LEVEL", "loud"),
        ("SCRIP_WEB_WORKERS", "0"),
        ("SCRIP_WORKER_THREADS", "-1"),
        ("PAYPAL_ENV", "production"),
    ],
)
def test_a_bad_value_is_refused_with_the_name_of_its_variable(name, value):
    with pytest.raises(SettingsError, match=f"^{name} "):
        load({name: value})


def test_a_bad_url_is_not_repeated_for_it_may_hold_a_password():
    with pytest.raises(SettingsError) as refusal:
        load({"DATABASE_URL": "mysql://user:hunter2@db"})
    assert "hunter2" not in str(refusal.value)


def test_secrets_do_not_show_in_the_repr():
    secrets = {
        "DATABASE_URL": "postgresql://user:hunter2@db/scrip",
        "REDIS_URL": "redis://:hunter2@redis",
        "STRIPE_SECRET_KEY": "hunter2",
        "STRIPE_WEBHOOK_SECRET": "hunter2",
        "PAYPAL_CLIENT_SECRET": "hunter2",
    }
    assert "hunter2" not in repr(load(secrets))


def test_a_value_can_come_from_a_file(tmp_path: Path):
    secret = tmp_path / "key"
    secret.write_text("sk_test_1\n")
    assert load({"STRIPE_SECRET_KEY_FILE": str(secret)}).stripe_secret_key == "sk_test_1"


def test_a_file_that_cannot_be_read_is_named():
    with pytest.raises(SettingsError, match=r"^STRIPE_SECRET_KEY_FILE .*/nowhere"):
        load({"STRIPE_SECRET_KEY_FILE": "/nowhere"})


def test_a_value_and_a_file_at_once_are_refused(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"^PORT and PORT_FILE"):
        load({"PORT": "1", "PORT_FILE": str(tmp_path / "port")})


def test_an_empty_value_counts_as_absent():
    assert load({"PORT": "", "DATABASE_URL": " ", "PORT_FILE": ""}) == load({})


def test_two_webhook_secrets_are_valid_while_one_is_rotated():
    assert load({**PRODUCTION, "STRIPE_WEBHOOK_SECRET": "whsec_a, whsec_b,"}).stripe_webhook_secrets == (
        "whsec_a",
        "whsec_b",
    )


def test_only_the_sandbox_knows_the_sandbox_secret():
    assert load({}).stripe_webhook_secrets == ("whsec_sandbox",)
    assert load({"STRIPE_WEBHOOK_SECRET": "whsec_a"}).stripe_webhook_secrets == ("whsec_a", "whsec_sandbox")
    assert load(PRODUCTION).stripe_webhook_secrets == ()


def test_connections_are_counted_for_every_thread():
    sizes = {"SCRIP_WEB_WORKERS": "3", "SCRIP_WEB_THREADS": "5", "SCRIP_WORKER_PROCESSES": "1"}
    assert load(sizes).connections == 3 * 5 + 1 * 8 + 12


def test_another_process_reads_the_same_settings_from_what_it_is_handed():
    mine = load({"PORT": "8123", "SCRIP_DATA_DIR": "/tmp/x y", "SCRIP_DEMO": "0"})
    servers = embedded.Servers("postgresql://postgres@/scrip?host=/tmp/s", "unix:///tmp/s/redis.sock")
    environ = {"PORT_FILE": "/a/file", "STRIPE_SECRET_KEY": "sk_1"}
    resolved = embedded.export(mine, servers, environ)
    theirs = load(environ)
    assert (theirs.database_url, theirs.redis_url) == (resolved.database_url, resolved.redis_url)
    assert (theirs.port, theirs.data_dir, theirs.sandbox, theirs.demo) == (
        8123,
        Path("/tmp/x y"),
        True,
        False,
    )
    assert theirs.stripe_secret_key == "sk_1"


def test_the_settings_of_the_process_are_read_at_the_first_look():
    program = "import os; os.environ['PORT'] = '8765'; from settings import settings; print(settings.port)"
    early = f"import settings; {program}"
    done = subprocess.run([sys.executable, "-c", early], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "8765"


@pytest.mark.parametrize("name", VARIABLES)
def test_each_variable_is_documented(name):
    assert f"`{name}`" in (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert f"#{name}=" in (ROOT / ".env.example").read_text(encoding="utf-8")


def test_settings_is_the_only_reader_of_the_environment():
    """Beside it the catalog, for the names that an app's file gives as "env:NAME", and what prometheus_client sets."""
    folders = ("web", "scheduler", "workers", "jobs", "models")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    reading = re.compile(r"getenv|os\.environ\.get|os\.environ\b(?!\.|\[[^]]+\] = )")
    readers = {path.relative_to(ROOT).as_posix() for path in files if reading.search(path.read_text("utf-8"))}
    assert readers <= {"models/catalog/catalog.py", "models/operations/metrics.py"}


# --- live and test keys


@pytest.mark.parametrize(
    ("name", "value"),
    [("STRIPE_SECRET_KEY", "sk_live_1"), ("STRIPE_SECRET_KEY", "rk_live_1"), ("PAYPAL_ENV", "live")],
)
def test_a_live_key_in_a_sandbox_is_refused_unless_it_is_asked_for(name, value):
    for environ in ({}, {**PRODUCTION, "SCRIP_SANDBOX": "1"}):
        with pytest.raises(SettingsError, match=rf"^{name} is .*live.*SCRIP_ALLOW_TEST_KEYS=1") as refusal:
            load({**environ, name: value})
        assert "sk_live_1" not in str(refusal.value)
        assert load({**environ, name: value, "SCRIP_ALLOW_TEST_KEYS": "1"}).sandbox
    assert not load({**PRODUCTION, name: value}).sandbox


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STRIPE_SECRET_KEY", "sk_test_1"),
        ("STRIPE_SECRET_KEY", "rk_test_1"),
        ("STRIPE_SECRET_KEY", "sk_sandbox_songs"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_a,whsec_sandbox"),
        ("PAYPAL_WEBHOOK_ID", "WH-SANDBOX"),
        ("PAYPAL_ENV", "sandbox"),
    ],
)
def test_a_test_key_outside_the_sandbox_is_refused_unless_it_is_asked_for(name, value):
    with pytest.raises(SettingsError, match=rf"^{name} .*not a sandbox.*SCRIP_ALLOW_TEST_KEYS=1"):
        load({**PRODUCTION, "PAYPAL_ENV": "live", name: value})
    assert not load({**PRODUCTION, name: value, "SCRIP_ALLOW_TEST_KEYS": "1"}).sandbox
    load({name: value})


@pytest.mark.parametrize("name", ["PAYPAL_CLIENT_ID", "PAYPAL_WEBHOOK_ID"])
def test_an_account_at_paypal_needs_its_environment_in_production(name):
    with pytest.raises(SettingsError, match=r"^PAYPAL_ENV is sandbox"):
        load({**PRODUCTION, name: "x"})
    assert load({**PRODUCTION, name: "x", "PAYPAL_ENV": "live"}).paypal_env == "live"
