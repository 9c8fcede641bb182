"""Pre- and post-processing in the graph, half precision and plain Mish say the same as what they stand for."""

import numpy as np
import onnx
import pytest

from core.geometry import STRETCH, Fit
from engine.boxes import Decoder
from engine.engine import GraphStages, Model
from engine.graphs import graph, with_stages
from engine.onnx_fp16 import fp16_ends, fp16_outputs, to_fp16
from engine.onnx_graph import to_onnx
from engine.onnx_mish import plain_mish
from engine.onnx_postprocess import with_postprocess
from engine.onnx_preprocess import Preprocess, at_size, with_preprocess
from engine.preprocess import Preprocessor
from engine.runtimes.onnx import OnnxEngine
from engine.runtimes.openvino import OpenVinoEngine
from tests.networks import small
from tests.pictures import picture

NETWORK, WEIGHTS = small()
RUNTIMES = {"openvino": OpenVinoEngine, "onnx": lambda data: OnnxEngine(data, "cpu")}


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return graph(Model(NETWORK, WEIGHTS), "fp32")


def outputs(engine, pixels: np.ndarray, fit: Fit = STRETCH) -> list[np.ndarray]:
    preprocessor = Preprocessor(engine.input, engine.layout, fit)
    preprocessor.run(pixels)
    return [np.array(output) for output in engine.infer()]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_graph_takes_pixels_as_they_are_grabbed(model, runtime: str) -> None:
    pixels = picture(3, 96, 64)
    engine = RUNTIMES[runtime](with_preprocess(model, Preprocess(96, 64)).SerializeToString())
    assert engine.input.dtype == np.uint8
    assert engine.input.shape == (1, 96, 64, 3)
    engine.input[0] = pixels
    for mine, expected in zip(engine.infer(), outputs(OpenVinoEngine(model.SerializeToString()), pixels), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-3, atol=1e-4)


def yolo_like(seed: int) -> tuple[object, onnx.ModelProto]:
    """A network whose heads are all of the ordinary kind, as decoding in the graph wants them."""
    from engine.darknet import parse_cfg, random_weights
    from tests.networks import CFG

    text = CFG.replace("new_coords=1\n", "").replace("activation=logistic", "activation=linear")
    network = parse_cfg(text)
    return network, graph(Model(network, random_weights(network, seed)), "fp32")


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_graph_that_decodes_finds_the_boxes_that_the_decoder_finds(runtime: str, seed: int) -> None:
    network, proto = yolo_like(seed)
    raw = outputs(OpenVinoEngine(proto.SerializeToString()), picture(seed))
    everything = Decoder(network, 0.0, 1.0).decode(raw)
    threshold = float(everything[1][100])
    plain = Decoder(network, threshold, 0.45).decode(raw)
    back = outputs(RUNTIMES[runtime](with_postprocess(proto, network).SerializeToString()), picture(seed))
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
    half = to_fp16(model)
    onnx.checker.check_model(half, full_check=True)
    expected = outputs(OpenVinoEngine(model.SerializeToString()), picture(6))
    single, halves, ends = (
        outputs(OnnxEngine(m.SerializeToString(), "cpu", exact=True), picture(6))
        for m in (half, fp16_outputs(half), fp16_ends(half))
    )
    for one, reference in zip(single, expected, strict=True):
        assert np.linalg.norm(one - reference) / np.linalg.norm(reference) < 0.01
    assert {value.type.tensor_type.elem_type for value in fp16_outputs(half).graph.output} == {onnx.TensorProto.FLOAT16}
    onnx.checker.check_model(fp16_ends(half), full_check=True)
    assert fp16_ends(half).graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    for one, other in zip(halves, ends, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)
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

    from core.errors import UserError

    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    tensor = broken.graph.initializer[0]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + 1e6, tensor.name))
    with pytest.raises(UserError, match="larger than fp16 can hold"):
        to_fp16(broken)


def test_plain_mish_is_mish() -> None:
    fusible = to_onnx(NETWORK, WEIGHTS)
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


def test_a_graph_takes_pixels_and_gives_boxes(model) -> None:
    network, proto = yolo_like(0)
    data = with_stages(proto, Model(network, WEIGHTS), GraphStages(Preprocess(96, 64), postprocess=True))
    whole = OnnxEngine(data, "cpu")
    whole.input[0] = picture(2, 96, 64)
    boxes, scores = whole.infer()
    assert boxes.shape == (300, 4)
    assert scores.max() <= 1
