import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from evaluation.datasets import read
from evaluation.training_data import cases
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


def test_the_validation_set_shares_no_scene(agent, tmp_path: Path) -> None:
    from plugins.doom.scenes import VALIDATION_MAPS, VALIDATION_SCENARIOS

    done = agent("collect", "--profile", "doom.yaml", "--frames", "80", "--validation", "--out", "v")
    assert done.returncode == 0, done.stderr
    scenes = set(json.loads((tmp_path / "v" / "manifest.json").read_text())["scenes"])
    assert {scene.split()[0] for scene in scenes} <= {*VALIDATION_MAPS, *VALIDATION_SCENARIOS}


@pytest.mark.slow
def test_bots_are_players_and_the_same_each_time() -> None:
    from plugins.doom.scenes import BOTS, _play, _Scene

    scene = _Scene("freedoom2", "map02", 5, True, True, "sweep", 1, BOTS, varied=False, gore=False)
    twice = [list(_play(scene, np.random.default_rng(1), 15)) for _ in range(2)]
    assert [a.pixels.tobytes() for a in twice[0]] == [b.pixels.tobytes() for b in twice[1]]
    kinds = np.concatenate([sample.classes for sample in twice[0]])
    assert len(kinds) > 5
    assert (kinds == 1).all(), "no monster is in such a game"


def test_frames_labelled_by_a_model_are_a_data_set(agent, tmp_path: Path) -> None:
    """Doom's frames, as if they were of another game: what the shipped detector finds is written in both forms."""
    assert agent("collect", "--profile", "doom.yaml", "--frames", 40, "--seed", 7, "--out", "game").returncode == 0
    options = (
        "--profile",
        "footage.yaml",
        "--footage",
        "game/images",
        "--autolabel",
        "doom-yolov4-tiny",
        "--every-s",
        0,
    )
    crop = ("--set", "detector.center_crop={size: [320, 256]}")  # which is for who aims, and changes no label
    for form, given in (("voc", ()), ("yolo", crop)):
        done = agent("collect", *options, *given, "--form", form, "--frames", 30, "--out", form)
        assert done.returncode == 0, done.stderr
    names = tuple((tmp_path / "voc" / "names.txt").read_text().split())
    assert names == ("monster", "player")
    voc, yolo = (read(tmp_path / form / "labels", tmp_path / form / "images", names) for form in ("voc", "yolo"))
    assert len(voc) == len(yolo) == 30
    assert sum(len(record.boxes) for record in voc) > 15
    for one, other in zip(voc, yolo, strict=True):
        assert one.path.read_bytes() == other.path.read_bytes()
        assert np.allclose(one.boxes, other.boxes, atol=0.1)
        assert (one.classes == other.classes).all()
    train, scored, listed = cases(tmp_path / "yolo", None, None, None)
    assert listed == names
    assert len(train) + len(scored) == 30
    assert (tmp_path / "runs" / "actions.jsonl").read_text() == "", "it watches, and acts on nothing"


def test_bad_input(cli, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for arguments, says in (
        (("--profile", "doom.yaml", "--out", "there"), "this exists already"),
        (("--profile", str(ROOT / "profiles" / "desktop.yaml"), "--out", "x"), "does not know what its frames show"),
        (("--profile", "doom.yaml", "--out", "x", "--unsure", "--second", "m"), "--unsure and --second belong to"),
        (("--profile", "desktop.yaml", "--out", "there", "--autolabel", "doom-yolov4-tiny"), "this exists already"),
        (("--profile", "desktop.yaml", "--out", "x", "--autolabel", "nothing"), "there is no bundle models/nothing"),
        (
            ("--profile", "desktop.yaml", "--out", "x", "--autolabel", "m", "--form", "png"),
            "choose one of: voc, yolo, coco, label-studio, cvat",
        ),
    ):
        done = cli("collect", *arguments)
        assert done.returncode == 2
        assert not (tmp_path / "x").exists()
        assert says in " ".join(done.stderr.split())
