"""Detector `yolo`: a YOLOv3 or YOLOv4 network on any engine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from agent.context import Context
from agent.factories import DetectorFactory, PluginSettings
from agent.hookspecs import hookimpl
from agent.types import Detections, Frame
from core.command import COMMAND
from core.errors import UserError

if TYPE_CHECKING:
    from engine.models import ModelFiles


class Settings(PluginSettings):
    """Which network, on what, and which of its boxes count."""

    model: str | None = Field(
        None, description="A bundle: its name in models/ or its folder. Or give `cfg` and `weights`."
    )
    cfg: Path | None = Field(None, description="A Darknet cfg, relative to the profile.")
    weights: Path | None = Field(None, description="The cfg's Darknet weights, relative to the profile.")
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
        description="What runs the network: `openvino`, `onnx`, `tensorflow`, `tensorrt`, `tensorrt-rtx`, with a "
        "device where it has several (`openvino:gpu`, `onnx:cuda`, `tensorflow:xla`), or `auto`: the fastest that is "
        "installed and agrees with the FP32 reference.",
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
    prepare: Literal["auto", "graph", "host"] = Field(
        "auto",
        description="Where pixels are prepared and boxes decoded: in the engine's `graph` or on the `host`; `auto` is "
        "what measured faster for the engine.",
    )
    resize: Literal["auto", "letterbox", "stretch"] = Field(
        "auto",
        description="How a frame of another shape becomes the input: `letterbox` keeps proportions, `stretch` "
        "does not, `auto` is what the cfg says (letter_box).",
    )

    @model_validator(mode="after")
    def _one_model(self) -> Settings:
        if self.model is not None and (self.cfg or self.weights):
            raise ValueError("give either model, or cfg and weights, not both")
        if self.model is None and not (self.cfg and self.weights):
            raise ValueError("give either model, or both cfg and weights")
        return self


class YoloDetector:
    """Frame in, boxes out: resize, run, decode, NMS.

    :raises UserError: a file of the model is missing or wrong, or the engine is not there.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        from engine.choice import resolve
        from engine.models import identity, load
        from engine.pipeline import Pipeline

        files = _files(settings, context)
        model, self.names = load(files, _size(settings))
        engine, precision = resolve(settings.engine, model, settings.precision)
        self._pipeline = Pipeline(
            model, engine, precision, settings.confidence, settings.nms, settings.resize, settings.prepare
        )
        self._description = {"model": identity(files), "engine": engine, "precision": precision}

    def detect(self, frame: Frame) -> Detections:
        """Return the boxes in the frame, best first."""
        pipeline = self._pipeline
        pipeline.prepare(frame.pixels)
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


def prepare(settings: Settings, context: Context) -> None:
    """Find out which engine is the fastest here, where the settings leave that open and it is not known yet.

    :raises UserError: none works.
    """
    from engine.choice import resolve
    from engine.engine import AUTO
    from engine.models import load

    if settings.engine == AUTO:
        model, _ = load(_files(settings, context), _size(settings))
        resolve(settings.engine, model, settings.precision)


def check(settings: Settings, context: Context) -> None:
    """See that the model's files are there and fit together, and that the engine is installed.

    :raises UserError: one of it is not so; the message says what to do.
    """
    from engine.darknet import check_weights, read_cfg
    from engine.engine import AUTO, check_engine
    from engine.models import GRAPH_FILES, names_of
    from engine.runtime import find_runtime

    files = _files(settings, context)
    network = read_cfg(files.cfg, _size(settings) or files.size)
    names_of(files, network)
    check_weights(files.weights, network)
    precision = "fp32" if settings.precision == "auto" else settings.precision
    check_engine(settings.engine, precision)
    needed = GRAPH_FILES["int8-uint8"] if settings.engine == AUTO else find_runtime(settings.engine).needs(precision)
    if precision == "int8" and needed is not None and needed not in files.sha256:
        raise UserError(
            f"{files.folder or files.cfg}: there is no INT8 graph of this model yet ({needed}); make it with "
            f'"{COMMAND} convert --precision int8 --calibrate FOLDER_OF_IMAGES ...", or take another precision'
        )


def named_classes(settings: Settings, context: Context) -> tuple[str, ...]:
    """Return the model's class names.

    :raises UserError: its files are missing or wrong.
    """
    from engine.darknet import read_cfg
    from engine.models import names_of

    files = _files(settings, context)
    return names_of(files, read_cfg(files.cfg, _size(settings) or files.size))


def _files(settings: Settings, context: Context) -> ModelFiles:
    from dataclasses import replace

    from engine.models import ModelFiles, find, read_names

    names = read_names(context.path(settings.names)) if settings.names is not None else None
    if settings.model is None:
        assert settings.cfg is not None
        assert settings.weights is not None
        return ModelFiles(context.path(settings.cfg), context.path(settings.weights), names)
    files = find(settings.model, context.folder)
    return files if names is None else replace(files, names=names)


def _size(settings: Settings) -> tuple[int, int] | None:
    size: Any = settings.size
    return (size, size) if isinstance(size, int) else size


@hookimpl
def reticle_detector() -> DetectorFactory:
    """Offer `yolo`."""
    return DetectorFactory(
        "yolo",
        YoloDetector,
        Settings,
        "YOLOv3 and YOLOv4 networks, from a bundle or Darknet files",
        runs_models=True,
        prepare=prepare,
        check=check,
        named_classes=named_classes,
    )
