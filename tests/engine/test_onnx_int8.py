"""INT8 on CPUs whose sums saturate: the runtime computes what the graph says."""

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from engine.onnx_int8 import PAIR, SATURATING, narrow_weights, saturation_probe
from engine.runtimes.onnx import OnnxEngine
from engine.runtimes.openvino import OpenVinoEngine, saturates


def computed(engine: OnnxEngine | OpenVinoEngine) -> np.ndarray:
    engine.input[...] = 255
    return np.array(engine.infer()[0])


def test_the_probe_is_exact_where_nothing_saturates() -> None:
    assert np.allclose(computed(OnnxEngine(saturation_probe(), "cpu", exact=True)), SATURATING, rtol=1e-6)


def with_codes(codes: np.ndarray) -> bytes:
    """The probe with other weights, (64, 64, side, side)."""
    proto = onnx.load_from_string(saturation_probe())
    proto.graph.node[-1].attribute.append(helper.make_attribute("pads", [codes.shape[2] // 2] * 4))
    next(t for t in proto.graph.initializer if t.name == "weights").CopyFrom(numpy_helper.from_array(codes, "weights"))
    return proto.SerializeToString()


@given(seed=st.integers(0, 10_000), side=st.sampled_from([1, 3]))
@settings(max_examples=20, deadline=None)
def test_pairs_that_conversion_allows_are_computed_exactly_on_every_cpu(seed: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 128, (64, 64, side, side))
    sizes[:, 1::2] = PAIR - sizes[:, ::2]  # as large as a pair may be, of one sign
    codes = (sizes * rng.choice([-1, 1], (64, 32, side, side)).repeat(2, axis=1)).astype(np.int8)
    graph = with_codes(codes)
    assert narrow_weights(onnx.load_from_string(graph)).SerializeToString() == graph
    exact = computed(OnnxEngine(graph, "cpu", exact=True))
    assert np.allclose(computed(OpenVinoEngine(graph, precision="int8")), exact, rtol=1e-6)
    if saturates():
        sizes[:, 1::2] = 127
        over = with_codes((sizes * np.sign(codes)).astype(np.int8))
        exact = computed(OnnxEngine(over, "cpu", exact=True))
        assert not np.allclose(computed(OpenVinoEngine(over, precision="int8")), exact, rtol=1e-6)


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
