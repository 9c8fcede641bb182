from pathlib import Path

import pytest
import yaml

from agent.profile import PROFILE_FOLDER, load_profile
from cli.migration import migrated
from core.errors import UserError

OLD = """\
mode: lock-step  # waits
capture:
  plugin: doom
detector:
  plugin: oracle
selection:
  plugin: nearest
# how it turns
aim:
  method: predictive  # late pictures
  gain: 0.9
  fov_deg: 90  # measured
  degrees_per_count: 0.131836
  fire: tap
actuation:
  plugin: doom  # the game's own
"""


def test_an_old_profile_becomes_one_of_today_with_its_comments(cli, tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(OLD)
    refused = cli("check", "old.yaml")
    assert refused.returncode == 2
    assert "aim names a controller now: write `plugin: predictive` in it" in refused.stderr
    done = cli("migrate", "old.yaml", "--out", "new.yaml")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "old.yaml").read_text() == OLD
    text = (tmp_path / "new.yaml").read_text()
    for comment in ("# waits", "# how it turns", "# late pictures", "# measured", "# the game's own"):
        assert comment in text
    data = yaml.safe_load(text)
    assert data["aim"] == {"plugin": "predictive", "gain": 0.9, "fire": "tap"}
    assert data["calibration"] == {"fov_deg": 90, "degrees_per_count": 0.131836}
    assert data["actuation"] == {"plugin": "environment"}
    assert cli("check", "new.yaml").returncode == 0
    assert "up to date" in cli("migrate", "new.yaml").stdout
    assert (tmp_path / "new.yaml").read_text() == text


def test_a_search_by_degrees_a_frame_becomes_one_by_the_second(tmp_path: Path) -> None:
    text, changes = migrated(OLD.replace("  fire: tap", "  search_deg: -4  # to the left\n  fire: tap"), Path("p.yaml"))
    assert yaml.safe_load(text)["aim"]["search_deg_per_s"] == -140
    assert "search_deg_per_s: -140  # to the left\n" in text
    assert any("formerly search_deg -4 (degrees a frame)" in change for change in changes)
    (tmp_path / "p.yaml").write_text(text)
    load_profile(tmp_path / "p.yaml")
    today = "aim: {plugin: pid, search_deg: 2.5, gain: 0.3}\n"
    assert migrated(today, Path("p.yaml"))[0] == "aim: {plugin: pid, search_deg_per_s: 87.5, gain: 0.3}\n"


@pytest.mark.parametrize("value", ["fast", "[1]", "\n    6"])
def test_a_search_that_is_no_number_is_one_sentence(value: str) -> None:
    with pytest.raises(UserError, match=r"p\.yaml:2: aim\.search_deg has no number beside it"):
        migrated(f"aim:\n  search_deg: {value}\n  plugin: pid\n", Path("p.yaml"))


@pytest.mark.parametrize("path", sorted(PROFILE_FOLDER.glob("*.yaml")), ids=lambda p: p.name)
def test_the_shipped_profiles_are_up_to_date(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert migrated(text, path) == (text, [])


def test_what_only_another_controller_has_is_left_out_and_said(tmp_path: Path) -> None:
    text, changes = migrated(OLD.replace("method: predictive", "method: pid\n  smoothing: 0.5"), Path("p.yaml"))
    assert "smoothing" not in yaml.safe_load(text)["aim"]
    assert any("smoothing" in change for change in changes)
    (tmp_path / "p.yaml").write_text(text)
    load_profile(tmp_path / "p.yaml")


@pytest.mark.parametrize("text", ["[1]\n", "aim: [\n", "3\n"])
def test_what_is_no_profile_is_one_sentence(cli, tmp_path: Path, text: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    done = cli("migrate", "p.yaml")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert (tmp_path / "p.yaml").read_text() == text
