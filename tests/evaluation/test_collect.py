import json
from pathlib import Path

import cv2
import numpy as np

from tests.conftest import ROOT


def test_a_data_set_of_doom(agent, tmp_path: Path) -> None:
    for name in ("a", "b"):
        done = agent("collect", "--profile", "doom.yaml", "--frames", "50", "--seed", "3", "--out", name)
        assert done.returncode == 0, done.stderr
    one = json.loads((tmp_path / "a" / "instances.json").read_text())
    assert one == json.loads((tmp_path / "b" / "instances.json").read_text()), "the same seed, another data set"
    assert len(one["images"]) == 50
    plain = [a for a in one["annotations"] if not a["iscrowd"]]
    assert len(plain) > 10
    for annotation in plain:
        x, y, w, h = annotation["bbox"]
        assert 0 <= x < x + w <= 640
        assert 0 <= y < y + h <= 480
        assert h >= 8
    pictures = [cv2.imread(str(tmp_path / "a" / "images" / image["file_name"])) for image in one["images"]]
    assert len({picture.tobytes() for picture in pictures}) == 50
    assert np.std([picture.mean() for picture in pictures]) > 1


def test_what_is_held_out_shares_no_scene(agent, tmp_path: Path) -> None:
    from plugins.capture.doom_scenes import HELD_OUT_MAPS, HELD_OUT_SCENARIOS

    done = agent("collect", "--profile", "doom.yaml", "--frames", "80", "--held-out", "--out", "v")
    assert done.returncode == 0, done.stderr
    scenes = set(json.loads((tmp_path / "v" / "card.json").read_text())["scenes"])
    assert scenes <= {*HELD_OUT_MAPS, *HELD_OUT_SCENARIOS}


def test_bad_input(agent, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for arguments, says in (
        (("--profile", "doom.yaml", "--out", "there"), "this exists already"),
        (("--profile", str(ROOT / "profiles" / "desktop.yaml"), "--out", "x"), "does not know what its frames show"),
    ):
        done = agent("collect", *arguments)
        assert done.returncode == 2
        assert says in " ".join(done.stderr.split())
