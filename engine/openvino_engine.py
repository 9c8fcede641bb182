"""The engine `openvino`: Intel's runtime, on the CPU, in float32."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "openvino")  # building the network needs no TensorFlow

import numpy as np
import openvino
from numpy.typing import NDArray

from engine.engine import Model


def make(model: Model) -> OpenVinoEngine:
    """Build the network by Keras, write it down as ONNX, compile it."""
    from engine.network import build
    from engine.onnx_graph import to_onnx

    return OpenVinoEngine(to_onnx(build(model.network, model.weights)).SerializeToString())


class OpenVinoEngine:
    """Runs an ONNX model with batch 1.

    :param onnx: the serialized model, its input `image` NCHW.
    """

    layout = "NCHW"

    def __init__(self, onnx: bytes) -> None:
        core = openvino.Core()
        # Without the second property OpenVINO may compute in bfloat16 and call it float32.
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(core.read_model(onnx), "CPU", settings)
        self._request = compiled.create_infer_request()
        tensor = self._request.get_input_tensor(0)
        self.input: NDArray[np.float32] = tensor.data
        # The outputs' memory is the request's own from the first run on.
        self._request.infer()
        outputs = [self._request.get_output_tensor(i).data for i in range(len(compiled.outputs))]
        self._heads = [output[0].transpose(1, 2, 0) for output in outputs]

    def infer(self) -> list[NDArray[np.float32]]:
        """Run; see `Engine.infer`."""
        self._request.infer()
        return self._heads
