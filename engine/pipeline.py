"""From a frame to boxes: an engine with its pre- and post-processing, in its graph or outside."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.geometry import Fit, Resize
from core.precision import Precision
from engine.boxes import Decoder, Rows
from engine.darknet import Network
from engine.engine import Engine, GraphStages, Model, load_engine
from engine.preprocess import Preprocessor
from engine.runtime import find_runtime

if TYPE_CHECKING:
    from engine.cuda_stages import CudaStages
    from engine.onnx_network import LayoutDecoder, OnnxNetwork

log = logging.getLogger("reticle")

Where = Literal["auto", "graph", "host", "card"]
"""Where pixels are prepared and heads decoded: in the engine's graph, by OpenCV and numpy, or by kernels of our own on
an NVIDIA card; `auto` is what measured faster, the last where the engine can."""


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
        stages = graph_stages(engine, model, where)
        fit = fit_of(model.network, resize)
        self.engine = load_engine(engine, model, precision, stages)
        self.prepare: Callable[[NDArray[np.uint8]], None]
        """Write one frame, uint8 (height, width, 3) BGR or (height, width, 4) BGRA, into the engine's input."""
        self.infer: Callable[[], list[NDArray[np.float32]]]
        """Run the network; see `Engine.infer`."""
        self.boxes: Callable[[list[NDArray[np.float32]]], Rows]
        """Return what the outputs of `infer` say of the frame last prepared: boxes xyxy in its pixels, best first."""
        self.page_locked: Callable[[tuple[int, ...]], NDArray[np.uint8]] | None = None
        """Makes memory of a shape that `prepare` reads without another copy; None where all memory is alike."""
        on_card = _on_card(self.engine, model.network, fit, confidence, nms, where)
        if on_card is not None:
            self.prepare, self.infer, self.boxes = on_card.prepare, on_card.infer, on_card.boxes
            self.page_locked = on_card.page_locked
            self.prepare(np.zeros((model.network.height, model.network.width, 3), np.uint8))
        else:
            if getattr(self.engine, "device", None) is not None:  # its ends are where nothing can reach them
                self.engine = load_engine(engine, model, precision, replace(stages, device=False))
            self._preprocessor = Preprocessor(self.engine.input, self.engine.layout, fit)
            self._decoder = decoder(model.network, confidence, nms)
            self.prepare, self.infer, self.boxes = self._preprocessor.run, self.engine.infer, self._boxes
        self.infer()  # the first run of most runtimes is slow

    def _boxes(self, outputs: list[NDArray[np.float32]]) -> Rows:
        boxes, scores, classes = self._decoder.decode(outputs)
        if len(boxes):
            boxes = self._preprocessor.to_frame(boxes)
        return boxes, scores, classes

    def run(self, pixels: NDArray[np.uint8]) -> Rows:
        """Return the boxes in a frame."""
        self.prepare(pixels)
        return self.boxes(self.infer())


def _on_card(
    engine: Engine, network: Network | OnnxNetwork, fit: Fit, confidence: float, nms: float, where: Where
) -> CudaStages | None:
    """Return what prepares and decodes on the card; None where the engine, or the machine, cannot.

    :raises UserError: it was asked for and cannot be.
    """
    ready = getattr(engine, "device", None)
    if ready is None or not isinstance(network, Network):
        if where == "card":
            raise UserError("prepare is `card`, and this engine does not leave its ends there; set it to auto")
        return None
    from engine.cuda_stages import CudaStages

    try:
        return CudaStages(ready, network, fit, confidence, nms)
    except UserError as error:
        if where == "card":
            raise
        log.warning("%s; pixels are prepared and boxes decoded on the host", error)
        return None


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

    given = where in ("graph", "host")
    preprocess, postprocess = (where, where) if given else (runtime.preprocess, runtime.postprocess)
    return GraphStages(
        Preprocess(network.height, network.width) if preprocess == "graph" else None,
        # One decoding serves all heads, so they must be of one kind.
        postprocess == "graph" and isinstance(network, Network) and len({h.new_coords for h in network.heads}) == 1,
        device=not given and isinstance(network, Network),
    )
