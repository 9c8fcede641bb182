"""The engines: a network made ready for one runtime, behind one protocol. None is imported unless used."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.darknet import Network, Weights
from engine.errors import ModelError

ENGINES = ("openvino", "tensorflow")
"""The engines there are, by the file that holds each: engine/NAME_engine.py."""
PLANNED = ("tensorrt", "onnx", "auto")
"""Engines that profiles may name already."""

INSTALL = {
    "openvino": "`uv sync` installs OpenVINO",
    "tensorflow": "start with `uv run --extra tensorflow agent.py` (without uv: `pip install tensorflow`)",
}


class Engine(Protocol):
    """A network that runs."""

    layout: str
    """`NHWC` or `NCHW`: how its input lies in memory."""
    input: NDArray[np.float32]
    """The input, batch 1, RGB, 0 to 1: written in place, then `infer()`."""

    def infer(self) -> list[NDArray[np.float32]]:
        """Run on `input` and return the raw heads, each (h, w, channels) or a view of it.

        The arrays may be the engine's own and change at the next call.
        """


@dataclass(frozen=True)
class Model:
    """What an engine is made from: a Darknet network and its weights."""

    network: Network
    weights: Weights


def check_engine(name: str) -> None:
    """See that there is an engine of that name and that its runtime is installed.

    :raises ModelError: one of them is not so.
    """
    if name in PLANNED:
        raise ModelError(f'the engine "{name}" is not in this version yet; choose one of: {", ".join(ENGINES)}')
    if name not in ENGINES:
        raise ModelError(f'there is no engine "{name}"; choose one of: {", ".join(ENGINES)}')
    if importlib.util.find_spec(name) is None:
        raise ModelError(f'the engine "{name}" needs the package {name}, which is not installed: {INSTALL[name]}')


def load_engine(name: str, model: Model) -> Engine:
    """Make the engine of that name ready.

    :raises ModelError: there is no such engine, its runtime is not installed, or it cannot take the network.
    """
    check_engine(name)
    module: Any = importlib.import_module(f"engine.{name}_engine")
    engine: Engine = module.make(model)
    return engine
