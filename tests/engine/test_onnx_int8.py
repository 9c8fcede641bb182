"""INT8 on CPUs whose sums saturate: the runtime computes what the graph says."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from engine.onnx_int8 import PAIR, SATURATING, narrow_weights, saturation_probe
from engine.runtimes.onnx import OnnxEngine, provider_options
from engine.runtimes.openvino import OpenVinoEngine, saturates


def computed(engine: OnnxEngine | OpenVinoEngine) -> np.ndarray:
    engine.input[...] = 255
    return np.array(engine.infer()[0])


def test_the_probe_is_exact_where_nothing_saturates() -> None:
    assert np.allclose(computed(OnnxEngine(saturation_probe(), "cpu", exact=True)), SATURATING, rtol=1e-6)


def convolution(codes: np.ndarray, groups: int = 1, stride: int = 1) -> bytes:
    """An INT8 convolution of codes (out, in / groups, side, side) on 8x8 places, each code worth what it is."""
    constants = [
        numpy_helper.from_array(np.float32(1), "one"),
        numpy_helper.from_array(np.uint8(0), "zero"),
        numpy_helper.from_array(codes, "weights"),
        numpy_helper.from_array(np.ones(len(codes), np.float32), "scales"),
        numpy_helper.from_array(np.zeros(len(codes), np.int8), "zeros"),
    ]
    pads = [codes.shape[2] // 2] * 4
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", "one", "zero"], ["read"]),
        helper.make_node("DequantizeLinear", ["weights", "scales", "zeros"], ["kernel"], axis=0),
        helper.make_node("Conv", ["read", "kernel"], ["y"], group=groups, pads=pads, strides=[stride] * 2),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, codes.shape[1] * groups, 8, 8))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, len(codes), 8 // stride, 8 // stride))
    graph = helper.make_graph(nodes, "int8", [x], [y], constants)
    opsets = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


@pytest.mark.slow
@given(
    seed=st.integers(0, 10_000),
    channels=st.sampled_from([1, 2, 3, 5, 6, 12, 32, 64]),
    outputs=st.sampled_from([8, 30, 64]),
    groups=st.sampled_from([1, 1, 2]),
    side=st.sampled_from([1, 3]),
    stride=st.sampled_from([1, 2]),
)
@settings(max_examples=40, deadline=None)
def test_pairs_that_conversion_allows_are_computed_exactly_on_every_cpu(
    seed: int, channels: int, outputs: int, groups: int, side: int, stride: int
) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 128, (outputs, channels, side, side))
    if channels % 2:
        sizes[...] = PAIR // 2
    else:
        sizes[:, 1::2] = PAIR - sizes[:, ::2]  # as large as a pair may be
    signs = rng.choice([-1, 1], (outputs, -(-channels // 2), side, side)).repeat(2, axis=1)[:, :channels]
    codes = (sizes * signs).astype(np.int8)
    graph = convolution(codes, groups, stride)
    assert narrow_weights(onnx.load_from_string(graph)).SerializeToString() == graph
    exact = computed(OnnxEngine(graph, "cpu", exact=True))
    assert np.allclose(computed(OpenVinoEngine(graph, precision="int8")), exact, rtol=1e-6)


def test_halved_weights_are_computed_exactly_on_every_cpu() -> None:
    narrow = narrow_weights(onnx.load_from_string(saturation_probe())).SerializeToString()
    exact = computed(OnnxEngine(narrow, "cpu", exact=True))
    assert np.allclose(computed(OpenVinoEngine(narrow, precision="int8")), exact, rtol=1e-6)
    as_written = computed(OpenVinoEngine(saturation_probe(), precision="int8"))
    assert saturates() == (not np.allclose(as_written, SATURATING, rtol=1e-3))


def test_narrow_weights_stand_for_what_the_wide_ones_did() -> None:
    wide = onnx.load_from_string(saturation_probe())
    codes = np.random.default_rng(0).integers(-127, 128, (64, 64, 1, 1)).astype(np.int8)
    stored = {tensor.name: tensor for tensor in wide.graph.initializer}
    stored["weights"].CopyFrom(numpy_helper.from_array(codes, "weights"))
    narrow = {t.name: numpy_helper.to_array(t) for t in narrow_weights(wide).graph.initializer}
    assert np.abs(narrow["weights"]).max() <= 64
    step = narrow["scales"][:, None, None, None]
    assert np.abs(narrow["weights"] * step - codes).max() <= step.max() / 2
    assert np.array_equal(numpy_helper.to_array(stored["weights"]), codes), "the graph given is left as it was"


def test_on_cuda_biases_are_not_fused_and_channels_stay_first() -> None:
    """ONNX Runtime 1.31 adds fused biases of a Q/DQ graph once more in every run: seen on an H200."""
    options = {precision: provider_options(precision, 0) for precision in ("fp32", "fp16", "int8")}
    assert [options[p]["fuse_conv_bias"] for p in options] == ["1", "1", "0"]
    assert [options[p]["prefer_nhwc"] for p in options] == ["1", "1", "0"]
