"""The embedded servers: real ones, started and stopped below a folder of the test's own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from dramatiq.brokers.redis import RedisBroker
from playhouse.pool import PooledPostgresqlDatabase

from runtime import embedded, processes
from runtime.embedded.account import account_for, allow_traversal
from runtime.embedded.folder import DataFolder
from runtime.embedded.postgres import programs_folder
from runtime.processes import Account, Process, ProcessError
from settings import ROOT, Settings, load
from tests.support.folders import data_folder
from tests.support.waiting import wait_until

# Owns the servers of the folder in its argument until its stdin closes.
OWNER = """
import sys
from runtime import embedded, processes
from settings import load
if "abandons" in sys.argv:
    processes._prctl = None
with embedded.ensure(load({"SCRIP_DATA_DIR": sys.argv[1]})) as servers:
    print(servers.database_url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """One in which servers may keep their data."""
    with data_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def made_once() -> Iterator[Path]:
    """The data folder of a PostgreSQL that has been made and stopped: a copy of it is quicker than another one."""
    with data_folder() as folder:
        with embedded.ensure(load({"SCRIP_DATA_DIR": str(folder)})):
            pass
        yield folder / "postgres"


@pytest.fixture
def unmade(tmp_path: Path) -> Settings:
    """A data folder that lies deeper than the path of a socket may be long, and has a space in its name."""
    return load({"SCRIP_DATA_DIR": str(tmp_path / ("deep " * 20).strip() / "data")})


@pytest.fixture
def settings(unmade: Settings, made_once: Path) -> Settings:
    """The same, with a PostgreSQL in it that has been made."""
    shutil.copytree(made_once, unmade.data_dir / "postgres")
    return unmade


@contextmanager
def owner_process(settings: Settings, *habits: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", OWNER, str(settings.data_dir), *habits]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        try:
            yield owner
        finally:
            owner.kill()


def ask(url: str, question: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(question).fetchone()
    return row[0] if row else None


def keep_a_row(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")


def postmaster(settings: Settings) -> int:
    """The number of the main PostgreSQL process; 0 if none runs."""
    try:
        return int((settings.data_dir / "postgres" / "postmaster.pid").read_text().split("\n")[0])
    except FileNotFoundError:
        return 0


def servers_of(settings: Settings) -> list[psutil.Process]:
    """All processes that work in the data folder, of whoever."""
    homes = {str(settings.data_dir / name) for name in ("postgres", "redis")}
    return [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] in homes]


def sockets_of(url: str) -> Path:
    return Path(url.partition("host=")[2].partition("&")[0])


def test_the_urls_serve_every_client_that_scrip_uses(unmade):
    with embedded.ensure(unmade) as servers:
        assert ask(servers.database_url, "SELECT current_database()") == "scrip"
        pool = PooledPostgresqlDatabase(servers.database_url, prefer_psycopg3=True, autoconnect=False)
        with pool:
            assert pool.execute_sql("SELECT 1").fetchone() == (1,)
        pool.close_all()
        assert redis.Redis.from_url(servers.redis_url).ping()
        assert RedisBroker(url=servers.redis_url).client.ping()
        pgbench = [str(programs_folder() / "pgbench"), "--initialize", "--quiet", servers.database_url]
        assert subprocess.run(pgbench, capture_output=True).returncode == 0


def test_the_port_of_another_postgresql_in_the_environment_changes_nothing(settings, monkeypatch):
    monkeypatch.setenv("PGPORT", "6543")
    with embedded.ensure(settings) as servers:
        assert ask(servers.database_url, "SHOW port") == "5432"


def test_postgresql_is_durable_and_speaks_utf_8(settings):
    wanted = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "server_encoding": "UTF8"}
    with embedded.ensure(settings) as servers:
        assert {name: ask(servers.database_url, f"SHOW {name}") for name in wanted} == wanted
        assert ask(servers.database_url, "SELECT upper('ärger') < 'é' AND 'Z' < 'a'")


def test_there_are_connections_for_every_thread_of_the_settings(settings):
    many = load({"SCRIP_DATA_DIR": str(settings.data_dir), "SCRIP_WEB_THREADS": "80"})
    with embedded.ensure(many) as servers:
        assert int(str(ask(servers.database_url, "SHOW max_connections"))) > many.connections


def test_redis_refuses_to_forget_and_writes_what_it_is_told(settings):
    with embedded.ensure(settings) as servers:
        client = redis.Redis.from_url(servers.redis_url)
        wanted = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec"}
        assert {name: client.config_get(name)[name] for name in wanted} == wanted


def test_the_servers_listen_on_no_network(settings):
    with embedded.ensure(settings):
        running = servers_of(settings)
        assert len(running) > 2
        assert [address for process in running for address in process.net_connections("inet")] == []


def test_at_the_end_no_process_and_no_socket_is_left(settings):
    with embedded.ensure(settings) as servers:
        assert len(servers_of(settings)) > 2
    assert servers_of(settings) == []
    assert not sockets_of(servers.database_url).exists()
    assert DataFolder(settings.data_dir).owner() == {}


def test_data_is_there_again_after_a_stop(settings):
    with embedded.ensure(settings) as servers:
        keep_a_row(servers.database_url)
        redis.Redis.from_url(servers.redis_url).set("kept", 1)
    with embedded.ensure(settings) as servers:
        assert ask(servers.database_url, "SELECT one FROM kept") == 1
        assert redis.Redis.from_url(servers.redis_url).get("kept") == b"1"


def test_two_folders_live_side_by_side(settings, tmp_path):
    with (
        embedded.ensure(settings) as one,
        embedded.ensure(load({"SCRIP_DATA_DIR": str(tmp_path / "b")})) as two,
    ):
        keep_a_row(one.database_url)
        assert ask(two.database_url, "SELECT to_regclass('kept')") is None


def test_servers_that_run_are_joined(settings):
    with embedded.ensure(settings) as mine, embedded.ensure(settings) as joined:
        assert joined == mine


def test_the_owner_waits_for_those_who_joined(settings):
    with owner_process(settings) as owner:
        url = owner.stdout.readline().strip()
        with embedded.ensure(settings) as joined:
            assert joined.database_url == url
            owner.stdin.close()
            wait_until(lambda: "urls" not in (settings.data_dir / "run" / "servers.json").read_text())
            with pytest.raises(subprocess.TimeoutExpired):
                owner.wait(1)
            assert ask(url, "SELECT 1") == 1
        assert owner.wait(30) == 0


def test_who_comes_after_a_kill_finds_the_data(settings):
    with owner_process(settings) as owner:
        url = owner.stdout.readline().strip()
        keep_a_row(url)
        first = postmaster(settings)
        owner.kill()
        owner.wait()
        with embedded.ensure(settings) as servers:
            assert postmaster(settings) != first
            assert ask(servers.database_url, "SELECT one FROM kept") == 1
        assert not sockets_of(url).exists()


def test_who_comes_after_a_crash_of_everything_finds_the_data(settings):
    with owner_process(settings) as owner:
        keep_a_row(owner.stdout.readline().strip())
        os.kill(postmaster(settings), signal.SIGKILL)
        owner.kill()
        owner.wait()
        assert postmaster(settings)
        with embedded.ensure(settings) as servers:
            assert ask(servers.database_url, "SELECT one FROM kept") == 1


def test_servers_that_outlived_their_owner_are_ended_before_others_start(settings):
    with owner_process(settings, "abandons") as owner:
        keep_a_row(owner.stdout.readline().strip())
        abandoned = psutil.Process(owner.pid).children()
        owner.kill()
        owner.wait()
        assert all(process in servers_of(settings) for process in abandoned)
        with embedded.ensure(settings) as servers:
            assert not any(process in servers_of(settings) for process in abandoned)
            assert ask(servers.database_url, "SELECT one FROM kept") == 1


def test_a_lock_file_with_the_number_of_another_process_is_no_obstacle(settings):
    with embedded.ensure(settings):
        lock = (settings.data_dir / "postgres" / "postmaster.pid").read_text()
    stranger = Process("stranger", ("sleep", "60"), account=account_for(settings.data_dir / "postgres"))
    running = processes.spawn(stranger, subprocess.DEVNULL)
    try:
        stale = "\n".join([str(running.pid), *lock.split("\n")[1:]])
        (settings.data_dir / "postgres" / "postmaster.pid").write_text(stale)
        with embedded.ensure(settings) as servers:
            assert ask(servers.database_url, "SELECT 1") == 1
        assert running.poll() is None
    finally:
        processes.stop(stranger, running)


def test_a_first_start_that_was_cut_short_begins_anew(unmade):
    draft = unmade.data_dir / "postgres.new"
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18")
    with embedded.ensure(unmade) as servers:
        assert ask(servers.database_url, "SELECT 1") == 1
    assert not draft.exists()


def test_data_of_another_version_is_refused_with_its_name(unmade):
    folder = unmade.data_dir / "postgres"
    folder.mkdir(parents=True)
    (folder / "PG_VERSION").write_text("17\n")
    with pytest.raises(ProcessError, match="PostgreSQL 17"), embedded.ensure(unmade):
        pass


def test_a_start_that_fails_names_the_log_and_frees_the_folder(settings):
    (settings.data_dir / "postgres" / "global" / "pg_control").write_bytes(b"")
    with pytest.raises(ProcessError, match=r"postgres ended .*postgres\.log"), embedded.ensure(settings):
        pass
    assert DataFolder(settings.data_dir).owner() == {}


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    settings = load({"SCRIP_DATA_DIR": str(tmp_path / "file" / "data")})
    with (
        pytest.raises(ProcessError, match=r"SCRIP_DATA_DIR .*file/data cannot be written"),
        embedded.ensure(settings),
    ):
        pass


def test_servers_of_others_are_taken_as_they_are(tmp_path):
    theirs = {
        "DATABASE_URL": "postgresql://db/scrip",
        "REDIS_URL": "redis://r",
        "SCRIP_DATA_DIR": str(tmp_path / "d"),
    }
    with embedded.ensure(load(theirs)) as servers:
        assert servers == embedded.Servers("postgresql://db/scrip", "redis://r")
    assert not (tmp_path / "d").exists()


def test_only_the_missing_server_is_started(tmp_path):
    settings = load({"DATABASE_URL": "postgresql://db/scrip", "SCRIP_DATA_DIR": str(tmp_path)})
    with embedded.ensure(settings) as servers:
        assert servers.database_url == "postgresql://db/scrip"
        assert redis.Redis.from_url(servers.redis_url).ping()
    assert not (tmp_path / "postgres").exists()


def test_the_urls_are_written_down_for_others_while_the_servers_run(settings):
    with embedded.ensure(settings) as servers:
        state = json.loads((settings.data_dir / "run" / "servers.json").read_text())
        assert state["urls"] == vars(servers)


def test_only_its_user_enters_the_folder_of_the_sockets(settings):
    with embedded.ensure(settings) as servers:
        assert stat.S_IMODE(sockets_of(servers.database_url).stat().st_mode) == 0o700


def test_folders_on_the_way_are_opened_for_walking_through_and_nothing_else(tmp_path):
    closed, group = tmp_path / "closed", tmp_path / "group"
    for folder, mode in ((closed, 0o700), (group, 0o750)):
        (folder / "data").mkdir(parents=True)
        folder.chmod(mode)
    allow_traversal(closed / "data", Account(54321, 54321, "stranger"))
    allow_traversal(group / "data", Account(54321, group.stat().st_gid, "of the group"))
    assert stat.S_IMODE(closed.stat().st_mode) == 0o701
    assert stat.S_IMODE(group.stat().st_mode) == 0o750


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives its servers another user")
def test_root_runs_the_servers_as_somebody_else(unmade):
    with embedded.ensure(unmade):
        users = {process.uids().effective for process in servers_of(unmade)}
    assert users == {account_for(unmade.data_dir / "postgres").uid}
    assert 0 not in users
