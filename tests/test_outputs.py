"""What a run writes is whole or not there, its status says which, and one output does not change another."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import FIXED, ROOT

resource = pytest.importorskip("resource")  # Windows has no limits of a process's own

CLIP = ROOT / "examples" / "doom.mp4"
RUN = ("--profile", "doom.yaml", "--footage", str(CLIP), "--duration", "2", *FIXED)

pytestmark = pytest.mark.slow


def agent_with(folder: Path, largest: int | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the agent, no file larger than `largest` bytes: as a full disk, a write beyond that fails."""

    def limit() -> None:
        if largest is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    return subprocess.run(
        [sys.executable, str(ROOT / "agent.py"), *arguments],
        cwd=folder, preexec_fn=limit, capture_output=True, text=True, timeout=240, env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        (("--record", "taken"), "taken"),
        (("--overlay", "o.mp4"), "o.mp4"),
        (("--trace", "t.pftrace"), "t.pftrace"),
        (("--set", "observers=[{plugin: decisions, path: d.jsonl}]"), "d.jsonl"),
        (("--set", "actuation={plugin: dry-run, path: a.jsonl}", "--set", "aim.fire=hold"), "a.jsonl"),
        (("--report", "r.json"), "r.json"),
    ],
)
def test_a_full_disk_is_never_success(tmp_path: Path, arguments: tuple[str, ...], written: str) -> None:
    done = agent_with(tmp_path, 512, *RUN, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert written in done.stderr
    assert not (tmp_path / written).exists()
    assert [path.name for path in tmp_path.rglob(".*")] == [], "nothing is left of it"
    assert written not in done.stdout


@pytest.mark.parametrize("arguments", [("--record", "no/r"), ("--overlay", "no/o.mp4"), ("--trace", "no/t.pftrace")])
def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "no").write_text("a file")
    done = agent_with(tmp_path, None, *RUN, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "no/" in done.stderr
    assert (tmp_path / "no").read_text() == "a file"


def pictures(video: Path) -> list[np.ndarray]:
    reader, found = cv2.VideoCapture(str(video)), []
    while True:
        good, picture = reader.read()
        if not good:
            return found
        found.append(picture)


def test_all_outputs_together_record_what_was_seen(tmp_path: Path) -> None:
    seen = pictures(CLIP)[:25]
    (tmp_path / "seen").mkdir()
    for i, picture in enumerate(seen):
        cv2.imwrite(str(tmp_path / "seen" / f"{i}.png"), picture)
    run = ("--profile", "doom.yaml", "--footage", "seen", *FIXED)
    outputs = {
        "alone": ("--record", "alone"),
        "all": (
            "--trace", "t.pftrace", "--overlay", "o.mp4", "--record", "all",
            "--set", "observers=[{plugin: decisions, path: d.jsonl}]",
        ),
    }  # fmt: skip
    reports = {}
    for name, arguments in outputs.items():
        done = agent_with(tmp_path, None, *run, "--report", f"{name}.json", *arguments)
        assert done.returncode == 0, done.stderr
        reports[name] = json.loads((tmp_path / f"{name}.json").read_text())
    for name in outputs:
        recorded = pictures(tmp_path / name / "frames.mkv")
        assert len(recorded) == len(seen) == 25
        assert all(np.array_equal(a, b) for a, b in zip(recorded, seen, strict=True)), name
        assert reports[name]["decisions"] == reports["alone"]["decisions"]
        again = agent_with(
            tmp_path, None, "--profile", "doom.yaml", "--footage", name, *FIXED, "--record", f"{name}-again"
        )
        assert again.returncode == 0, again.stderr
        assert agent_with(tmp_path, None, "replay", "--diff", name, f"{name}-again").returncode == 0
    drawn = pictures(tmp_path / "o.mp4")
    assert len(drawn) == len(seen)
    assert any(not np.array_equal(a, b) for a, b in zip(drawn, seen, strict=True))
