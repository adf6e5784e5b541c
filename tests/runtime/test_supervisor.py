"""The supervisor, with real processes and real signals, over a table of small dummies."""

from __future__ import annotations

import http.server
import io
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from runtime import embedded, supervisor
from runtime.embedded.folder import DataFolder
from runtime.processes import Process
from runtime.processes.child import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Child
from runtime.processes.console import LAST_LINES, ROTATE_BYTES, Console, Output
from settings import ROOT, load
from tests.support.folders import data_folder
from tests.support.waiting import wait_until

# Writes "NAME up PID" and "NAME down" into a common file; the supervisor is told what else it shall do.
DUMMY = """
import os, signal, sys, time
name, diary, deed = sys.argv[1:]
def note(text):
    with open(diary, "a") as file:
        file.write(f"{name} {text}\\n")
def stop(*signal):
    note("down")
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if deed == "stubborn" else stop)
note(f"up {os.getpid()}")
if deed == "parent" and os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(f"child {os.getpid()}")
if deed == "chatty":
    print("a quiet line\\nWARNING a loud line", flush=True)
if deed == "environment":
    names = ("DATABASE_URL", "REDIS_URL", "SCRIP_SANDBOX", "SCRIP_DATA_DIR")
    note(" ".join(os.environ[name] for name in names))
if deed == "fails":
    sys.exit("there is no such catalog")
if deed == "ends":
    sys.exit(0)
while True:
    time.sleep(60)
"""

# Runs the table that it reads from its argument, as manage.py does.
MAIN = """
import os, sys
sys.path.insert(0, os.getcwd())
from runtime import supervisor
from pathlib import Path
from runtime.processes import Process
from settings import load
def process(ready_file=None, **row):
    return Process(**row, ready=lambda pid: ready_file is None or os.path.exists(ready_file))
rows, options = eval(sys.argv[1])
rows = tuple(process(**row) for row in rows)
raise SystemExit(supervisor.run(load(os.environ), rows, **{"setup": (), **options}))
"""

ELSEWHERE = {"DATABASE_URL": "postgresql://db/scrip", "REDIS_URL": "redis://redis", "SCRIP_SANDBOX": "1"}


class Scrip:
    """A supervisor in a process of its own, and the diary of its dummies."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.diary_path = folder, folder / "diary"
        self.data_dir = folder / "data"
        self.port = free_port()
        self.process: subprocess.Popen[bytes]

    def dummy(self, name: str, deed: str = "waits") -> tuple[str, ...]:
        return (sys.executable, "-c", DUMMY, name, str(self.diary_path), deed)

    def row(self, name: str, deed: str = "waits", **more: object) -> dict[str, object]:
        return {"name": name, "command": self.dummy(name, deed), **more}

    def start(self, *rows: dict[str, object], env: dict[str, str] = ELSEWHERE, **options: object) -> Scrip:
        here = {"PORT": str(self.port), "SCRIP_DATA_DIR": str(self.data_dir)}
        # Its folder for sockets goes with the test's, also when it is killed.
        here |= {"PATH": os.environ["PATH"], "TMPDIR": str(self.folder)}
        with open(self.folder / "terminal", "ab") as terminal:
            self.process = subprocess.Popen(
                [sys.executable, "-c", MAIN, repr((rows, options))],
                cwd=ROOT,
                env={**here, **env},
                stdout=terminal,
                stderr=subprocess.STDOUT,
            )
        return self

    def diary(self) -> list[str]:
        return self.diary_path.read_text().splitlines() if self.diary_path.exists() else []

    def numbers(self, start: str = "") -> list[int]:
        """The process numbers noted in lines such as "web up 123"."""
        words = [line.split() for line in self.diary() if line.startswith(start)]
        return [int(last) for *_, last in words if last.isdigit()]

    def terminal(self) -> str:
        return (self.folder / "terminal").read_text()

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.terminal()
        return "ready after" in self.terminal()

    def ends(self) -> int:
        return self.process.wait(30)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """One in which servers may keep their data."""
    with data_folder() as folder:
        yield folder


@pytest.fixture
def scrip(tmp_path: Path) -> Iterator[Scrip]:
    running = Scrip(tmp_path)
    yield running
    if hasattr(running, "process"):
        running.process.kill()
        running.process.wait()
    for number in running.numbers():
        if not is_gone(number):
            os.kill(number, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_gone(number: int) -> bool:
    try:
        return psutil.Process(number).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_rows_start_in_order_and_stop_in_the_reverse_one(scrip, number):
    scrip.start(scrip.row("first"), scrip.row("second"), scrip.row("third"))
    wait_until(lambda: scrip.is_up() and len(scrip.numbers()) == 3)
    scrip.process.send_signal(number)
    assert scrip.ends() == 0
    assert [line for line in scrip.diary() if line.endswith("down")] == [
        "third down",
        "second down",
        "first down",
    ]


def test_a_child_that_is_killed_is_started_again(scrip):
    scrip.start(scrip.row("one"), scrip.row("other"))
    first = wait_until(lambda: scrip.is_up() and scrip.numbers("one"))[0]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: len(scrip.numbers("one")) == 2)
    assert len(scrip.numbers("other")) == 1
    assert "one was ended by SIGKILL; restarting" in scrip.terminal()


def test_a_child_that_ends_by_itself_is_started_again_and_again(scrip):
    scrip.start(scrip.row("short", "ends"))
    wait_until(lambda: len(scrip.numbers("short")) >= 3)


def test_the_pause_before_a_restart_grows_up_to_the_longest(tmp_path):
    child = Child(Process("x", ("x",)), Output("x", tmp_path, Console(verbose=False), "x"))
    child._started_at = float("inf")
    pauses = [child.plan_restart() for _ in range(8)]
    assert pauses[0] == FIRST_PAUSE_SECONDS
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_SECONDS


def test_a_child_that_was_well_for_long_gets_the_first_pause_again(tmp_path):
    child = Child(Process("x", ("x",)), Output("x", tmp_path, Console(verbose=False), "x"))
    child._started_at = float("-inf")
    assert [child.plan_restart() for _ in range(3)] == [FIRST_PAUSE_SECONDS] * 3


def test_what_a_killed_child_had_started_is_killed_with_it(scrip):
    scrip.start(scrip.row("master", "parent"))
    grandchild = wait_until(lambda: scrip.numbers("master child"))[0]
    os.kill(scrip.numbers("master up")[0], signal.SIGKILL)
    wait_until(lambda: is_gone(grandchild))
    wait_until(lambda: len(scrip.numbers("master up")) == 2)


def test_what_a_child_started_and_left_is_gone_after_the_stop(scrip):
    scrip.start(scrip.row("master", "parent"))
    grandchild = wait_until(lambda: scrip.is_up() and scrip.numbers("master child"))[0]
    scrip.process.terminate()
    assert scrip.ends() == 0
    assert is_gone(grandchild)


def test_children_stop_by_themselves_when_the_supervisor_is_killed(scrip):
    scrip.start(scrip.row("one"), scrip.row("two"))
    wait_until(lambda: scrip.is_up() and len(scrip.numbers()) == 2)
    scrip.process.kill()
    wait_until(lambda: all(is_gone(number) for number in scrip.numbers()))
    assert {"one down", "two down"} <= set(scrip.diary())


def test_a_child_that_does_not_stop_in_its_time_is_killed(scrip):
    scrip.start(scrip.row("rock", "stubborn", stop_seconds=0.1))
    number = wait_until(lambda: scrip.is_up() and scrip.numbers("rock"))[0]
    scrip.process.terminate()
    assert scrip.ends() == 0
    assert is_gone(number)


def test_a_second_signal_leaves_no_time(scrip):
    scrip.start(scrip.row("rock", "stubborn", stop_seconds=3600))
    number = wait_until(lambda: scrip.is_up() and scrip.numbers("rock"))[0]
    scrip.process.send_signal(signal.SIGINT)
    wait_until(lambda: "stopping" in scrip.terminal())
    scrip.process.send_signal(signal.SIGINT)
    assert scrip.ends() == 0
    assert is_gone(number)


def test_it_can_be_stopped_while_a_child_is_not_ready_yet(scrip):
    scrip.start(scrip.row("slow", ready_file="/never"))
    number = wait_until(lambda: scrip.numbers("slow"))[0]
    scrip.process.terminate()
    assert scrip.ends() == 0
    assert is_gone(number)
    assert "ready after" not in scrip.terminal()


def test_it_can_be_stopped_during_the_setup(scrip):
    scrip.start(scrip.row("web"), setup=[scrip.dummy("migrate")])
    number = wait_until(lambda: scrip.numbers("migrate"))[0]
    scrip.process.terminate()
    assert scrip.ends() == 0
    assert is_gone(number)
    assert scrip.numbers("web") == []


def test_it_waits_until_each_row_is_ready(scrip, tmp_path):
    scrip.start(scrip.row("slow", ready_file=str(tmp_path / "ready")), scrip.row("fast"))
    wait_until(lambda: len(scrip.numbers()) == 2)
    assert not scrip.is_up()
    (tmp_path / "ready").touch()
    wait_until(scrip.is_up)


@pytest.mark.parametrize("phase", ["checks", "setup"])
def test_a_command_that_fails_ends_the_start_with_its_last_words(scrip, phase):
    scrip.start(scrip.row("web"), **{phase: [scrip.dummy("before", "fails")]})
    assert scrip.ends() == 1
    assert "there is no such catalog" in scrip.terminal()
    assert scrip.numbers("web") == []


def test_a_port_in_use_is_named_with_a_way_out(scrip):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", scrip.port))
        taken.listen()
        assert scrip.start(scrip.row("web")).ends() == 1
    assert f"port {scrip.port} on 127.0.0.1 cannot be used" in scrip.terminal()
    assert f"PORT={scrip.port + 1} make run" in scrip.terminal()
    assert scrip.numbers() == []


def test_a_second_one_in_the_same_folder_is_told_where_the_first_runs(scrip, tmp_path):
    scrip.start(scrip.row("web"))
    wait_until(scrip.is_up)
    (tmp_path / "second").mkdir()
    second = Scrip(tmp_path / "second")
    second.data_dir = scrip.data_dir
    assert second.start(second.row("web")).ends() == 1
    assert f"(process {scrip.process.pid}, port {scrip.port})" in second.terminal()


def test_it_waits_for_a_command_that_uses_the_folder(scrip):
    command = DataFolder(scrip.data_dir).claim("command", 0)
    scrip.start(scrip.row("web"))
    wait_until(lambda: f"waiting for process {os.getpid()}" in scrip.terminal())
    command.__exit__()
    wait_until(scrip.is_up)


def test_a_folder_that_cannot_be_written_is_named(scrip, tmp_path):
    (tmp_path / "file").touch()
    scrip.data_dir = tmp_path / "file" / "data"
    assert scrip.start(scrip.row("web")).ends() == 1
    assert "SCRIP_DATA_DIR" in scrip.terminal()
    assert "Traceback" not in scrip.terminal()


def test_children_are_handed_the_resolved_settings(scrip):
    scrip.start(scrip.row("web", "environment"))
    wait_until(lambda: f"web postgresql://db/scrip redis://redis 1 {scrip.data_dir}" in scrip.diary())


def test_embedded_servers_come_back_at_the_same_url(scrip):
    scrip.start(scrip.row("web", "environment"), env={})
    wait_until(scrip.is_up)
    url = wait_until(lambda: [line.split()[1] for line in scrip.diary() if "postgresql://" in line])[0]
    for server in [child for child in psutil.Process(scrip.process.pid).children() if "python" not in child.name()]:
        server.kill()
    wait_until(lambda: scrip.terminal().count("was ended by SIGKILL") == 2)
    wait_until(lambda: can_connect(url))
    scrip.process.terminate()
    assert scrip.ends() == 0
    wait_until(lambda: not can_connect(url))


def can_connect(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def test_the_terminal_shows_what_is_alarming_and_the_log_everything(scrip):
    scrip.start(scrip.row("web", "chatty"))
    wait_until(lambda: "web       | WARNING a loud line" in scrip.terminal())
    assert "quiet" not in scrip.terminal()
    log = scrip.data_dir / "log" / "web.log"
    wait_until(lambda: log.read_text() == "a quiet line\nWARNING a loud line\n")


def test_verbose_shows_everything(scrip):
    scrip.start(scrip.row("web", "chatty"), verbose=True)
    wait_until(lambda: "web       | a quiet line" in scrip.terminal())


def test_ready_is_told_once_with_the_resolved_settings(monkeypatch, tmp_path):
    settings = load({**ELSEWHERE, "PORT": str(free_port()), "SCRIP_DATA_DIR": str(tmp_path)})
    for name in embedded.environment(settings, embedded.Servers("", "")):
        # Noted by monkeypatch, which puts back what the supervisor exports.
        monkeypatch.setenv(name, "")
    told = []

    def on_ready(resolved):
        told.append(resolved)
        os.kill(os.getpid(), signal.SIGTERM)

    assert supervisor.run(settings, (), setup=(), on_ready=on_ready) == 0
    assert told == [settings]


def output_into(folder: Path, stream: io.StringIO, alarming: str = "WARNING") -> Output:
    return Output("web", folder, Console(verbose=False, stream=stream), alarming)


def test_a_traceback_is_shown_whole(tmp_path):
    shown = io.StringIO()
    output_into(tmp_path, shown).feed(b"fine\nTraceback (most recent call last):\n  File x\nKeyError: 1\nfine again\n")
    assert [line.split("| ")[1] for line in shown.getvalue().splitlines()] == [
        "Traceback (most recent call last):",
        "  File x",
        "KeyError: 1",
    ]


def test_lines_are_put_together_from_pieces_in_any_encoding(tmp_path):
    shown = io.StringIO()
    output = output_into(tmp_path, shown)
    for piece in (b"WARN", b"ING \xc3", b"\xa4 \xff", b"\nno end"):
        output.feed(piece)
    output.close()
    assert shown.getvalue() == "web       | WARNING ä \ufffd\n"
    assert output.path.read_bytes() == b"WARNING \xc3\xa4 \xff\nno end\n"


def test_a_full_log_file_moves_aside(tmp_path):
    output = output_into(tmp_path, io.StringIO())
    output.feed(b"x" * 1000 + b"\n")
    output.feed((b"y" * 9999 + b"\n") * (ROTATE_BYTES // 10_000))
    output.feed(b"new\n")
    assert output.path.read_bytes() == b"new\n"
    assert (tmp_path / "web.log.1").stat().st_size > ROTATE_BYTES


def test_the_last_lines_are_kept_for_the_moment_of_failure(tmp_path):
    output = output_into(tmp_path, io.StringIO())
    output.feed(b"".join(b"%d\n" % number for number in range(100)))
    assert list(output.last_lines) == [str(number) for number in range(100 - LAST_LINES, 100)]


@pytest.fixture
def answering() -> Iterator[Callable[[int], int]]:
    """Starts a web server that answers everything with the given status; returns its port."""
    servers = []

    def serve(status: int) -> int:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status if self.path == "/readyz" else 500)
                self.end_headers()

            def log_message(self, *args):
                pass

        servers.append(http.server.HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.01}).start()
        return servers[-1].server_port

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_only_a_200_from_readyz_means_ready(answering):
    assert supervisor.is_ready("127.0.0.1", answering(200))
    assert supervisor.is_ready("0.0.0.0", answering(200))
    assert not supervisor.is_ready("127.0.0.1", answering(503))
    assert not supervisor.is_ready("127.0.0.1", free_port())


def test_the_table_has_the_sizes_of_the_settings():
    sizes = {"PORT": "8123", "SCRIP_WEB_WORKERS": "3", "SCRIP_WORKER_THREADS": "5"}
    commands = {row.name: " ".join(row.command) for row in supervisor.table(load({**ELSEWHERE, **sizes}))}
    assert "--host 127.0.0.1 --port 8123" in commands["web"]
    assert "--workers 3" in commands["web"]
    assert "--threads 5" in commands["worker"]


def test_each_process_of_the_table_is_documented():
    page = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    for row in supervisor.table(load({})):
        assert f"| `{row.name}` |" in page


def test_a_forked_process_can_be_bound_to_its_parent(tmp_path):
    program = (
        "import os, signal, sys, time\nfrom runtime import processes\n"
        "if os.fork() == 0:\n"
        "    processes.die_with_parent(signal.SIGKILL)\n"
        "    print(os.getpid(), flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout
        forked = int(parent.stdout.readline())
        parent.kill()
        wait_until(lambda: is_gone(forked))


def test_a_crash_point_kills_only_where_it_is_armed():
    names = {"a": "event-before-store", "b": "event-after-store", "c": "refund-asked"}
    program = (
        f"from runtime.crashpoints import crashpoint\nnames = {names}\n"
        "for name in 'abab': crashpoint(names[name]); print(name, flush=True)"
    )

    def run(armed: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env={"SCRIP_CRASH_AT": armed},
        )
        return done.returncode, done.stdout.replace("\n", "")

    assert run("") == (0, "abab")
    assert run(names["c"]) == (0, "abab")
    assert run(names["b"]) == (-signal.SIGKILL, "a")
    assert run(f"{names['b']}:2") == (-signal.SIGKILL, "aba")
