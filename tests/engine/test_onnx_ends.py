"""The front, the back, half precision and plain Mish say the same as what they stand for."""

import cv2
import numpy as np
import onnx
import pytest

from engine.boxes import Decoder
from engine.engine import Ends, Model
from engine.graphs import graph, with_ends
from engine.onnx_ends import Front, at_size, with_back, with_front
from engine.onnx_engine import OnnxEngine
from engine.onnx_half import half_outputs, in_half
from engine.onnx_mish import plain_mish
from engine.openvino_engine import OpenVinoEngine
from engine.preprocess import Preprocessor
from tests.networks import small
from tests.pictures import picture

NETWORK, WEIGHTS = small()
RUNTIMES = {"openvino": OpenVinoEngine, "onnx": lambda data: OnnxEngine(data, "cpu")}


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return graph(Model(NETWORK, WEIGHTS), "fp32")


def outputs(engine, pixels: np.ndarray, resize: str = "stretch") -> list[np.ndarray]:
    preprocessor = Preprocessor(engine.input, engine.layout, resize)
    preprocessor.run(pixels)
    return [np.array(output) for output in engine.infer()]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("channels", [3, 4])
def test_a_front_takes_pixels_as_they_are_grabbed(model, runtime: str, channels: int) -> None:
    pixels = picture(3, 96, 64)
    if channels == 4:
        pixels = np.dstack((pixels, np.full(pixels.shape[:2], 200, np.uint8)))
    engine = RUNTIMES[runtime](with_front(model, Front(96, 64, channels)).SerializeToString())
    assert engine.input.dtype == np.uint8
    assert engine.input.shape == (1, 96, 64, channels)
    engine.input[0] = pixels
    for mine, expected in zip(engine.infer(), outputs(OpenVinoEngine(model.SerializeToString()), pixels), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(("height", "width", "letterbox"), [(48, 32, False), (70, 150, True), (200, 100, False)])
def test_a_front_resizes_as_opencv_does(model, runtime: str, height: int, width: int, letterbox: bool) -> None:
    pixels = cv2.GaussianBlur(picture(4, height, width), (0, 0), 3)
    front = Front(height, width, 3, letterbox)
    engine = RUNTIMES[runtime](with_front(model, front).SerializeToString())
    engine.input[0] = pixels
    reference = outputs(OpenVinoEngine(model.SerializeToString()), pixels, "letterbox" if letterbox else "stretch")
    for mine, expected in zip(engine.infer(), reference, strict=True):
        # OpenCV rounds to whole pixel values; the graph does not.
        assert np.linalg.norm(mine - expected) / np.linalg.norm(expected) < 0.01


def yolo_like(seed: int) -> tuple[object, onnx.ModelProto]:
    """A network whose heads are all of the ordinary kind, as a back wants them."""
    from engine.darknet import parse_cfg, random_weights
    from tests.networks import CFG

    text = CFG.replace("new_coords=1\n", "").replace("activation=logistic", "activation=linear")
    network = parse_cfg(text)
    return network, graph(Model(network, random_weights(network, seed)), "fp32")


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_back_keeps_the_boxes_that_the_decoder_finds(runtime: str, seed: int) -> None:
    network, proto = yolo_like(seed)
    raw = outputs(OpenVinoEngine(proto.SerializeToString()), picture(seed))
    everything = Decoder(network, 0.0, 1.0).decode(raw)
    threshold = float(everything[1][100])
    plain = Decoder(network, threshold, 0.45).decode(raw)
    back = outputs(RUNTIMES[runtime](with_back(proto, network).SerializeToString()), picture(seed))
    assert [o.shape for o in back] == [(300, 4), (300, 2)]
    mine = Decoder(network, threshold, 0.45).decode(back)
    assert len(plain[0]) > 5
    np.testing.assert_allclose(mine[0], plain[0], rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(mine[1], plain[1], rtol=1e-4)
    np.testing.assert_array_equal(mine[2], plain[2])


def test_another_size_is_the_network_built_at_that_size(model) -> None:
    from engine.darknet import parse_cfg
    from tests.networks import CFG

    other = parse_cfg(CFG, size=(128, 64))
    expected = graph(Model(other, WEIGHTS), "fp32")
    moved = at_size(model, 128, 64)
    pixels = picture(5)
    for mine, theirs in zip(
        outputs(OpenVinoEngine(moved.SerializeToString()), pixels),
        outputs(OpenVinoEngine(expected.SerializeToString()), pixels),
        strict=True,
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


def test_half_precision_is_near_and_its_outputs_can_be_half_too(model) -> None:
    half = in_half(model)
    onnx.checker.check_model(half, full_check=True)
    expected = outputs(OpenVinoEngine(model.SerializeToString()), picture(6))
    single, halves = (
        outputs(OnnxEngine(m.SerializeToString(), "cpu", exact=True), picture(6)) for m in (half, half_outputs(half))
    )
    for one, reference in zip(single, expected, strict=True):
        assert np.linalg.norm(one - reference) / np.linalg.norm(reference) < 0.01
    assert {value.type.tensor_type.elem_type for value in half_outputs(half).graph.output} == {onnx.TensorProto.FLOAT16}
    # The engine's buffers are of the outputs' own type, and the decoder takes either.
    assert {o.dtype for o in halves} == {np.dtype(np.float16)}
    network, proto = yolo_like(0)
    raw = outputs(OpenVinoEngine(proto.SerializeToString()), picture(0))
    threshold = float(Decoder(network, 0.0, 1.0).decode(raw)[1][50])
    rounded = [r.astype(np.float16) for r in raw]
    for limit in (threshold, 0.02, 0.7):
        a = Decoder(network, limit, 0.45).decode(rounded)
        b = Decoder(network, limit, 0.45).decode([r.astype(np.float32) for r in rounded])
        np.testing.assert_allclose(a[0], b[0], rtol=1e-3, atol=1e-2)


def test_a_weight_too_large_for_half_precision_is_said(model) -> None:
    from onnx import numpy_helper

    from engine.errors import ModelError

    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    tensor = broken.graph.initializer[0]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + 1e6, tensor.name))
    with pytest.raises(ModelError, match="larger than fp16 can hold"):
        in_half(broken)


def test_plain_mish_is_mish() -> None:
    from engine.network import build
    from engine.onnx_graph import to_onnx

    fusible = to_onnx(build(NETWORK, WEIGHTS))
    plain = plain_mish(fusible)
    kinds = [node.op_type for node in plain.graph.node]
    assert kinds.count("Softplus") == kinds.count("Tanh") == 1
    assert "Softplus" not in [node.op_type for node in fusible.graph.node]
    for a, b in zip(
        outputs(OpenVinoEngine(fusible.SerializeToString()), picture(1)),
        outputs(OpenVinoEngine(plain.SerializeToString()), picture(1)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_ends_are_put_on_in_either_order_of_need(model) -> None:
    network, proto = yolo_like(0)
    data = with_ends(proto, Model(network, WEIGHTS), Ends(Front(96, 64), back=True))
    whole = OnnxEngine(data, "cpu")
    whole.input[0] = picture(2, 96, 64)
    boxes, scores = whole.infer()
    assert boxes.shape == (300, 4)
    assert scores.max() <= 1
