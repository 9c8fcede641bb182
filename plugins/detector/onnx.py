"""Detector `onnx`: an ONNX detector of another family than Darknet's, from a file or a bundle, on any engine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from agent.context import Context
from agent.factories import DetectorFactory
from agent.hookspecs import hookimpl
from core.errors import UserError
from plugins.detector.network import EngineSettings, network_factory

if TYPE_CHECKING:
    from engine.models import Files


class Settings(EngineSettings):
    """Which network, on what, and which of its boxes count."""

    model: str = Field(description="An ONNX file, relative to the profile; or a bundle, its name in models/ or folder.")
    layout: str | None = Field(
        None, description="How its outputs are read, such as `yolov8` or `yolox`; recognised where this is missing."
    )
    preprocess: str | None = Field(
        None,
        description="What differs from the layout's usual input, as `bgr,0-255,top-left,pad=114`: `rgb` or `bgr`; "
        "`0-1`, `0-255` or `imagenet`; `letterbox`, `top-left` or `stretch`.",
    )


def _files(settings: Settings, context: Context) -> Files:
    from engine.models import OnnxFiles, find, read_names

    files = find(settings.model, context.folder)
    names = read_names(context.path(settings.names)) if settings.names is not None else None
    if not isinstance(files, OnnxFiles):
        raise UserError(f"{settings.model}: this is a Darknet network; the detector `yolo` runs it")
    if files.folder is not None and (settings.layout or settings.preprocess):
        raise UserError(f"{files.folder}: a bundle says itself how it is read; leave layout and preprocess away")
    changes = {"names": names, "layout": settings.layout, "preprocess": settings.preprocess}
    return replace(files, **{key: value for key, value in changes.items() if value is not None})  # type: ignore[arg-type]


@hookimpl
def reticle_detector() -> DetectorFactory:
    """Offer `onnx`."""
    return network_factory("onnx", Settings, "ONNX detectors of other families, from a file or a bundle", _files)
