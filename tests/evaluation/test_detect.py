import json
from pathlib import Path

import cv2
import numpy as np


def test_detect_draws_and_writes(data: Path, agent, tmp_path: Path) -> None:
    cfg, weights = data / "cfg" / "yolov4-tiny.cfg", data / "weights" / "yolov4-tiny.weights"
    done = agent(
        "detect", data / "images", "--cfg", cfg, "--weights", weights, "--json", "out.json", "--out", "pictures"
    )
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["provenance"]["engine"] == "openvino"
    rows = written["images"]
    by_name = {Path(row["image"]).stem: row for row in rows}
    assert {d["class"] for d in by_name["dog"]["detections"]} >= {"dog", "truck", "bicycle"}
    assert [d["class"] for d in by_name["horses"]["detections"]].count("horse") >= 3
    dog = by_name["dog"]
    assert (dog["width"], dog["height"]) == (768, 576)
    for found in dog["detections"]:
        x1, y1, x2, y2 = found["box"]
        assert 0 <= x1 < x2 <= 768
        assert 0 <= y1 < y2 <= 576
        assert 0.25 < found["score"] <= 1
    drawn = cv2.imread(str(tmp_path / "pictures" / "dog.png"))
    original = cv2.imread(str(data / "images" / "dog.jpg"))
    changed = np.abs(drawn.astype(int) - original).max(axis=2) > 40
    x1, y1, x2, y2 = (round(v) for v in dog["detections"][0]["box"])
    assert changed[y1 + 5 : y2 - 5, x1].mean() > 0.9
    assert changed.mean() < 0.1


def test_detect_says_what_is_wrong(agent, tmp_path: Path) -> None:
    from tests.networks import small_files

    cfg, weights, _ = small_files(tmp_path)
    model = ("--cfg", cfg, "--weights", weights)
    cases = [
        (("detect", "none.jpg", *model), "none.jpg: there is no such image or folder"),
        (("detect", "empty", *model), "empty: there are no images in this folder"),
        (("detect", cfg, *model), "small.cfg: this is no image or is damaged"),
        (("detect", "p.png"), "detect: give either model, or both cfg and weights"),
        (("detect", "p.png", *model, "--resize", "round"), "detect: resize: input should be 'auto', 'letterbox' or"),
        (("detect", "p.png", *model, "--engine", "cuda"), 'there is no engine "cuda"'),
    ]
    (tmp_path / "empty").mkdir()
    cv2.imwrite(str(tmp_path / "p.png"), np.zeros((64, 64, 3), np.uint8))
    for arguments, says in cases:
        done = agent(*arguments)
        assert done.returncode == 2, arguments
        assert says in done.stderr, arguments
        assert "Traceback" not in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
