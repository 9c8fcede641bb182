"""Nothing leaves the machine: every engine's start and the README's commands, watched at the system's calls."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.offline import BLOCKED, SWITCHES
from tests.conftest import FIXED, ROOT, missing

MODEL = ("--model", "doom-yolov4-tiny")
PICTURE = ROOT / "examples" / "doom.jpg"

pytestmark = pytest.mark.slow

LOCAL = re.compile(
    r"sa_family=AF_UNIX|sa_family=AF_NETLINK|\"127\.|\"::1\"|\"::ffff:127\.|sin_addr=htonl\(INADDR_LOOPBACK\)"
)


def contacts(command: list[str], folder: Path) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a command; return it, and the calls in it and its children that name an address beyond this machine."""
    if shutil.which("strace") is None:
        missing("strace is not installed (Debian's package strace)")
    if subprocess.run(["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "true"], capture_output=True).returncode:
        pytest.skip("this system lets no process be traced")
    log = folder / "calls"
    # connect is what finds a host, a name server too; sendto and sendmsg may name one without.
    strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(log)]
    home = folder / "home"
    home.mkdir()
    environment = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PATH": "/usr/bin:/bin", "COLUMNS": "200"}
    done = subprocess.run([*strace, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    named = [line for line in log.read_text().splitlines() if "sa_family=" in line]
    return done, [line for line in named if not LOCAL.search(line)]


def agent(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "agent.py"), *arguments]


@pytest.mark.parametrize("engine", ["openvino", "onnx:cpu", "tensorflow"])
def test_no_engine_calls_home(tmp_path: Path, engine: str) -> None:
    command = agent("detect", str(PICTURE), *MODEL, "--engine", engine, "--precision", "fp32", "--json", "d.json")
    done, outside = contacts(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "d.json").read_text())["images"][0]["detections"]
    assert outside == []
    left = [str(path.relative_to(tmp_path)) for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert [path for path in left if re.search(r"intel|telemetry|onnxruntime|deviceid", path, re.I)] == []


READMES = [
    shlex.split(line.split("agent.py", 1)[1].split("#")[0])
    for line in (ROOT / "README.md").read_text().splitlines()
    if line.startswith("$ uv run") and "agent.py" in line
]


@pytest.mark.parametrize("arguments", READMES, ids=[" ".join(words[:3]) for words in READMES])
def test_no_command_of_the_readme_calls_out(tmp_path: Path, arguments: list[str]) -> None:
    if arguments[0] == "fetch" or "yolov4-tiny" in arguments:
        pytest.skip("what fetch fetches is fetched")
    if arguments[0] == "doctor":
        pytest.skip("it starts each engine, which the tests above watch one by one")
    if arguments[0] in ("demo-window", "--profile", "arena"):
        arguments = [*arguments, *FIXED]
        if "desktop.yaml" in arguments:
            pytest.skip("the desktop's capture is the window demo's")
    arguments = [word.replace("examples/", f"{ROOT}/examples/") for word in arguments]
    if "--episodes" in arguments:
        arguments[arguments.index("--episodes") + 1] = "1"
    if arguments[0] == "--profile" or arguments[0] == "demo-window":
        arguments += ["--set", "duration_s=5"]
    if arguments[0] == "demo-window":
        arguments += ["--xvfb"]
    if arguments[0] == "arena":
        arguments += ["--scenario", "basic"]
    done, outside = contacts(agent(*arguments), tmp_path)
    assert done.returncode == 0, done.stderr
    assert outside == []


def test_a_local_cluster_stays_local(tmp_path: Path) -> None:
    command = agent("arena", "--profile", "doom.yaml", "--episodes", "1", "--scenario", "basic", "--cluster", "local")
    command += FIXED
    done, outside = contacts(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert outside == []


def test_the_switches_reach_every_process_that_imports_a_room() -> None:
    code = (
        "import core.errors, multiprocessing, os, sys; "
        f"assert sys.modules[{BLOCKED!r}] is None; "
        f"assert all(os.environ[k] == v for k, v in {SWITCHES!r}.items()); "
        "import openvino; "
        "assert 'openvino_telemetry.main' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60, env={"PATH": "/usr/bin:/bin"})
