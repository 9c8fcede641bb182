"""Reading a TensorRT engine's layer plan: what was fused, in which precision, and what stayed a kernel of its own."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from conversion.tensorrt_build import PlanLayer
from core.text import read_json, validated

WORK = ("runtime_fusion", "runtime_function", "correlation", "gemm", "convolution", "fusion")
"""Kinds of kernel that may hold a convolution."""
WAITING = ("signal", "wait")


@dataclass(frozen=True)
class Plan:
    """An engine's layers, and what it was made of."""

    key: dict[str, Any]
    layers: tuple[PlanLayer, ...]

    @property
    def convolutions(self) -> list[PlanLayer]:
        """The kernels that compute a convolution."""
        return [layer for layer in self.layers if layer.kind in WORK and _convolves(layer)]

    @property
    def precisions(self) -> Counter[str]:
        """How many convolutions are computed in which data type."""
        return Counter(layer.inputs[0] if layer.inputs else "" for layer in self.convolutions)

    @property
    def unfused(self) -> list[tuple[PlanLayer, str]]:
        """The kernels that hold no convolution, and why there is one."""
        return [(x, _why(x)) for x in self.layers if x not in self.convolutions and x.kind not in WAITING]

    @property
    def lonely_activations(self) -> list[PlanLayer]:
        """Kernels that do nothing but a convolution's activation: memory read and written for arithmetic."""
        return [layer for layer in self.layers if layer.onnx and all(_is_activation(name) for name in layer.onnx)]


def read(path: Path) -> Plan:
    """Read the plan of an engine.

    :param path: the engine, or the .json beside it.
    :raises UserError: there is none.
    """
    plan = path.with_suffix(".json")
    what = "the engine's plan"
    data = validated(_Stored, read_json(plan, what), plan, what)
    return Plan(data.key, tuple(PlanLayer(*row.model_dump().values()) for row in data.layers))


class _StoredLayer(BaseModel):
    name: str
    kind: str
    inputs: tuple[str, ...]
    output: str
    onnx: tuple[str, ...]


class _Stored(BaseModel):
    key: dict[str, Any]
    layers: list[_StoredLayer]


def _convolves(layer: PlanLayer) -> bool:
    return any(re.fullmatch(r"convolutional_\d+", name) for name in layer.onnx) or not layer.onnx


def _is_activation(name: str) -> bool:
    return re.fullmatch(r"convolutional_\d+_[a-z]+(\..+)?", name) is not None


def _why(layer: PlanLayer) -> str:
    names = " ".join(layer.onnx)
    if layer.kind == "maxpool" or "maxpool" in names:
        return "a pooling is a kernel of its own"
    if "UInt8" in layer.inputs:
        return "pixels to numbers, before the first convolution"
    if layer.output == "Int8":
        return "an INT8 convolution gives float; this makes codes of it for the next"
    if "decode_" in names:
        return "boxes are decoded"
    if re.search(r"route_|upsample_", names):
        return "channels are joined, cut or spread"
    if layer.onnx and all(_is_activation(name) for name in layer.onnx):
        return "the convolution before it is a matrix product, which takes no activation in"
    if "shortcut_" in names:
        return "two branches are added"
    return "the layout or type of a tensor changes"
