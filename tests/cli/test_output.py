import json
from pathlib import Path

import pytest

from agent.report import as_json
from cli import console
from core.version import __version__
from tests.conftest import ROOT

BALLOONS = str(ROOT / "examples" / "balloons.yaml")


def test_set_overrides_any_setting_and_is_checked_as_the_file_is(cli, tmp_path: Path) -> None:
    done = cli(
        "--profile", BALLOONS, "--episodes", 1, "--set", "capture.steps=20", "--set", "guards=[]", "--report", "r.json"
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["frames"] == 20
    assert report["setup"]["capture"]["steps"] == 20
    assert report["vetoes"] == {}
    for given, says in (
        ("capture.stepz=20", 'capture.stepz: unknown setting; did you mean "steps"?'),
        ("capture.steps=many", "capture.steps"),
        ("steps", "--set"),
    ):
        done = cli("--profile", BALLOONS, "--set", given)
        assert done.returncode == 2
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_every_path_that_is_written_is_printed_and_every_json_has_its_provenance(cli, tmp_path: Path) -> None:
    done = cli("--profile", BALLOONS, "--episodes", 1, "--set", "capture.steps=5", "--report", "out/r.json")
    assert str(Path("out/r.json")) in done.stdout
    listed = cli("plugins", "--json", "p.json")
    assert "p.json" in listed.stdout
    for name in ("out/r.json", "p.json"):
        block = json.loads((tmp_path / name).read_text())["provenance"]
        assert block["version"] == __version__
        assert block["command"]
        assert block["machine"]["python"]
    assert f"reticle {__version__}" in done.stdout


def test_a_report_can_be_made_of_a_run_that_did_nothing() -> None:
    import reticle

    result = reticle.play(BALLOONS, episodes=1, overrides=["capture.steps=1"])
    report = as_json(result)
    assert json.loads(json.dumps(report))["measures"] == report["measures"]
    assert report["frames"] == 1
    assert [m["name"] for m in report["measures"]] == ["popped", "presses"]
    assert report["episodes"][0].keys() == {"scenario", "seed", "popped", "presses", "decisions"}


def test_without_a_terminal_progress_is_a_plain_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    console.err.__dict__.pop("console", None)
    with console.progress() as update:
        for i in range(100):
            now[0] += 0.5
            update("trying", i, 100)
    lines = capsys.readouterr().err.splitlines()
    assert 4 <= len(lines) <= 5
    assert lines[0].startswith("trying: ")
    assert "\r" not in "".join(lines)
