"""Where Q/DQ pairs stand, and that runtimes compute them alike."""

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from conversion.quantization import SCHEMES, Range, layers, quantize, tensor_groups
from core.errors import UserError
from core.geometry import STRETCH
from engine.runtimes.onnx import OnnxEngine
from engine.runtimes.openvino import OpenVinoEngine
from tests.networks import small
from tests.pictures import picture


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    from engine.onnx_graph import to_onnx

    return to_onnx(*small())


def spans(model: onnx.ModelProto) -> dict[str, Range]:
    return {group.name: Range(-1.0, 3.0 + i) for i, group in enumerate(tensor_groups(model))}


def test_the_rules(model: onnx.ModelProto) -> None:
    result = quantize(model, spans(model), "symmetric")
    onnx.checker.check_model(result, full_check=True)
    made_by = {output: node for node in result.graph.node for output in node.output}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in result.graph.initializer}
    for node in result.graph.node:
        if node.op_type == "Conv":
            assert all(made_by[name].op_type == "DequantizeLinear" for name in node.input[:2]), node.name
            assert made_by[node.input[1]].input[0] in constants
            assert constants[made_by[node.input[1]].input[0]].dtype == np.int8
            assert node.input[2] in constants, "a bias stays float"
        elif node.op_type == "QuantizeLinear":
            assert constants[node.input[2]] == 0
            assert constants[node.input[2]].dtype == np.int8
            assert made_by.get(node.input[0], node).op_type != "Conv", "a convolution's output goes on as float"
        elif node.op_type in ("Concat", "MaxPool"):
            scales = {
                float(constants[made_by[name].input[1]])
                for name in node.input
                if name in made_by and made_by[name].op_type == "DequantizeLinear"
            }
            assert len(scales) <= 1, f"{node.name} joins tensors of different scale"


def test_the_residual_input_of_an_add_is_quantised_and_the_other_is_not(model: onnx.ModelProto) -> None:
    result = quantize(model, spans(model), "symmetric")
    made_by = {output: node for node in result.graph.node for output in node.output}
    (add,) = (node for node in result.graph.node if node.op_type == "Add" and node.name.startswith("shortcut_"))
    kinds = [made_by[name].op_type for name in add.input]
    assert kinds.count("DequantizeLinear") == 1


def test_what_is_kept_is_in_float_to_the_bit(model: onnx.ModelProto) -> None:
    names = layers(model)
    assert len(names) == 6
    result = quantize(model, spans(model), "symmetric", keep=names)
    assert not [n for n in result.graph.node if n.op_type == "QuantizeLinear"]
    with pytest.raises(UserError, match='no convolution "convolutional_99"'):
        quantize(model, spans(model), "symmetric", keep=["convolutional_99"])


def heads(engine, image: np.ndarray) -> np.ndarray:
    engine.input[...] = image
    return np.concatenate([head.ravel() for head in engine.infer()])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_int8_is_near_the_float_network_and_exact_arithmetic_is_the_measure(model, scheme: str) -> None:
    from conversion.calibration import calibrate
    from conversion.pictures import Pictures

    class Made(Pictures):
        def each(self):
            return ((str(i), picture(i)) for i in range(40))

    ranges = calibrate(model, Made(None, tuple(range(40))), STRETCH, lambda what, done, total: None).ranges(
        "mse", scheme
    )
    quantized = quantize(model, ranges, scheme).SerializeToString()
    small_picture = cv2.resize(picture(77), (64, 96))[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
    reference = heads(OpenVinoEngine(model.SerializeToString()), small_picture)
    exact = heads(OnnxEngine(quantized, "cpu", exact=True), small_picture)
    scale = np.linalg.norm(reference)
    assert 0 < np.linalg.norm(exact - reference) / scale < 0.1
    if scheme == "asymmetric":
        for engine in (OnnxEngine(quantized, "cpu"), OpenVinoEngine(quantized, precision="int8")):
            assert np.linalg.norm(heads(engine, small_picture) - exact) / scale < 0.02
