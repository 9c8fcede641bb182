"""INT8 on CPUs whose sums saturate: the runtime computes what the graph says."""

import numpy as np
import onnx
from onnx import numpy_helper

from engine.onnx_int8 import SATURATING, narrow_weights, saturation_probe
from engine.runtimes.onnx import OnnxEngine
from engine.runtimes.openvino import OpenVinoEngine, saturates


def computed(engine: OnnxEngine | OpenVinoEngine) -> np.ndarray:
    engine.input[...] = 255
    return np.array(engine.infer()[0])


def test_the_probe_is_exact_where_nothing_saturates() -> None:
    assert np.allclose(computed(OnnxEngine(saturation_probe(), "cpu", exact=True)), SATURATING, rtol=1e-6)


def test_weights_of_seven_bits_are_computed_exactly_on_every_cpu() -> None:
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
