import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.geometry import GREY, LETTERBOX, STRETCH, Fit
from engine.preprocess import Preprocessor


def empty(layout: str, width: int, height: int) -> np.ndarray:
    return np.full((1, 3, height, width) if layout == "NCHW" else (1, height, width, 3), np.nan, np.float32)


def as_image(target: np.ndarray, layout: str) -> np.ndarray:
    return target[0].transpose(1, 2, 0) if layout == "NCHW" else target[0]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("size", [(96, 64), (640, 480)])
def test_stretch_is_resize_rgb_and_scale(layout: str, channels: int, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], channels), np.uint8)
    target = empty(layout, 96, 64)
    Preprocessor(target, layout, STRETCH).run(pixels)
    expected = cv2.resize(pixels, (96, 64))[:, :, 2::-1].astype(np.float32) / 255
    np.testing.assert_allclose(as_image(target, layout), expected, atol=1e-6)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_letterbox_keeps_proportions_on_grey(layout: str) -> None:
    target = empty(layout, 128, 128)
    preprocessor = Preprocessor(target, layout, LETTERBOX)
    preprocessor.run(np.full((50, 100, 3), 255, np.uint8))
    image = as_image(target, layout)
    assert np.all(image[32:96] == 1)
    assert np.allclose(image[:32], GREY / 255)
    assert np.allclose(image[96:], GREY / 255)


def test_read_only_frames_are_taken() -> None:
    pixels = np.frombuffer(bytes(64 * 64 * 4), np.uint8).reshape(64, 64, 4)
    target = empty("NCHW", 64, 64)
    Preprocessor(target, "NCHW", STRETCH).run(pixels)
    assert np.all(target == 0)


def test_a_frame_of_another_size_leaves_nothing_of_the_last() -> None:
    target = empty("NCHW", 64, 64)
    preprocessor = Preprocessor(target, "NCHW", LETTERBOX)
    preprocessor.run(np.full((64, 64, 3), 255, np.uint8))
    preprocessor.run(np.zeros((10, 100, 4), np.uint8))
    assert not np.any(target == 1)


@given(
    st.integers(1, 700),
    st.integers(1, 700),
    st.sampled_from([LETTERBOX, STRETCH, Fit("letterbox", 114, corner=True)]),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_boxes_go_there_and_back(width: int, height: int, fit: Fit, part: list[float]) -> None:
    preprocessor = Preprocessor(empty("NCHW", 64, 96), "NCHW", fit)
    preprocessor.run(np.zeros((height, width, 3), np.uint8))
    x1, x2 = sorted((part[0] * width, part[1] * width))
    y1, y2 = sorted((part[2] * height, part[3] * height))
    if fit.resize == "letterbox":
        scale = min(64 / width, 96 / height)
        whole = int if fit.corner else round
        inner = max(1, whole(width * scale)), max(1, whole(height * scale))
    else:
        inner = (64, 96)
    left, top = (0, 0) if fit.corner else ((64 - inner[0]) // 2, (96 - inner[1]) // 2)
    there = np.array(
        [[x1 / width * inner[0] + left, y1 / height * inner[1] + top,
          x2 / width * inner[0] + left, y2 / height * inner[1] + top]], np.float32
    )  # fmt: skip
    back = preprocessor.to_frame(there)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back[0], [x1, y1, x2, y2], atol=max(width, height) * 1e-4 + 1e-3)


def test_boxes_are_cut_at_the_frame() -> None:
    preprocessor = Preprocessor(empty("NCHW", 64, 64), "NCHW", STRETCH)
    preprocessor.run(np.zeros((128, 128, 3), np.uint8))
    boxes = preprocessor.to_frame(np.array([[-5, -5, 80, 30]], np.float32))
    assert boxes.tolist() == [[0, 0, 128, 60]]
