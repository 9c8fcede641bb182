from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import UserError
from core.images import images_in, read_image
from tests.pictures import picture


def test_a_picture_is_read_by_any_name_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    for name in ("a.png", "ü ñ 雪.png"):
        ok, data = cv2.imencode(".png", picture(1))
        assert ok
        (tmp_path / name).write_bytes(data.tobytes())
        read = read_image(tmp_path / name)
        assert read is not None
        assert np.array_equal(read, picture(1))
    (tmp_path / "b.png").write_bytes(b"no picture")
    assert read_image(tmp_path / "b.png") is None
    assert read_image(tmp_path / "missing.png") is None


def test_a_folders_images_are_sorted_and_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no images in this folder"):
        images_in(tmp_path)
    for name in ("b.JPG", "a.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in images_in(tmp_path)] == ["a.png", "b.JPG"]
