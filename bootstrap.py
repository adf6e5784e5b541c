"""Creates .venv from the requirements files; does nothing if they have not changed.

`make` runs it with any Python on the machine. It therefore uses only the standard library, and also runs on a Python
that is too old for Scrip, to print what is missing.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys

OLDEST, NEWEST = (3, 10), (3, 15)
HERE = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(HERE, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "requirements.sha256")
REQUIREMENTS = ("requirements.txt", "requirements-dev.txt")


def main():
    os.chdir(HERE)
    # If two commands run in a fresh clone, the second waits and then finds .venv complete.
    with open(REQUIREMENTS[0], "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = fingerprint()
        if works() and read(STAMP) == wanted:
            return
        use_a_recent_python()
        if not works():
            make_venv()
        install()
        with open(STAMP, "w") as stamp:
            stamp.write(wanted)


def fingerprint():
    digest = hashlib.sha256()
    for name in REQUIREMENTS:
        with open(name, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def works():
    """Whether .venv has pip and a Python that still exists on the machine."""
    pip = os.path.join(VENV, "bin", "pip")
    return os.path.exists(pip) and os.path.exists(PYTHON)


def use_a_recent_python():
    if sys.version_info[:2] >= OLDEST:
        return
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        other = shutil.which("python3.%d" % minor)
        if other:
            os.execv(other, [other, *sys.argv])
    fail("Scrip requires Python %d.%d or newer, but %s is %s" % (*OLDEST, sys.executable, sys.version.split()[0]))


def make_venv():
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        fail("this Python has no venv module. On Debian or Ubuntu: apt-get install python3-venv")
    say("creating .venv with Python %s" % sys.version.split()[0])
    subprocess.check_call([sys.executable, "-m", "venv", "--clear", VENV])


def install():
    say("installing the requirements (about a minute, once)")
    command = [
        PYTHON,
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar",
        "off",
    ]
    process = subprocess.Popen(
        [*command, "-r", REQUIREMENTS[-1]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        show_progress(line)
    clear_progress()
    if process.wait() != 0:
        fail("pip could not install the requirements:\n" + "\n".join(lines[-10:]))


def show_progress(line):
    if sys.stdout.isatty() and line.startswith(("Collecting", "Downloading", "Installing")):
        sys.stdout.write("\r\033[K  %s" % line.split(" (from")[0].strip()[:70])
        sys.stdout.flush()


def clear_progress():
    if sys.stdout.isatty():
        sys.stdout.write("\r\033[K")


def say(text):
    print("scrip     | " + text, flush=True)


def fail(text):
    sys.exit("scrip: " + text)


if __name__ == "__main__":
    main()
