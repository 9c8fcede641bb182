import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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


@pytest.fixture(scope="session")
def known_engines(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have `engine: auto` try what is installed, for tests that time what comes after: once a machine, a minute."""
    command = [sys.executable, str(ROOT / "agent.py"), "--profile", "doom.yaml", "--duration", "0.1"]
    folder = tmp_path_factory.mktemp("engines")
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=600)


@pytest.fixture
def agent(tmp_path: Path):
    """Run agent.py in an empty folder: a call returns the finished process."""

    inherited = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}

    def call(*arguments: object, env: dict[str, str] | None = None, timeout: float = 240):
        return subprocess.run(
            [sys.executable, str(ROOT / "agent.py"), *map(str, arguments)],
            cwd=tmp_path,
            env={**inherited, "COLUMNS": "200", **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return call
