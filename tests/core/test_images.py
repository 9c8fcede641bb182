import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from core.images import ends_early, images_in, read_image
from tests.pictures import picture


def test_a_picture_is_read_by_any_name_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    for name in ("a.png", "ü ñ 雪.png"):
        ok, data = cv2.imencode(".png", picture(1))
        assert ok
        (tmp_path / name).write_bytes(data.tobytes())
        read = read_image(tmp_path / name)
        assert np.array_equal(read, picture(1))
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"b\.png: this is no image or is damaged"):
        read_image(tmp_path / "b.png")
    with pytest.raises(UserError, match=r"missing\.png: this image cannot be read: No such file"):
        read_image(tmp_path / "missing.png")


@settings(max_examples=60, deadline=None)
@given(suffix=st.sampled_from([".jpg", ".png", ".webp", ".bmp"]), share=st.floats(0.1, 0.98), seed=st.integers(0, 5))
def test_a_picture_that_ends_early_is_refused(suffix: str, share: float, seed: int) -> None:
    data = cv2.imencode(suffix, picture(seed))[1].tobytes()
    assert not ends_early(data)
    assert not ends_early(data + b"trailing bytes, as some cameras write")
    cut = data[: int(len(data) * share)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"cut{suffix}"
        file.write_bytes(cut)
        with pytest.raises(UserError, match=r"cut\.\w+: this (image is damaged|is no image)"):
            read_image(file)


def test_folders_are_in_natural_order(tmp_path: Path) -> None:
    names = ["frame1.png", "frame2.png", "frame10.png", "frame11.png", "Frame12.png"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in images_in(tmp_path)] == names


def test_a_folders_images_are_sorted_and_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no images in this folder"):
        images_in(tmp_path)
    for name in ("b.JPG", "a.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in images_in(tmp_path)] == ["a.png", "b.JPG"]
