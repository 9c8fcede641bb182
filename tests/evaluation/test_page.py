"""The report page in a real browser, and Rerun's recording read back by its own package."""

import os
import shutil
import subprocess
from pathlib import Path

import cv2
import pytest

ORACLE = ("--set", "detector={plugin: oracle}")


def test_the_page_of_a_run_and_its_recording_in_a_real_browser(agent, tmp_path: Path) -> None:
    done = agent(
        "--profile", "doom.yaml", "--episodes", "1", *ORACLE, "--set", "capture.limit_s=3", "--report", "r.json",
        "--record", "rec", "--rerun", "r.rrd",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = agent("report", "r.json", "rec", "--title", "A <b>run</b>", "--out", "p.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "p.html").read_text()
    assert "A &lt;b&gt;run&lt;/b&gt;" in page
    assert 'src="http' not in page
    _read_back(tmp_path / "r.rrd")
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        if os.environ.get("RETICLE_REQUIRE_BROWSER") == "1":
            pytest.fail("there is no Chromium, and RETICLE_REQUIRE_BROWSER is 1")
        pytest.skip("there is no Chromium to open the page in")
    command = [
        browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}",
        "--virtual-time-budget=4000", f"--screenshot={tmp_path / 'p.png'}", "--window-size=1100,3000",
        (tmp_path / "p.html").as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    shown = cv2.imread(str(tmp_path / "p.png"))
    assert shown.shape[:2] == (3000, 1100)
    assert shown[:1200].std() > 10, "the page shows something"
    assert (shown == shown[0, 0]).all(axis=2).mean() < 0.97


def _read_back(path: Path) -> None:
    from rerun.chunk import RrdReader

    schema = str(RrdReader(str(path)).store().schema())
    for entity in ("/camera/detections", "/camera/target", "/aim/error_px", "/stages_ms/end_to_end", "/action/dx"):
        assert f"Entity path: {entity}\n" in schema, entity
    assert "Index(timeline:run)" in schema


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (("nothing.json",), "nothing.json"),
        (("b.json",), "damaged, or of another version"),
        (("l.json",), "this is no report"),
        (("folder",), "this folder is no recording"),
    ],
)
def test_what_is_no_report_is_one_sentence(agent, tmp_path: Path, files: tuple[str, ...], says: str) -> None:
    (tmp_path / "b.json").write_text('{"stages_ms": 5}')
    (tmp_path / "l.json").write_text("[]")
    (tmp_path / "folder").mkdir()
    done = agent("report", *files, "--out", "p.html")
    assert done.returncode == 2, done.stdout
    assert says in " ".join(done.stderr.split())
    assert not (tmp_path / "p.html").exists()
