"""The engines: a network made ready for one runtime, behind one protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.precision import Precision
from engine.darknet import Network, Weights, read_weights
from engine.runtime import find_runtime

if TYPE_CHECKING:
    from engine.models import Files
    from engine.onnx_network import OnnxNetwork
    from engine.onnx_preprocess import Preprocess

AUTO = "auto"
"""Not an engine: the fastest of those installed that agrees with the reference (`engine.choice`)."""


class Engine(Protocol):
    """A network that runs."""

    layout: Literal["NHWC", "NCHW"]
    """How its input lies in memory."""
    input: NDArray[Any]
    """The input, batch 1, written in place, then `infer()`: float32 RGB, 0 to 1; or, where the graph prepares the
    pixels, uint8 BGR."""
    description: str
    """What it says of itself: its arithmetic or its provider; empty where there is nothing to say."""

    def infer(self) -> list[NDArray[np.float32]]:
        """Run on `input` and return the raw heads, each (h, w, channels) or a view of it.

        Where the graph decodes the heads it returns boxes (n, 4) and scores (n, classes) instead; of another family
        than Darknet's, what its layout reads. The arrays may be the engine's own and change at the next call.
        """


@dataclass(frozen=True)
class GraphStages:
    """What stands beside the network in a runtime's graph: nothing by default."""

    preprocess: Preprocess | None = None
    postprocess: bool = False
    device: bool = False
    """Neither, where the engine can leave its ends in the card's memory: then it has `device`, and kernels of our own
    prepare and decode (`engine.cuda_stages`). An engine that cannot takes no notice."""


@dataclass(frozen=True)
class Model:
    """What an engine is made from: a network, its weights, and what conversion has made of them.

    `weights` may be the file, which is then read when an engine needs it; for a network of another family than
    Darknet's it is the ONNX file. `folder` is the bundle's and `sha256` what its files hash to.
    """

    network: Network | OnnxNetwork
    weights: Weights | Path
    folder: Path | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)
    files: Files | None = None
    """What it was read from."""

    def darknet(self) -> tuple[Network, Weights]:
        """Return the Darknet network and its weights.

        :raises UserError: it is of another family, or the file is not the network's.
        """
        if not isinstance(self.network, Network):
            raise UserError(f"{self.network.path}: this needs a Darknet network; choose another engine")
        read = isinstance(self.weights, Path)
        return self.network, read_weights(self.weights, self.network) if read else self.weights  # type: ignore


def check_engine(name: str, precision: str = "fp32") -> None:
    """See that there is an engine of that name and precision and that its runtime is installed.

    :raises UserError: one of them is not so.
    """
    if name == AUTO:
        return
    runtime = find_runtime(name)
    if precision not in runtime.precisions:
        raise UserError(f"the engine {runtime.name} computes at {', '.join(runtime.precisions)}, not at {precision}")
    if not runtime.installed:
        raise UserError(
            f'the engine "{runtime.name}" needs the package {runtime.packages[0]}, which is not installed: '
            f"{runtime.install}"
        )


def load_engine(name: str, model: Model, precision: Precision = "fp32", stages: GraphStages | None = None) -> Engine:
    """Make the engine of that name ready.

    :param name: a runtime's, with a colon and a device where it has several.
    :raises UserError: there is no such engine, its runtime is not installed, or it cannot take the network.
    """
    check_engine(name, precision)
    runtime = find_runtime(name)
    return runtime.load(model, precision, stages or GraphStages(), name.partition(":")[2] or runtime.name)
