from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cli.profile_edit import set_values
from core.errors import UserError
from tests.conftest import ROOT


def edited(folder: Path, text: str, **values: object) -> str:
    path = folder / "p.yaml"
    path.write_text(text)
    set_values(path, "calibration", values)
    return path.read_text()


def test_a_value_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    before = (
        "mode: live\ncalibration:\n  delay_ms: 3  # mine\n  # why\n  fov_deg: 90 # at 4:3\nactuation: {plugin: mouse}\n"
    )
    assert edited(tmp_path, before, fov_deg=106.5) == before.replace("90 #", "106.5 #")


def test_what_is_missing_is_added(tmp_path: Path) -> None:
    before = "mode: live\ncalibration:\n  delay_ms: 3  # mine\nseed: 1\n"
    assert yaml.safe_load(edited(tmp_path, before, fov_deg=90.0)) == {
        "mode": "live",
        "calibration": {"delay_ms": 3, "fov_deg": 90.0},
        "seed": 1,
    }
    assert "# mine" in (tmp_path / "p.yaml").read_text()
    assert yaml.safe_load(edited(tmp_path, "mode: live", degrees_per_count=0.022))["calibration"] == {
        "degrees_per_count": 0.022
    }


@pytest.mark.parametrize("text", ["calibration: {delay_ms: 3}\n", "[1]\n", "calibration: 3\n", "calibration: [\n"])
def test_what_cannot_be_edited_stays_as_it_is(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match="write fov_deg: 90 under calibration: yourself"):
        edited(tmp_path, text, fov_deg=90)
    assert (tmp_path / "p.yaml").read_text() == text


@given(value=st.floats(1e-4, 100), name=st.sampled_from(["csgo", "doom", "doom-window", "desktop", "footage"]))
def test_every_shipped_profile_can_be_edited(tmp_path_factory: pytest.TempPathFactory, value: float, name: str) -> None:
    folder = tmp_path_factory.mktemp("profile")
    text = (ROOT / "profiles" / f"{name}.yaml").read_text()
    after = edited(folder, text, degrees_per_count=value)
    expected = yaml.safe_load(text)
    expected.setdefault("calibration", {})["degrees_per_count"] = value
    assert yaml.safe_load(after) == expected
    assert after.count("#") == text.count("#")
