from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import reticle
from tests.conftest import ROOT

PICTURE = ROOT / "examples" / "doom.jpg"
BALLOONS = ROOT / "examples" / "balloons.yaml"


def test_a_detector_finds_the_same_in_a_file_and_in_its_pixels() -> None:
    detector = reticle.Detector("doom-yolov4-tiny", precision="fp32")
    found = detector(PICTURE)
    assert detector.names == found.names == ("monster", "player")
    assert len(found) >= 4
    assert (found.width, found.height) == (416, 416)
    pixels = cv2.imread(str(PICTURE))
    again = detector(pixels)
    assert np.array_equal(found.detections.xyxy, again.detections.xyxy)
    with_alpha = detector(np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)]))
    assert np.array_equal(found.detections.xyxy, with_alpha.detections.xyxy)
    row = found.to_dict()["detections"][0]
    assert row.keys() == {"class", "score", "box"}
    described = detector.describe()
    assert (described["engine"], described["precision"], described["model"]["name"]) == (
        "openvino", "fp32", "doom-yolov4-tiny",
    )  # fmt: skip


def test_what_is_no_image_or_no_model_is_said(tmp_path: Path) -> None:
    detector = reticle.Detector("doom-yolov4-tiny", precision="fp32")
    (tmp_path / "x.png").write_bytes(b"no")
    with pytest.raises(reticle.UserError, match=r"x\.png: this is no image or is damaged"):
        detector(tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"expected uint8 \(height, width, 3 or 4\), got float64 \(4, 4, 3\)"):
        detector(np.zeros((4, 4, 3)))
    with pytest.raises(reticle.UserError, match="there is no bundle"):
        reticle.Detector("nowhere")


def test_a_run_gives_its_report_and_middleware_stands_between_the_roles() -> None:
    seen = []

    class Seen:
        def __init__(self, selection: reticle.Selection) -> None:
            self._selection = selection

        def select(self, detections: reticle.Detections, frame: reticle.Frame) -> reticle.Target | None:
            seen.append(len(detections))
            return self._selection.select(detections, frame)

    def watch(roles: reticle.ActiveRoles, context: reticle.Context) -> reticle.ActiveRoles:
        return replace(roles, selection=Seen(roles.selection))

    plain = reticle.play(BALLOONS, episodes=1, overrides=["capture.steps=40"])
    watched = reticle.play(BALLOONS, episodes=1, overrides=["capture.steps=40"], middleware=[watch])
    assert plain.error is None
    assert len(seen) == 40
    assert plain.to_dict()["decisions"] == watched.to_dict()["decisions"]
    assert plain.to_dict()["episodes"] == watched.to_dict()["episodes"]
    with pytest.raises(reticle.UserError, match="there is no such profile"):
        reticle.play("nosuch.yaml")


def test_an_evaluation_scores_what_the_network_itself_found(tmp_path: Path) -> None:
    from tests.networks import small_files
    from tests.pictures import folder_of, picture

    cfg, weights, names = small_files(tmp_path)
    folder_of(tmp_path / "val", 3)
    detector = reticle.Detector(cfg, weights=weights, names=names, confidence=0.4, precision="fp32")
    (tmp_path / "labels").mkdir()
    for i in range(3):
        found = detector(picture(i))
        lines = [
            f"{c} {(x1 + x2) / 2 / found.width} {(y1 + y2) / 2 / found.height} "
            f"{(x2 - x1) / found.width} {(y2 - y1) / found.height}\n"
            for (x1, y1, x2, y2), c in zip(
                found.detections.xyxy.tolist(), found.detections.class_id.tolist(), strict=True
            )
        ]
        (tmp_path / "labels" / f"{i:03d}.txt").write_text("".join(lines))
    result = reticle.evaluate(cfg, tmp_path / "val", tmp_path / "labels", weights=weights, names=names)
    assert result.images == 3
    assert 20 < result.ap50 <= 100
    assert result.to_dict()["ap50"] == result.ap50


@pytest.mark.slow
def test_the_arena_scores_a_game_from_a_plugin_file() -> None:
    result = reticle.arena(BALLOONS, episodes=2, baselines=["oracle"], overrides=["capture.steps=60"], processes=1)
    rows = {row["who"]: row for row in result.to_dict()["rows"]}
    assert "oracle" in rows
    assert all(row["popped"]["mean"] > 0 for row in rows.values())
    assert len(result.scores) == 4
