"""Detector `yolo`: a YOLOv3 or YOLOv4 network on any engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from agent.context import Context
from agent.factories import DetectorFactory
from agent.hookspecs import hookimpl
from plugins.detector.network import EngineSettings, network_factory

if TYPE_CHECKING:
    from engine.models import Files


class Settings(EngineSettings):
    """Which network, on what, and which of its boxes count."""

    model: str | None = Field(
        None, description="A bundle: its name in models/ or its folder. Or give `cfg` and `weights`."
    )
    cfg: Path | None = Field(None, description="A Darknet cfg, relative to the profile.")
    weights: Path | None = Field(None, description="The cfg's Darknet weights, relative to the profile.")

    @model_validator(mode="after")
    def _one_model(self) -> Settings:
        if self.model is not None and (self.cfg or self.weights):
            raise ValueError("give either model, or cfg and weights, not both")
        if self.model is None and not (self.cfg and self.weights):
            raise ValueError("give either model, or both cfg and weights")
        return self


def _files(settings: Settings, context: Context) -> Files:
    from dataclasses import replace

    from engine.models import ModelFiles, find, read_names

    names = read_names(context.path(settings.names)) if settings.names is not None else None
    if settings.model is None:
        assert settings.cfg is not None
        assert settings.weights is not None
        return ModelFiles(context.path(settings.cfg), context.path(settings.weights), names)
    files = find(settings.model, context.folder)
    return files if names is None else replace(files, names=names)


@hookimpl
def reticle_detector() -> DetectorFactory:
    """Offer `yolo`."""
    return network_factory("yolo", Settings, "YOLOv3 and YOLOv4 networks, from a bundle or Darknet files", _files, True)
