"""From a frame to boxes: an engine with its pre- and post-processing, in its graph or outside."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from core.geometry import Fit, Resize
from core.precision import Precision
from engine.boxes import Decoder, Rows
from engine.darknet import Network
from engine.engine import GraphStages, Model, load_engine
from engine.preprocess import Preprocessor
from engine.runtime import find_runtime

if TYPE_CHECKING:
    from engine.onnx_network import LayoutDecoder, OnnxNetwork

Where = Literal["auto", "graph", "host"]
"""Where pixels are prepared and heads decoded: in the engine's graph, or by OpenCV and numpy; `auto` is what the
runtime says measured faster."""


class Pipeline:
    """Frames in, boxes out, in three stages that can be timed apart.

    :param confidence: boxes less sure than this are dropped, 0 to 1.
    :param nms: of two boxes of a class that overlap by more IoU than this, one goes.
    :raises UserError: the engine is not there or cannot take the network.
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
        self.engine = load_engine(engine, model, precision, graph_stages(engine, model, where))
        self._preprocessor = Preprocessor(self.engine.input, self.engine.layout, fit_of(model.network, resize))
        self._decoder = decoder(model.network, confidence, nms)
        self.prepare = self._preprocessor.run
        """Write one frame, uint8 (height, width, 3) BGR or (height, width, 4) BGRA, into the engine's input."""
        self.infer = self.engine.infer
        """Run the network; see `Engine.infer`."""
        self.infer()  # the first run of most runtimes is slow

    def boxes(self, outputs: list[NDArray[np.float32]]) -> Rows:
        """Return what the outputs of `infer` say of the frame last prepared: boxes xyxy in its pixels, best first."""
        boxes, scores, classes = self._decoder.decode(outputs)
        if len(boxes):
            boxes = self._preprocessor.to_frame(boxes)
        return boxes, scores, classes

    def run(self, pixels: NDArray[np.uint8]) -> Rows:
        """Return the boxes in a frame."""
        self.prepare(pixels)
        return self.boxes(self.infer())


def fit_of(network: Network | OnnxNetwork, resize: Resize | Literal["auto"]) -> Fit:
    """Return how pictures are fitted into a network's input, where the user may have a word in it."""
    return network.fit if resize == "auto" else replace(network.fit, resize=resize)


def decoder(network: Network | OnnxNetwork, confidence: float, nms: float) -> Decoder | LayoutDecoder:
    """Return what makes rows of a network's outputs."""
    return Decoder(network, confidence, nms) if isinstance(network, Network) else network.decoder(confidence, nms)


def graph_stages(engine: str, model: Model, where: Where) -> GraphStages:
    """Return what an engine's graph is given beside the network."""
    network, runtime = model.network, find_runtime(engine)
    if not runtime.reads_onnx:
        return GraphStages()
    from engine.onnx_preprocess import Preprocess

    preprocess, postprocess = (runtime.preprocess, runtime.postprocess) if where == "auto" else (where, where)
    return GraphStages(
        Preprocess(network.height, network.width) if preprocess == "graph" else None,
        # One decoding serves all heads, so they must be of one kind.
        postprocess == "graph" and isinstance(network, Network) and len({h.new_coords for h in network.heads}) == 1,
    )
