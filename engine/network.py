"""A Darknet network as its cfg says it is: sections, layers, heads, and the weights that belong to them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.geometry import LETTERBOX, STRETCH, Fit
from core.text import number, shown

LARGEST = 2**31 - 1
"""The most numbers that a layer, or a network's weights, can have; more than any machine holds."""
BN_EPSILON = 1e-5
SHARE_EPSILON = 1e-4
LEAST_WEIGHT = 1e-3
"""Of a shortcut's weight before it becomes a share, as Darknet has it."""


@dataclass(frozen=True)
class Section:
    """A cfg section as it stands: its kind, its options as text, and the line it begins at."""

    kind: str
    options: dict[str, str]
    line: int
    path: str = "<cfg>"

    def whole(self, key: str, default: int | None = None) -> int:
        """Return an option as an int.

        :raises UserError: it is missing and has no default, or is no whole number.
        """
        return int(self._parsed(key, default, int))

    def real(self, key: str, default: float) -> float:
        """Return an option as a float.

        :raises UserError: it is no number.
        """
        return float(self._parsed(key, default, float))

    def numbers(self, key: str, kind: type = int) -> list[Any]:
        """Return an option as a list, empty when it is missing.

        :raises UserError: an entry is no number.
        """
        text = self.options.get(key, "")
        try:
            return [_parsed_number(part, kind) for part in text.split(",") if part.strip()]
        except ValueError:
            raise self.error(f'{key}="{shown(text)}" is not a list of numbers') from None

    def error(self, what: str) -> UserError:
        """Return an error that names the file, the section's line and its kind."""
        return UserError(f"{self.path}:{self.line}: [{self.kind}] {what}")

    def _parsed(self, key: str, default: Any, kind: type) -> Any:
        if key not in self.options:
            if default is None:
                raise self.error(f"needs the option {key}")
            return default
        try:
            return _parsed_number(self.options[key], kind)
        except ValueError:
            raise self.error(f'{key}="{shown(self.options[key])}" is not a number') from None


def _parsed_number(text: str, kind: type) -> Any:
    value = number(text)
    if kind is int and (value != int(value) or abs(value) > LARGEST):
        raise ValueError(text)
    return kind(value)


@dataclass(frozen=True)
class Blur:
    """What `antialiasing` puts after a layer: each channel by itself, weighed by a small kernel.

    :param size: 3, whose sides are 1 2 1 and which is padded by 1, or 2, which is a mean and is not padded.
    :param strides: down and across; the layer's own become 1.
    """

    size: int
    strides: tuple[int, int]

    @property
    def pad(self) -> int:
        """Cells on every side."""
        return 1 if self.size == 3 else 0

    def kernel(self, channels: int) -> NDArray[np.float32]:
        """Return its weights, (channels, 1, size, size)."""
        side = np.array((1, 2, 1) if self.size == 3 else (1, 1), np.float32)
        one = np.outer(side, side) / side.sum() ** 2
        return np.tile(one, (channels, 1, 1, 1)).astype(np.float32)

    def shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return what becomes of a shape."""
        height, width = ((n + 2 * self.pad - self.size) // s + 1 for n, s in zip(shape, self.strides, strict=False))
        return height, width, shape[2]


@dataclass(frozen=True)
class Pool:
    """A [maxpool], or a [local_avgpool], whose mean is of the cells within the picture.

    :param pads: top, left, bottom, right.
    :param depth: the channels that are left where it takes the largest of channels, not of cells; else 0.
    """

    size: int
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    blur: Blur | None = None
    depth: int = 0


@dataclass(frozen=True)
class Fusion:
    """The weights of a [shortcut]: one for each of the layers that it adds, or one for each of their channels.

    `normalization` is `none`, `relu` or `softmax`: what makes shares of them.
    """

    layers: int
    channels: int
    normalization: str = "none"

    @property
    def floats(self) -> int:
        """How many float32 they take."""
        return self.layers * self.channels

    def shares(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what each layer is multiplied by, (layers, channels)."""
        table = weights.reshape(self.layers, self.channels).astype(np.float64)
        if self.normalization == "relu":
            table = np.maximum(table, LEAST_WEIGHT)
        elif self.normalization == "softmax":
            table = np.exp(table - table.max(axis=0))
        if self.normalization != "none":
            table = table / (SHARE_EPSILON + table.sum(axis=0))
        return table.astype(np.float32)


@dataclass(frozen=True)
class Convolution:
    """A convolutional layer and what its weights hold."""

    index: int
    filters: int
    size: int
    strides: tuple[int, int]
    """Down and across."""
    pad: int
    groups: int
    batch_normalize: bool
    activation: str
    channels: int
    """Channels of its input."""
    dilation: int = 1
    blur: Blur | None = None
    flipped: bool = False
    """Whether the file holds its kernel as (in / groups * height * width, out)."""

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """Out, in / groups, height, width."""
        return self.filters, self.channels // self.groups, self.size, self.size

    @property
    def floats(self) -> int:
        """How many float32 its weights take."""
        return self.filters * (4 if self.batch_normalize else 1) + math.prod(self.kernel_shape)


@dataclass(frozen=True)
class Head:
    """A [yolo] layer: how the channels of the layer before it are boxes.

    `anchors` are (width, height) in pixels of the network's input, only those of this head's mask.
    """

    index: int
    classes: int
    anchors: tuple[tuple[float, float], ...]
    scale_x_y: float = 1.0
    new_coords: bool = False


@dataclass(frozen=True)
class Layer:
    """A layer resolved: which layers it takes its input from and the shape it gives.

    `inputs` are indices of layers, -1 for the network's input; `shape` is (height, width, channels).
    """

    index: int
    kind: str
    inputs: tuple[int, ...]
    shape: tuple[int, int, int]
    section: Section
    convolution: Convolution | None = None
    head: Head | None = None
    pool: Pool | None = None
    fusion: Fusion | None = None
    activation: str = "linear"
    """Of a layer that is no convolution."""


@dataclass(frozen=True)
class Network:
    """A cfg, read and checked: the layers in order."""

    path: str
    width: int
    height: int
    channels: int
    layers: tuple[Layer, ...]
    letter_box: bool = False
    text: str = ""
    """The cfg as it stands in its file."""

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        """In the order of the weights file."""
        return tuple(layer.convolution for layer in self.layers if layer.convolution is not None)

    @property
    def heads(self) -> tuple[Head, ...]:
        """In the order of the cfg."""
        return tuple(layer.head for layer in self.layers if layer.head is not None)

    @property
    def classes(self) -> int:
        """How many classes each head tells apart."""
        return self.heads[0].classes

    @property
    def floats(self) -> int:
        """How many float32 the weights file holds."""
        fusions = sum(layer.fusion.floats for layer in self.layers if layer.fusion is not None)
        return sum(convolution.floats for convolution in self.convolutions) + fusions

    @property
    def fit(self) -> Fit:
        """How a picture is fitted into its input."""
        return LETTERBOX if self.letter_box else STRETCH


@dataclass
class Weights:
    """The weights of a network, in the order of its convolutions.

    Each entry maps `beta` (or the bias), `gamma`, `mean`, `variance` (with batch norm only), each
    (filters,), and `kernel` (out, in / groups, height, width), all float32.
    """

    arrays: list[dict[str, NDArray[np.float32]]]
    version: tuple[int, int, int] = (0, 2, 5)
    seen: int = 0
    fusions: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    """Those of shortcuts, by the layer's index."""
