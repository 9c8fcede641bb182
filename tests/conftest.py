import contextlib
import io
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# One backend a process; tests of both engines need the one that the engine tensorflow takes.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

ROOT = Path(__file__).resolve().parent.parent


def missing(reason: str) -> None:
    """Skip, or fail where the whole of the suite is required."""
    if os.environ.get("RETICLE_REQUIRE_TEST_DATA") == "1":
        pytest.fail(f"{reason}, and RETICLE_REQUIRE_TEST_DATA is 1")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real weights, images and footage."""
    folder = Path(os.environ.get("RETICLE_TEST_DATA") or ROOT.parent / "shared" / "data").resolve()
    if not folder.is_dir():
        missing(f"there is no test data at {folder}")
    return folder


@pytest.fixture(scope="session")
def _xvfb() -> Iterator[str]:
    if shutil.which("Xvfb") is None:
        missing("Xvfb is not installed (Debian's package xvfb)")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x720x24", "-nolisten", "tcp", "-noreset"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with os.fdopen(reading) as pipe:
        number = pipe.readline().strip()
    assert number, "Xvfb did not start"
    try:
        yield f":{number}"
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(scope="session")
def display(_xvfb: str) -> Iterator[str]:
    """An X display, in DISPLAY for the rest of the session, since pynput keeps the one it is imported with."""
    os.environ["DISPLAY"] = _xvfb
    yield _xvfb
    os.environ.pop("DISPLAY", None)


RUN_MARK = "RETICLE_TEST_RUN"
"""In the environment of what a test starts, with its folder: by this it knows its own processes among all others."""

FIXED = ("--set", "detector.engine=openvino", "--set", "detector.precision=int8")
"""For tests of what comes after `engine: auto`, which takes a while to try what is installed."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts the agent in a process of its own; its start alone takes a second or two.

    What must be alone comes last: wherever it stood, the others would wait for it and it for the others. It plays in real
    time, so a machine that stalls meanwhile may make it fail, or rightly refuse: it has a second and a third chance.
    """
    for item in items:
        if "agent" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("alone"):
            item.add_marker(pytest.mark.flaky(reruns=2))
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)


@pytest.fixture(autouse=True)
def _company(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let a test marked `alone` run while no other does: what plays in real time must have the processors.

    Whoever waits to be alone holds the door, so that nobody else begins meanwhile.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ or fcntl is None:
        yield
        return
    shared = tmp_path_factory.getbasetemp().parent
    with (shared / "door").open("w") as door, (shared / "room").open("w") as room:
        alone = request.node.get_closest_marker("alone") is not None
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield


@dataclass
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def agent(tmp_path: Path):
    """Run agent.py in an empty folder, in a process of its own: a call returns the finished process."""

    def call(*arguments: object, env: dict[str, str] | None = None, timeout: float = 240):
        return subprocess.run(
            [sys.executable, str(ROOT / "agent.py"), *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "200", RUN_MARK: str(tmp_path), **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return call


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a command in an empty folder, in this process: for what brings up no game and no window."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> Done:
        from cli.console import err, out
        from cli.main import main

        for console in (out, err):
            console.__dict__.pop("console", None)  # made anew, so that it takes the width of this environment
        stdout, stderr = io.StringIO(), io.StringIO()
        status = 0
        try:
            with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
                main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1 if end.code else 0
        finally:
            log = logging.getLogger("reticle")
            log.handlers.clear()
            log.propagate = True
            log.setLevel(logging.NOTSET)
        return Done(status, stdout.getvalue(), stderr.getvalue())

    return call
