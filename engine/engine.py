"""The engines: a network made ready for one runtime, behind one protocol. None is imported unless used."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from engine.darknet import Network, Weights, read_weights
from engine.errors import ModelError

if TYPE_CHECKING:
    from engine.onnx_ends import Front

Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

AUTO = "auto"
"""Not an engine: the fastest of those installed that agrees with the reference (`engine.choice`)."""


@dataclass(frozen=True)
class Kind:
    """What is known of an engine before it is imported.

    `packages` are those of which one must be installed; `devices` what may stand after a colon in its name.
    """

    module: str
    packages: tuple[str, ...]
    install: str
    precisions: tuple[Precision, ...]
    devices: tuple[str, ...] = ()


_EXTRA = "start with `uv run --extra {0} agent.py` (without uv: `pip install {1}`)"

ENGINES: Mapping[str, Kind] = {
    "openvino": Kind(
        "engine.openvino_engine", ("openvino",), "`uv sync` installs OpenVINO", PRECISIONS, ("cpu", "gpu", "npu")
    ),
    "onnx": Kind(
        "engine.onnx_engine",
        ("onnxruntime",),
        _EXTRA.format("onnx", "onnxruntime"),
        PRECISIONS,
        ("cpu", "cuda", "directml", "coreml"),
    ),
    "tensorflow": Kind(
        "engine.tensorflow_engine", ("tensorflow",), _EXTRA.format("tensorflow", "tensorflow"), ("fp32",), ("xla",)
    ),
    "tensorrt": Kind("engine.tensorrt_engine", ("tensorrt",), "`pip install tensorrt cuda-bindings`", PRECISIONS),
    "tensorrt-rtx": Kind(
        "engine.tensorrt_engine",
        ("tensorrt_rtx", "tensorrt_rtx_bindings"),
        _EXTRA.format("trt-rtx", "tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings cuda-bindings"),
        PRECISIONS,
    ),
}
"""The engines there are, by name."""


class Engine(Protocol):
    """A network that runs."""

    layout: Literal["NHWC", "NCHW"]
    """How its input lies in memory."""
    input: NDArray[Any]
    """The input, batch 1, written in place, then `infer()`: float32 RGB, 0 to 1, or with a front uint8 BGR or BGRA."""

    def infer(self) -> list[NDArray[np.float32]]:
        """Run on `input` and return the raw heads, each (h, w, channels) or a view of it.

        With a back it returns boxes (n, 4) and scores (n, classes) instead. The arrays may be the engine's own and
        change at the next call.
        """


@dataclass(frozen=True)
class Ends:
    """What stands before and after the network in its graph, where the runtime takes a graph."""

    front: Front | None = None
    back: bool = False


@dataclass(frozen=True)
class Model:
    """What an engine is made from: a Darknet network, its weights, and what conversion has made of them.

    `weights` may be the file, which is then read when an engine needs it; `folder` is the bundle's and `sha256` what
    its files hash to; `size` is the input that its graphs were made for.
    """

    network: Network
    weights: Weights | Path
    folder: Path | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)

    def read(self) -> Weights:
        """Return the weights.

        :raises ModelError: the file is not the network's.
        """
        return read_weights(self.weights, self.network) if isinstance(self.weights, Path) else self.weights


def check_engine(name: str, precision: str = "fp32") -> None:
    """See that there is an engine of that name and precision and that its runtime is installed.

    :raises ModelError: one of them is not so.
    """
    if name == AUTO:
        return
    base, _, device = name.partition(":")
    kind = ENGINES.get(base)
    if kind is None:
        raise ModelError(f'there is no engine "{name}"; choose one of: {", ".join(ENGINES)}, {AUTO}')
    if device and device not in kind.devices:
        listed = ", ".join(f"{base}:{known}" for known in kind.devices) or base
        raise ModelError(f'there is no engine "{name}"; choose one of: {listed}')
    if precision not in kind.precisions:
        raise ModelError(f"the engine {base} computes at {', '.join(kind.precisions)}, not at {precision}")
    if not installed(base):
        raise ModelError(
            f'the engine "{base}" needs the package {kind.packages[0]}, which is not installed: {kind.install}'
        )


def installed(name: str) -> bool:
    """Say whether an engine's runtime is there, without importing it."""
    return any(importlib.util.find_spec(package) is not None for package in ENGINES[name].packages)


def load_engine(name: str, model: Model, precision: Precision = "fp32", ends: Ends | None = None) -> Engine:
    """Make the engine of that name ready.

    :param name: one of `ENGINES`, with a colon and a device where it has several.
    :raises ModelError: there is no such engine, its runtime is not installed, or it cannot take the network.
    """
    check_engine(name, precision)
    base, _, device = name.partition(":")
    module: Any = importlib.import_module(ENGINES[base].module)
    engine: Engine = module.make(model, precision, ends or Ends(), device or base)
    return engine
