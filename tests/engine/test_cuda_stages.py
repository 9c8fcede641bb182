"""Pixels and heads on an NVIDIA card against the host's, skipped where there is none; the kernels' source everywhere."""

import itertools
import math
import re
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from core.errors import UserError
from core.geometry import LETTERBOX, STRETCH, Fit, place
from engine.boxes import Decoder, Rows
from engine.cuda import Buffer, checked, runtime
from engine.darknet import Network, read_cfg
from engine.pipeline import Pipeline
from engine.preprocess import Preprocessor, mapped, mapping
from tests.conftest import ROOT
from tests.engine.test_boxes import iou

MODEL = ROOT / "models" / "doom-yolov4-tiny"


@pytest.fixture(scope="module")
def cudart():
    try:
        return runtime()
    except (UserError, ImportError) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def network() -> Network:
    return read_cfg(MODEL / "network.cfg")


class Card:
    """The stages around a network that does nothing: what it is given can be read, and its heads written."""

    def __init__(self, cudart, network: Network, fit: Fit, half: bool, threshold: float = 0.25) -> None:
        from engine.cuda_stages import CudaStages, DeviceNetwork, DeviceTensor

        dtype = np.float16 if half else np.float32
        self.cudart, self.stream = cudart, checked(cudart, cudart.cudaStreamCreate())
        self.input = Buffer(cudart, (1, 3, network.height, network.width), dtype)
        shapes = [network.layers[head.index].shape for head in network.heads]
        self.heads = [Buffer(cudart, (1, depth, h, w), dtype) for h, w, depth in shapes]
        tensors = [DeviceTensor(b.device, half, b.array.shape) for b in (self.input, *self.heads)]
        ready = DeviceNetwork(cudart, self.stream, tensors[0], tuple(tensors[1:]), lambda: None)
        self.stages = CudaStages(ready, network, fit, threshold, 0.45)

    def prepared(self, pixels: np.ndarray) -> np.ndarray:
        self.stages.prepare(pixels)
        self.stages.infer()
        self.input.download(self.stream)
        checked(self.cudart, self.cudart.cudaStreamSynchronize(self.stream))
        return self.input.array.astype(np.float32)

    def decoded(self, heads: list[np.ndarray], frame: tuple[int, int]) -> Rows:
        for buffer, head in zip(self.heads, heads, strict=True):
            buffer.array[0] = head
            buffer.upload(self.stream)
        self.stages.prepare(np.zeros((*frame, 3), np.uint8))
        return self.stages.boxes(self.stages.infer())


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("fit", [STRETCH, LETTERBOX], ids=["stretch", "letterbox"])
@pytest.mark.parametrize("size", [(480, 640), (720, 1280), (200, 333), (1080, 1920)])
def test_pixels_are_prepared_as_on_the_host(cudart, network: Network, size, fit: Fit, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, channels), np.uint8)
    target = np.zeros((1, 3, network.height, network.width), np.float32)
    Preprocessor(target, "NCHW", fit).run(pixels)
    found = Card(cudart, network, fit, half=False).prepared(pixels)
    assert np.abs(found - target).max() <= 1.01 / 255, "a grey value of rounding"
    assert (np.abs(found - target) > 0.5 / 255).mean() < 0.15, "of noise; OpenCV cuts bits off on the way"


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
@pytest.mark.parametrize("count", [0, 1, 17, 100, 192, 193, 300, 10_000, 100_000])
def test_random_heads_are_decoded_as_on_the_host(cudart, network: Network, count: int, half: bool) -> None:
    heads = _heads(network, count)
    if half:
        heads = [head.astype(np.float16) for head in heads]
    boxes, scores, classes = Decoder(network, 0.25, 0.45).decode([head.transpose(1, 2, 0) for head in heads])
    frame = (network.height, network.width)
    card = Card(cudart, network, STRETCH, half)
    found, found_scores, found_classes = card.decoded(heads, frame)
    places = sum(3 * head.shape[1] * head.shape[2] for head in heads)
    assert card.stages._counts[0] == min(count, places) * network.classes
    assert len(found) == len(boxes)
    np.testing.assert_allclose(found_scores, scores, rtol=1e-5)
    # Scores that are alike to the last digits may come in another order.
    limits = np.array([network.width, network.height] * 2)
    rows = [
        table[np.lexsort(np.rint(10 * table[:, ::-1]).T)]
        for table in (np.column_stack((found_classes, found)), np.column_stack((classes, np.clip(boxes, 0, limits))))
    ]
    off = np.abs(rows[0] - rows[1]).max(axis=1) if len(boxes) else np.zeros(1)
    assert (off > 0.05).mean() < 0.01


@pytest.mark.parametrize("fit", [STRETCH, LETTERBOX], ids=["stretch", "letterbox"])
@pytest.mark.parametrize("count", [100, 300], ids=["suppressed by the card", "by the host"])
def test_boxes_are_in_pixels_of_the_frame_whatever_its_shape(cudart, network: Network, count: int, fit: Fit) -> None:
    heads = _heads(network, count)
    boxes, scores, _ = Decoder(network, 0.25, 0.45).decode([head.transpose(1, 2, 0) for head in heads])
    card = Card(cudart, network, fit, half=False)
    for height, width in ((480, 640), (720, 1280), (333, 200), (720, 1280)):
        to_frame = mapping(place((width, height), (network.width, network.height), fit), width, height)
        expected = mapped(boxes, to_frame)
        found, found_scores, _ = card.decoded(heads, (height, width))
        assert len(found) == len(expected)
        np.testing.assert_allclose(found_scores, scores, rtol=1e-5)
        # Boxes whose scores are alike to the last digits may come in another order.
        off = np.abs(found - expected).max(axis=1) / (width / network.width)
        assert (off > 0.2).mean() < 0.03


def _heads(network: Network, count: int) -> list[np.ndarray]:
    """Return heads, each (channels, h, w), with so many cells that are sure of every class, and no others."""
    rng = np.random.default_rng(count)
    shapes = [network.layers[head.index].shape for head in network.heads]
    heads = []
    for height, width, depth in shapes:
        head = rng.normal(0, 1, (depth, height, width)).astype(np.float32)
        head.reshape(3, -1, height, width)[:, 4:] = -12.0
        heads.append(head)
    left = count
    fields = 5 + network.classes
    for head in heads:
        cells = head.reshape(3, fields, -1)
        places = rng.permutation(3 * cells.shape[2])[: min(left, 3 * cells.shape[2])]
        left -= len(places)
        cells[places // cells.shape[2], 4, places % cells.shape[2]] = rng.uniform(2, 6, len(places))
        for kind in range(network.classes):
            cells[places // cells.shape[2], 5 + kind, places % cells.shape[2]] = rng.uniform(2, 6, len(places))
    return heads


@pytest.mark.slow
def test_pictures_give_the_hosts_boxes(cudart) -> None:
    from engine.models import find, load

    model, _ = load(find("doom-yolov4-tiny"))
    try:
        card, host = (Pipeline(model, "onnx:cuda", "fp16", where=where) for where in ("card", "host"))
    except UserError as error:
        pytest.skip(str(error))
    compared = found = 0
    locked = card.page_locked((480, 640, 3))
    for pixels in itertools.islice(_pictures(), 500):
        compared += 1
        np.copyto(locked, pixels)
        one, other = card.run(locked if compared % 2 else pixels), host.run(pixels)
        found += len(one[0])
        assert len(one[0]) == len(other[0])
        np.testing.assert_allclose(one[0], other[0], atol=0.75)
        np.testing.assert_allclose(one[1], other[1], atol=0.02)
    assert compared == 500
    assert found >= 400


@pytest.mark.slow
def test_int8_on_the_card_finds_what_float_finds_on_the_host(cudart) -> None:
    from engine.models import find, load

    model, _ = load(find("doom-yolov4-tiny"))
    try:
        card, host = Pipeline(model, "onnx:cuda", "int8"), Pipeline(model, "onnx:cpu", "fp32")
    except UserError as error:
        pytest.skip(str(error))
    found = same = 0
    for pixels in itertools.islice(_pictures(), 40):
        one, other = card.run(pixels), host.run(pixels)
        found += len(other[0])
        same += sum(any(iou(box, each) > 0.6 for each in one[0]) for box in other[0])
    assert found >= 40
    assert same >= 0.9 * found


def _pictures() -> Iterator[np.ndarray]:
    """Yield the example's frames: as they are, then mirrored, darker, moved and smaller."""
    frames = []
    video = cv2.VideoCapture(str(ROOT / "examples" / "doom.mp4"))
    while (read := video.read())[0]:
        frames.append(read[1])
    height, width = frames[0].shape[:2]
    for change in (
        lambda p: p,
        lambda p: np.ascontiguousarray(p[:, ::-1]),
        lambda p: (p * 0.7).astype(np.uint8),
        lambda p: np.roll(p, width // 3, axis=1),
        lambda p: cv2.warpAffine(p, np.array([[0.7, 0, 90], [0, 0.7, 70]]), (width, height)),
        lambda p: cv2.warpAffine(p, np.array([[1.4, 0, -120], [0, 1.4, -90]]), (width, height)),
    ):
        yield from map(change, frames)


def test_the_kernels_structures_are_laid_out_as_they_are_read() -> None:
    from engine.cuda_stages import ANSWER, COUNT_BYTES, HEAD, MOST, ROW

    source = (ROOT / "engine" / "cuda_kernels.cu").read_text()
    assert f"#define MOST {MOST}\n" in source
    sizes = {"float": 4, "int": 4, "const void*": 8, "const float*": 8}
    for name, dtype in (("Row", ROW), ("Head", HEAD), ("Answer", ANSWER)):
        (content,) = re.findall(rf"struct {name} \{{(.*?)\}};", source)
        fields = re.findall(r"((?:const )?\w+\*?) (\w+)((?:\[\w+\])*);", content.replace("MOST", str(MOST)))
        assert [field for _, field, _ in fields] == list(dtype.names)
        counts = [math.prod(int(n) for n in re.findall(r"\d+", shape)) for _, _, shape in fields]
        assert [sizes[kind] * n for (kind, _, _), n in zip(fields, counts, strict=True)] == [
            dtype[n].itemsize for n in dtype.names
        ]
    (before,) = re.findall(r"struct Found \{(.*?)Row rows", source)
    assert 4 * sum(int(count or 1) for count in re.findall(r"int \w+(?:\[(\d+)\])?;", before)) == COUNT_BYTES


def test_the_kernels_arguments_are_as_many_as_are_given(network: Network, monkeypatch) -> None:
    """A launch with one too few reads whatever lies behind them."""
    from engine import cuda_stages

    given: dict[str, int] = {}
    made: list[int] = []
    monkeypatch.setattr(cuda_stages, "Arguments", lambda *values: made.append(len(values)))
    monkeypatch.setattr(cuda_stages, "Buffer", Unloaded)
    monkeypatch.setattr(cuda_stages, "page_locked", lambda cudart, shape, dtype=np.uint8: np.zeros(shape, dtype))
    monkeypatch.setattr(cuda_stages, "Kernels", lambda cudart: None)
    tensor = cuda_stages.DeviceTensor(0, False, (1, 3, network.height, network.width))
    ready = cuda_stages.DeviceNetwork(None, None, tensor, (tensor,) * len(network.heads), lambda: None)
    stages = cuda_stages.CudaStages(ready, network, STRETCH, 0.25, 0.45)
    given["decode"], given["suppress"] = made
    stages._plan((480, 640, 3))
    given["prepare"] = made[-1]
    source = (ROOT / "engine" / "cuda_kernels.cu").read_text()
    for kernel, count in given.items():
        (parameters,) = re.findall(rf"void {kernel}\((.*?)\) \{{", source, re.DOTALL)
        assert len(parameters.split(",")) == count, kernel


class Unloaded:
    """A buffer in no card's memory."""

    device = 0

    def __init__(self, cudart, shape, dtype) -> None:
        self.array = np.zeros(shape, dtype)

    def upload(self, stream) -> None:
        pass


def test_tensorrt_as_a_provider_is_one_sentence_where_it_is_missing_or_has_no_driver() -> None:
    from engine.models import find, load

    model, _ = load(find("doom-yolov4-tiny"))
    with pytest.raises(UserError, match=r"onnxruntime-ep-nv-tensorrt-rtx-cu13|needs an NVIDIA driver|takes no card"):
        Pipeline(model, "onnx:tensorrt-rtx", "fp16")


def test_asking_for_the_card_where_there_is_none_is_one_sentence() -> None:
    from engine.models import find, load

    model, _ = load(find("doom-yolov4-tiny"))
    with pytest.raises(UserError, match="prepare is `card`"):
        Pipeline(model, "onnx:cpu", "fp32", where="card")
