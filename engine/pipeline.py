"""From a frame to boxes: an engine with what stands before and after it, in its graph or outside."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.boxes import Decoder, Rows
from engine.darknet import Network
from engine.engine import ENGINES, Ends, Model, Precision, load_engine
from engine.onnx_ends import Front
from engine.preprocess import Preprocessor, Resize

Where = Literal["auto", "graph", "host"]
"""Where pixels are prepared and heads decoded: in the engine's graph, or by OpenCV and numpy."""

IN_GRAPH: dict[str, tuple[bool, bool]] = {
    "openvino": (True, False),
    "onnx": (True, False),
    "onnx:cuda": (True, False),
    "tensorflow": (False, False),
    "tensorrt": (True, True),
    "tensorrt-rtx": (True, True),
}
"""Front and back: what measured faster. docs/conversion.md has the figures."""


class Pipeline:
    """Frames in, boxes out, in three stages that can be timed apart.

    :param confidence: boxes less sure than this are dropped, 0 to 1.
    :param nms: of two boxes of a class that overlap by more IoU than this, one goes.
    :raises ModelError: the engine is not there or cannot take the network.
    """

    def __init__(
        self,
        model: Model,
        engine: str = "openvino",
        precision: Precision = "fp32",
        confidence: float = 0.25,
        nms: float = 0.45,
        resize: Resize | Literal["auto"] = "auto",
        where: Where = "auto",
    ) -> None:
        network = model.network
        if resize == "auto":
            resize = "letterbox" if network.letter_box else "stretch"
        self.engine = load_engine(engine, model, precision, ends(engine, model, where))
        self._preprocessor = Preprocessor(self.engine.input, self.engine.layout, resize)
        self._decoder = Decoder(network, confidence, nms)
        self.unscaled = Decoder(_without_scale(network), confidence, nms)
        """Decodes as if the cfg had no scale_x_y, for comparison."""
        self.prepare = self._preprocessor.run
        """Write one frame, uint8 (height, width, 3) BGR or (height, width, 4) BGRA, into the engine's input."""
        self.infer = self.engine.infer
        """Run the network; see `Engine.infer`."""
        self.infer()  # the first run of most runtimes is slow

    def boxes(self, outputs: list[NDArray[np.float32]]) -> Rows:
        """Return what the outputs of `infer` say of the frame last prepared: boxes xyxy in its pixels, best first."""
        return self.boxes_by(self._decoder, outputs)

    def boxes_by(self, decoder: Decoder, outputs: list[NDArray[np.float32]]) -> Rows:
        """Return the same as `boxes` by another decoder."""
        boxes, scores, classes = decoder.decode(outputs)
        if len(boxes):
            boxes = self._preprocessor.to_frame(boxes)
        return boxes, scores, classes

    def run(self, pixels: NDArray[np.uint8]) -> Rows:
        """Return the boxes in a frame."""
        self.prepare(pixels)
        return self.boxes(self.infer())


def _without_scale(network: Network) -> Network:
    layers = (
        layer if layer.head is None else replace(layer, head=replace(layer.head, scale_x_y=1.0))
        for layer in network.layers
    )
    return replace(network, layers=tuple(layers))


def ends(engine: str, model: Model, where: Where) -> Ends:
    """Return the ends that an engine's graph is given."""
    network = model.network
    base = engine.partition(":")[0]
    front, back = IN_GRAPH.get(engine, IN_GRAPH[base]) if base in ENGINES else (False, False)
    if where != "auto":
        front = back = where == "graph"
    back = back and len({head.new_coords for head in network.heads}) == 1
    if base == "tensorflow":
        return Ends()
    return Ends(Front(network.height, network.width) if front else None, back)
