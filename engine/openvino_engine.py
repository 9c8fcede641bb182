"""The engine `openvino`: Intel's runtime, on a CPU, an integrated GPU or an NPU."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import openvino
from numpy.typing import NDArray

from engine.engine import Ends, Model, Precision
from engine.errors import ModelError
from engine.graphs import graph, with_ends

HALVES = (("FP16", "f16"), ("BF16", "bf16"))
"""What a device may be capable of, and how it is asked for."""


def make(model: Model, precision: Precision, ends: Ends, device: str) -> OpenVinoEngine:
    """Compile the model's graph.

    At `fp16` a CPU without that computes in bfloat16, or in float32 where it lacks both: `arithmetic` says which. At
    `int8` what is not quantised is float32.

    :raises ModelError: the device is not there or cannot take the graph.
    """
    # Half precision is OpenVINO's own affair: it is told of by a hint, and reads the float32 graph.
    proto = graph(model, "int8" if precision == "int8" else "fp32")
    return OpenVinoEngine(with_ends(proto, model, ends), device, precision)


class OpenVinoEngine:
    """Runs an ONNX model with batch 1.

    :param onnx: the serialized model.
    :param device: `openvino` or `cpu` for the CPU, `gpu`, `npu`.
    """

    def __init__(self, onnx: bytes, device: str = "cpu", precision: Precision = "fp32") -> None:
        core = openvino.Core()
        name = "CPU" if device == "openvino" else device.upper()
        if name not in [known.split(".")[0] for known in core.available_devices]:
            known = ", ".join(core.available_devices)
            raise ModelError(f"OpenVINO finds no {name} on this machine, only {known}; choose another engine")
        self.arithmetic = half(core, name) if precision == "fp16" else "f32"
        # Without the second property OpenVINO may compute in bfloat16 and call it float32.
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": self.arithmetic}
        try:
            compiled = core.compile_model(core.read_model(onnx), name, settings)
        except RuntimeError as error:
            last = str(error).strip().splitlines()[-1]
            raise ModelError(f"OpenVINO cannot compile the network for {name}: {last}") from error
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


def half(core: Any, device: str) -> str:
    """Return the half precision that a device computes in, `f32` where it has none."""
    capabilities = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    return next((hint for capability, hint in HALVES if capability in capabilities), "f32")
