"""The runtime `openvino`: Intel's, on a CPU, an integrated GPU or an NPU."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError, first_line
from core.precision import Precision
from engine.engine import GraphStages, Model
from engine.models import int8_file
from engine.runtime import Runtime

HALF_PRECISIONS = (("FP16", "f16"), ("BF16", "bf16"))
"""What a device may be capable of, and how it is asked for."""


class OpenVinoEngine:
    """Runs an ONNX model with batch 1.

    :param onnx: the serialized model.
    :param device: `openvino` or `cpu` for the CPU, `gpu`, `npu`.
    :raises UserError: the device is not there or cannot take the graph.
    """

    def __init__(self, onnx: bytes, device: str = "cpu", precision: Precision = "fp32") -> None:
        import openvino

        core = openvino.Core()
        name = "CPU" if device == "openvino" else device.upper()
        if name not in [known.split(".")[0] for known in core.available_devices]:
            known = ", ".join(core.available_devices)
            raise UserError(f"OpenVINO finds no {name} on this machine, only {known}; choose another engine")
        self.description = half_precision(core, name) if precision == "fp16" else "f32"
        # Without the second property OpenVINO may compute in bfloat16 and call it float32.
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": self.description}
        try:
            compiled = core.compile_model(core.read_model(onnx), name, settings)
        except RuntimeError as error:
            last = str(error).strip().splitlines()[-1] if str(error).strip() else first_line(error)
            raise UserError(f"OpenVINO cannot compile the network for {name}: {last}") from error
        self._request = compiled.create_infer_request()
        self.input: NDArray[Any] = self._request.get_input_tensor(0).data
        self.layout: Literal["NHWC", "NCHW"] = "NHWC" if self.input.dtype == np.uint8 else "NCHW"
        # The outputs' memory is the request's own from the first run on.
        self._request.infer()
        outputs = [self._request.get_output_tensor(i).data[0] for i in range(len(compiled.outputs))]
        self._outputs = [output.transpose(1, 2, 0) if output.ndim == 3 else output for output in outputs]

    def infer(self) -> list[NDArray[np.float32]]:
        """Run; see `Engine.infer`."""
        self._request.infer()
        return self._outputs


def half_precision(core: Any, device: str) -> str:
    """Return the half precision that a device computes in, `f32` where it has none."""
    capabilities = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    return next((hint for capability, hint in HALF_PRECISIONS if capability in capabilities), "f32")


def output_shapes(onnx: bytes, names: list[str]) -> dict[str, tuple[int | None, ...]]:
    """Return the shapes of a graph's outputs, by name; a dimension that is not fixed is None.

    :raises RuntimeError: the graph cannot be read.
    """
    import openvino

    found: dict[str, tuple[int | None, ...]] = {}
    for output in openvino.Core().read_model(onnx).outputs:
        shape = tuple(d.get_length() if d.is_static else None for d in output.get_partial_shape())
        found |= dict.fromkeys(set(names) & set(output.get_names()), shape)
    return {name: found[name] for name in names if name in found}


@functools.cache
def saturates() -> bool:
    """Return whether this CPU's INT8 sums are cut, as found by a convolution that would show it: a few milliseconds."""
    from engine.onnx_int8 import SATURATING, saturation_probe

    probe = OpenVinoEngine(saturation_probe(), precision="int8")
    probe.input[...] = 255
    return not np.allclose(probe.infer()[0], SATURATING, rtol=1e-3)


def _load(model: Model, precision: Precision, stages: GraphStages, device: str) -> OpenVinoEngine:
    """Compile the model's graph.

    At `fp16` a CPU without that computes in bfloat16, or in float32 where it lacks both: `description` says which. At
    `int8` what is not quantised is float32.
    """
    from engine.graphs import graph, with_stages
    from engine.onnx_int8 import narrow_weights

    # Half precision is OpenVINO's own affair: it is told of by a hint, and reads the float32 graph.
    proto = graph(model, "int8" if precision == "int8" else "fp32")
    if precision == "int8" and device in ("openvino", "cpu") and saturates():
        proto = narrow_weights(proto)  # does nothing to what Reticle converts, but to bundles of earlier versions
    return OpenVinoEngine(with_stages(proto, model, stages), device, precision)


def _present() -> Iterator[str]:
    import openvino

    kinds = {device.split(".")[0].lower() for device in openvino.Core().available_devices}
    yield "openvino"
    yield from (f"openvino:{device}" for device in ("gpu", "npu") if device in kinds)


RUNTIME = Runtime(
    "openvino",
    _load,
    packages=("openvino",),
    install="`uv sync` installs OpenVINO (without uv: `pip install openvino`)",
    devices=("cpu", "gpu", "npu"),
    present=_present,
    distributions=("openvino", "numpy"),
    preprocess="graph",
    needs=int8_file,
)
