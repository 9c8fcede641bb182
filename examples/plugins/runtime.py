"""Runtime `opencv`: OpenCV's own reader of ONNX, on the CPU. Slow, and everywhere that Reticle is."""

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.graphs import graph, with_stages
from reticle import GraphStages, Model, Runtime, hookimpl


class OpenCvEngine:
    """Runs a network by cv2.dnn, batch 1, float32."""

    layout: Literal["NHWC", "NCHW"] = "NCHW"
    description = f"cv2.dnn {cv2.__version__}"

    def __init__(self, onnx: bytes, height: int, width: int) -> None:
        self._network = cv2.dnn.readNetFromONNX(np.frombuffer(onnx, np.uint8))
        self._outputs = self._network.getUnconnectedOutLayersNames()
        self.input: NDArray[Any] = np.zeros((1, 3, height, width), np.float32)

    def infer(self) -> list[NDArray[np.float32]]:
        """Return the raw heads, each (h, w, channels)."""
        self._network.setInput(self.input)
        heads = dict(zip(self._outputs, self._network.forward(self._outputs), strict=True))
        return [np.asarray(heads[name])[0].transpose(1, 2, 0) for name in sorted(heads)]


def load(model: Model, precision: str, stages: GraphStages, device: str) -> OpenCvEngine:
    """Make a network ready: pre- and post-processing are the host's, as the Runtime below says."""
    onnx = with_stages(graph(model, "fp32"), model, stages)
    return OpenCvEngine(onnx, model.network.height, model.network.width)


@hookimpl
def reticle_runtime() -> Runtime:
    """Offer `opencv`."""
    return Runtime(
        "opencv",
        load,
        packages=("cv2",),
        install="install opencv-python",
        precisions=("fp32",),
        distributions=("opencv-python-headless", "opencv-python"),
        present=lambda: ["opencv"],
    )
