"""What the detectors that run a network have in common: settings, the detector, and the checks before a run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agent.context import Context
from agent.factories import DetectorFactory, PluginSettings
from agent.roles import Detector
from agent.types import Detections, Frame
from core.command import COMMAND
from core.errors import UserError
from plugins.detector.center_crop import CenterCrop, CenterCropDetector
from plugins.detector.fallback import Fallback, FallbackDetector

if TYPE_CHECKING:
    from engine.darknet import Network
    from engine.models import Files
    from engine.onnx_network import OnnxNetwork


log = logging.getLogger("reticle")


class EngineSettings(PluginSettings):
    """What runs a network, and which of its boxes count."""

    names: Path | None = Field(
        None,
        description="The class names, one a line; COCO's when the cfg has 80 classes and this is missing.",
    )
    size: int | tuple[int, int] | None = Field(
        None,
        description="The network's input, a side or width and height, pixels; the model's own by default.",
    )
    engine: str = Field(
        "openvino",
        description="What runs the network: `openvino`, `onnx`, `tensorflow`, `tensorrt`, `tensorrt-rtx`, "
        "`tensorrt-lean`, with a device where it has several (`openvino:gpu`, `onnx:cuda`, `tensorflow:xla`), or "
        "`auto`: the fastest that is installed and agrees with the FP32 reference.",
    )
    precision: Literal["auto", "fp32", "fp16", "int8"] = Field(
        "auto",
        description="The numbers the engine computes with: `fp32`, `fp16`, `int8`; `auto` is fp32, or with `engine: "
        "auto` whichever is fastest.",
    )
    confidence: float = Field(0.25, gt=0, lt=1, description="Boxes less sure than this are dropped.")
    nms: float = Field(
        0.45, gt=0, le=1, description="Of two boxes of a class that overlap by more IoU than this, one goes."
    )
    prepare: Literal["auto", "graph", "host", "card"] = Field(
        "auto",
        description="Where pixels are prepared and boxes decoded: in the engine's `graph`, on the `host`, or by "
        "kernels of our own on an NVIDIA `card`; `auto` is what measured faster for the engine.",
    )
    resize: Literal["auto", "letterbox", "stretch"] = Field(
        "auto",
        description="How a frame of another shape becomes the input: `letterbox` keeps proportions, `stretch` "
        "does not, `auto` is what the network was made for (a cfg's letter_box).",
    )
    fallback: Fallback | None = Field(
        None,
        description="Live, change to a smaller size when the network takes too long, and stay there: `size`, a side or "
        "width and height in pixels, and `budget_ms`, which 99 % of 200 frames must not exceed. Both sizes are loaded "
        "before the run.",
    )

    center_crop: CenterCrop | None = Field(
        None,
        description="While a box lies around the crosshair, look there alone: at `part` (0.5) of width and height, by "
        "a network of `size`, a side or width and height in pixels; after `frames` (4) in a row the whole picture is "
        "looked at again.",
    )

    def at(self, size: int | tuple[int, int]) -> EngineSettings:
        """Return the settings of the same network at another size, and of no other beside it."""
        return self.model_copy(update={"size": size, "center_crop": None, "fallback": None})


class NetworkDetector:
    """Frame in, boxes out: resize, run, decode, NMS.

    :raises UserError: a file of the model is missing or wrong, or the engine is not there.
    """

    def __init__(self, files: Files, settings: EngineSettings) -> None:
        from engine.choice import resolve
        from engine.models import identity, load
        from engine.pipeline import Pipeline

        model, self.names = load(files, _size(settings))
        engine, precision = resolve(settings.engine, model, settings.precision)
        self._pipeline = Pipeline(
            model, engine, precision, settings.confidence, settings.nms, settings.resize, settings.prepare
        )
        self.page_locked = self._pipeline.page_locked
        self._description = {"model": identity(files), "engine": engine, "precision": precision}

    def detect(self, frame: Frame) -> Detections:
        """Return the boxes in the frame, best first."""
        return self.find(frame.pixels, frame)

    def find(self, pixels: NDArray[np.uint8], frame: Frame) -> Detections:
        """Return the boxes in a part of a frame, in pixels of the part, best first, and stamp the frame."""
        pipeline = self._pipeline
        pipeline.prepare(pixels)
        frame.preprocessed_ns = time.perf_counter_ns()
        outputs = pipeline.infer()
        frame.inferred_ns = time.perf_counter_ns()
        boxes, scores, classes = pipeline.boxes(outputs)
        if not len(boxes):
            return Detections.empty()
        return Detections(boxes, scores.astype(np.float32, copy=False), classes)

    def describe(self) -> dict[str, Any]:
        """Return the model, and engine and precision as resolved."""
        return self._description


def network_factory(
    name: str,
    settings: type[EngineSettings],
    summary: str,
    files_of: Callable[[Any, Context], Files],
    runs_models: bool = False,
) -> DetectorFactory:
    """Return a factory of detectors that run a network.

    :param files_of: returns the model's files that settings name; raises `UserError` where they name none.
    """

    def create(given: Any, context: Context) -> Detector:
        files = files_of(given, context)
        first = NetworkDetector(files, given)
        if first.page_locked is not None:
            context.buffers.provide(first.page_locked)
        whole = first if given.center_crop is None else _cropping(first, files, given, context.crosshair)
        if given.fallback is None or context.lock_step:  # which waits for the network, however long it takes
            return whole
        return FallbackDetector(whole, NetworkDetector(files, given.at(given.fallback.size)), given.fallback)

    def prepare(given: Any, context: Context) -> None:
        """Find out which engine is the fastest here, where the settings leave that open and it is not known yet."""
        from engine.choice import resolve
        from engine.engine import AUTO
        from engine.models import load

        if given.engine == AUTO:
            for each in [given] if given.fallback is None else [given, given.at(given.fallback.size)]:
                model, _ = load(files_of(given, context), _size(each))
                resolve(given.engine, model, given.precision)

    def check(given: Any, context: Context) -> None:
        files = files_of(given, context)
        network = _check(files, given)
        if given.fallback is not None:
            _check_smaller(files, given, given.fallback.size, network, "fallback")
        if given.center_crop is not None:
            _check_smaller(files, given, given.center_crop.size, network, "center_crop")

    def named_classes(given: Any, context: Context) -> tuple[str, ...]:
        from engine.models import names_of

        files = files_of(given, context)
        return names_of(files, files.network(_size(given)))

    return DetectorFactory(
        name,
        create,
        settings,
        summary,
        runs_models=runs_models,
        prepare=prepare,
        check=check,
        named_classes=named_classes,
    )


def _check(files: Files, settings: EngineSettings) -> Network | OnnxNetwork:
    """See that the model's files are there and fit together, and that the engine is installed; return the network.

    :raises UserError: one of it is not so; the message says what to do.
    """
    from engine.engine import AUTO, check_engine
    from engine.models import GRAPH_FILES, check
    from engine.runtime import find_runtime

    network, _ = check(files, _size(settings))
    precision = "fp32" if settings.precision == "auto" else settings.precision
    check_engine(settings.engine, precision)
    needed = GRAPH_FILES["int8-uint8"] if settings.engine == AUTO else find_runtime(settings.engine).needs(precision)
    if precision == "int8" and needed is not None and needed not in files.sha256:
        raise UserError(
            f"{files.folder or network.path}: there is no INT8 graph of this model yet ({needed}); make it with "
            f'"{COMMAND} convert --precision int8 --calibrate FOLDER_OF_IMAGES ...", or take another precision'
        )
    return network


def _cropping(
    whole: NetworkDetector, files: Files, settings: EngineSettings, crosshair: tuple[float, float]
) -> Detector:
    """Return what looks around the crosshair too, by the engine that the whole picture's network has."""
    from engine.runtime import find_runtime

    said = whole.describe()
    if find_runtime(said["engine"]).one_size:  # as `auto` may choose: there the whole takes no time to speak of
        log.warning("an engine of %s is of one size: center_crop is left out", said["engine"])
        return whole
    crop = settings.center_crop
    assert crop is not None
    same = {"engine": said["engine"], "precision": said["precision"]}
    middle = NetworkDetector(files, settings.at(crop.size).model_copy(update=same))
    return CenterCropDetector(whole, middle, crop, crosshair)


def _check_smaller(
    files: Files, settings: EngineSettings, size: int | tuple[int, int], network: Network | OnnxNetwork, name: str
) -> None:
    """See that the network can be of another size too, which is smaller than its own.

    :param name: the setting that asks for it.
    :raises UserError: it is not so.
    """
    from engine.engine import AUTO
    from engine.runtime import find_runtime

    if settings.engine != AUTO and find_runtime(settings.engine).one_size:
        raise UserError(f"detector.{name}: an engine of {settings.engine} is of one size; take another engine")
    try:
        smaller = _check(files, settings.at(size))
    except UserError as error:
        raise UserError(f"detector.{name}.size: {error}") from error
    if smaller.width * smaller.height >= network.width * network.height:
        raise UserError(
            f"detector.{name}.size is {smaller.width}x{smaller.height}, which is not smaller than the network's own "
            f"{network.width}x{network.height}"
        )


def _size(settings: EngineSettings) -> tuple[int, int] | None:
    size: Any = settings.size
    return (size, size) if isinstance(size, int) else size
