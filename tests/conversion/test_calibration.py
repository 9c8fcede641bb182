import json
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from conversion import pictures
from conversion.calibration import calibrate
from conversion.quantization import tensor_groups
from core.errors import UserError
from core.geometry import STRETCH
from tests.networks import small
from tests.pictures import folder_of, noise, picture


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    from engine.onnx_graph import to_onnx

    return to_onnx(*small())


def quiet(what: str, done: int, total: int) -> None:
    pass


def test_thresholds_are_kept_with_what_they_were_made_from(model: onnx.ModelProto, tmp_path: Path) -> None:
    found = pictures.find(folder_of(tmp_path / "p", 40))
    told = []
    counted = calibrate(model, found, STRETCH, lambda what, done, total: told.append((done, total)))
    assert told[-1] == (40, 40)
    stored = json.loads(counted.to_json({"source": "p"}))
    assert stored["made_from"]["pictures"] == 40
    assert len(stored["groups"]) == len(tensor_groups(model))
    for row in stored["groups"].values():
        assert set(row["symmetric"]) == {"max", "percentile", "mse", "kl"}
        assert row["symmetric"]["max"][1] >= row["symmetric"]["mse"][1] > 0
    again = calibrate(model, found, STRETCH, quiet)
    assert again.to_json({"source": "p"}) == counted.to_json({"source": "p"})


def test_memory_does_not_grow_with_the_pictures(model: onnx.ModelProto, tmp_path: Path) -> None:
    def peak(count: int) -> int:
        found = pictures.find(folder_of(tmp_path / str(count), count))
        tracemalloc.start()
        calibrate(model, found, STRETCH, quiet)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(32)
    assert peak(128) < 1.1 * peak(32)


def test_a_few_unfit_pictures_are_left_out_and_many_refused(model: onnx.ModelProto, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "p", 40)
    cv2.imwrite(str(folder / "900.png"), noise(0))
    cv2.imwrite(str(folder / "901.png"), np.full((72, 96, 3), 9, np.uint8))
    counted = calibrate(model, pictures.find(folder), STRETCH, quiet)
    assert counted.left_out == ["900.png", "901.png"]
    assert counted.pictures == 40
    rest = pictures.find(folder).without(counted.left_out)
    assert [name for name, _ in rest.each()] == [f"{i:03d}.png" for i in range(40)]
    for i in range(40):
        cv2.imwrite(str(folder / f"{i:03d}.png"), noise(i))
    with pytest.raises(UserError, match=r"000\.png is noise|.png is noise"):
        calibrate(model, pictures.find(folder), STRETCH, quiet)
    assert calibrate(model, pictures.find(folder), STRETCH, quiet, allow_unfit=True).pictures == 42


def test_what_is_no_material(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="there are no images in this folder"):
        pictures.find(tmp_path / "empty")
    with pytest.raises(UserError, match="there is no such folder or video"):
        pictures.find(tmp_path / "nothing")
    (tmp_path / "film.mp4").write_bytes(b"no film")
    with pytest.raises(UserError, match="film.mp4: this video cannot be read; is it complete"):
        pictures.find(tmp_path / "film.mp4")
    folder = folder_of(tmp_path / "p", 40)
    (folder / "007.png").write_bytes((folder / "007.png").read_bytes()[:60])
    with pytest.raises(UserError, match=r"007\.png: this image is damaged \(it ends early\)"):
        list(pictures.find(folder).each())


def test_a_video_serves_too_and_its_frames_are_spread(tmp_path: Path) -> None:
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (96, 72))
    for i in range(60):
        writer.write(picture(i))
    writer.release()
    found = pictures.find(path, 40)
    frames = list(found.each())
    assert len(found) == len(frames) == 40
    assert frames[0][0] == "frame 0"
    assert frames[-1][0] == "frame 58"
    assert np.abs(frames[3][1].astype(int) - picture(4)).mean() < 10
