"""Darknet's files: the cfg that describes a network, and the weights.

Sources: the layout of both is what AlexeyAB's darknet reads (parser.c); the facts used here are that
weights are little-endian float32 after a header of major, minor, revision (int32) and the number of images
seen (int64 from version 0.2 on, int32 before), and that a convolution stores bias (or the batch norm's
beta), then gamma, mean, variance, then its kernel as (out, in / groups, height, width).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.files import atomic_file
from core.geometry import LETTERBOX, STRETCH, Fit
from core.text import number, read_text, shown

ACTIVATIONS = frozenset({"linear", "leaky", "mish", "logistic", "relu", "swish"})
BN_EPSILON = 1e-5
LARGEST = 2**31 - 1
"""The most numbers that a layer, or a network's weights, can have; more than any machine holds."""
LARGEST_WEIGHT = 1e18
"""A trained network's weights are far below; what is above overflows in the first layers."""
UNSUPPORTED: Mapping[str, Mapping[str, int]] = {
    "convolutional": {
        "stride_x": 0, "stride_y": 0, "share_index": 0, "antialiasing": 0, "xnor": 0, "binary": 0, "flipped": 0,
        "assisted_excitation": 0, "deform": 0, "dilation": 1,
    },
    "maxpool": {"stride_x": 0, "stride_y": 0, "antialiasing": 0, "maxpool_depth": 0, "out_channels": 1},
    "upsample": {"reverse": 0},
}  # fmt: skip
"""Options that change what a layer computes and are not computed here, with the value that changes nothing."""
EMPTY = -8.0
"""An objectness, before the sigmoid, that is next to nothing."""


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
class Convolution:
    """A convolutional layer and what its weights hold."""

    index: int
    filters: int
    size: int
    stride: int
    pad: int
    groups: int
    batch_normalize: bool
    activation: str
    channels: int
    """Channels of its input."""

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
        return sum(convolution.floats for convolution in self.convolutions)

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


def read_cfg(path: Path, size: tuple[int, int] | None = None) -> Network:
    """Read a cfg file.

    :param size: width and height of the input in place of the cfg's own, pixels.
    :raises UserError: the file is missing, is not a cfg, or has a layer that is not known.
    """
    return parse_cfg(read_text(path, "the cfg", any_encoding=True), str(path), size)


def parse_cfg(text: str, path: str = "<cfg>", size: tuple[int, int] | None = None) -> Network:
    """Resolve a cfg's text; see `read_cfg`."""
    sections = list(_sections(text, path))
    if not sections or sections[0].kind not in ("net", "network"):
        raise UserError(f"{path}:1: a Darknet cfg begins with [net]; is this one?")
    net = sections[0]
    width, height = size or (net.whole("width"), net.whole("height"))
    channels = net.whole("channels", 3)
    if min(width, height) <= 0 or max(width, height) > 16384 or channels != 3:
        raise net.error(f"the input must be a picture of 3 channels, not {width}x{height}x{channels}")
    layers: list[Layer] = []
    for index, section in enumerate(sections[1:]):
        resolve = _RESOLVERS.get(section.kind)
        if resolve is None:
            raise section.error(f"is not a layer of YOLOv3 or YOLOv4; known are {', '.join(_RESOLVERS)}")
        _check_options(section)
        layer = resolve(section, index, _Shapes(layers, (height, width, channels), section))
        if math.prod(layer.shape) > LARGEST or (layer.convolution is not None and layer.convolution.floats > LARGEST):
            raise section.error("has more values than any machine holds; are its numbers right?")
        layers.append(layer)
    network = Network(path, width, height, channels, tuple(layers), bool(net.whole("letter_box", 0)), text)
    if network.floats > LARGEST:
        raise net.error("has more weights than any machine holds; are the numbers of its layers right?")
    _check_heads(network, net)
    return network


def check_weights(path: Path, network: Network) -> tuple[tuple[int, int, int], int, int]:
    """See by its header and size that a file holds the weights of a network.

    :return: its version, the images it has seen, and the header's size in bytes.
    :raises UserError: the file is missing, is no weights file, or is too short or too long.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            version, seen, header = _read_header(file.read(20), path)
    except OSError as error:
        raise UserError(f"{path}: the weights cannot be read: {error.strerror}") from error
    needed, has = network.floats, size - header
    if has % 4:
        raise UserError(
            f"{path}: the file has {has:,} bytes of weights, which is no multiple of 4: {has % 4} are left over; it is "
            "damaged, copy it again"
        )
    if has != 4 * needed:
        raise UserError(
            f"{path}: the weights are {'too short' if has < 4 * needed else 'too long'} for {network.path}: it needs "
            f"{needed:,} numbers and the file has {has // 4:,}; use the weights that belong to this cfg"
        )
    return version, seen, header


def read_weights(path: Path, network: Network) -> Weights:
    """Read the weights of a network.

    :raises UserError: the file is missing, too short, too long, or holds what no network can use.
    """
    version, seen, header = check_weights(path, network)
    floats = np.fromfile(path, "<f4", offset=header)
    arrays, at = [], 0
    for convolution in network.convolutions:
        entry = {}
        for name, shape in _arrays(convolution):
            count = int(np.prod(shape))
            entry[name] = floats[at : at + count].reshape(shape)
            at += count
        _check_numbers(entry, convolution, path, network)
        arrays.append(entry)
    return Weights(arrays, version, seen)


def write_weights(path: Path, network: Network, weights: Weights) -> None:
    """Write a weights file; the file is complete or not there.

    :raises UserError: an array has another shape than the network's, or the file cannot be written.
    """
    if len(weights.arrays) != len(network.convolutions):
        raise UserError(
            f"{path}: {network.path} has {len(network.convolutions)} convolutions, not {len(weights.arrays)}"
        )
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        major, minor, _ = weights.version
        wide = major * 10 + minor >= 2
        file.write(struct.pack("<3i" + ("q" if wide else "i"), *weights.version, weights.seen))
        for convolution, entry in zip(network.convolutions, weights.arrays, strict=True):
            for name, shape in _arrays(convolution):
                if entry[name].shape != shape:
                    raise UserError(
                        f"{path}: layer {convolution.index}, {name}: expected {shape}, got {entry[name].shape}"
                    )
                file.write(np.ascontiguousarray(entry[name], "<f4").tobytes())


def random_weights(network: Network, seed: int, empty: bool = False) -> Weights:
    """Return weights that keep activations within bounds: for tests and for timing.

    Kernels have the variance 1 / fan-in, so that residual sums do not grow without bound.

    :param empty: bias every head against objects, so that there are about as few boxes as a real network finds.
    """
    rng = np.random.default_rng(seed)
    arrays = []
    for convolution in network.convolutions:
        n = convolution.filters
        fan_in = int(np.prod(convolution.kernel_shape[1:]))
        entry = {"beta": rng.normal(0, 0.1, n)}
        if convolution.batch_normalize:
            entry |= {
                "gamma": rng.uniform(0.8, 1.2, n),
                "mean": rng.normal(0, 0.1, n),
                "variance": rng.uniform(0.8, 1.2, n),
            }
        entry["kernel"] = rng.normal(0, fan_in**-0.5, convolution.kernel_shape)
        arrays.append({name: array.astype(np.float32) for name, array in entry.items()})
    if empty:
        order = {convolution.index: i for i, convolution in enumerate(network.convolutions)}
        for head in network.heads:
            (source,) = network.layers[head.index].inputs
            if source in order:
                arrays[order[source]]["beta"][4 :: 5 + head.classes] = EMPTY
    return Weights(arrays)


def _sections(text: str, path: str) -> Iterator[Section]:
    current: Section | None = None
    for row, raw in enumerate(text.split("\n"), 1):
        line = raw.split("#", 1)[0].split(";", 1)[0].strip()
        if not line:
            continue
        if line.startswith("["):
            if not line.endswith("]"):
                raise UserError(f'{path}:{row}: "{shown(line, 60)}" is neither a [section] nor an option')
            if current is not None:
                yield current
            current = Section(line[1:-1].strip(), {}, row, path)
        elif "=" in line and current is not None:
            key, value = line.split("=", 1)
            current.options.setdefault(key.strip(), value.strip())  # Darknet goes by the first
        else:
            raise UserError(f'{path}:{row}: "{shown(line, 60)}" is neither a [section] nor an option')
    if current is not None:
        yield current


@dataclass
class _Shapes:
    """What is known when a layer is resolved."""

    layers: Sequence[Layer]
    input: tuple[int, int, int]
    section: Section

    def previous(self) -> tuple[int, int, int]:
        return self.layers[-1].shape if self.layers else self.input

    def absolute(self, reference: int) -> int:
        """Return the index of a layer that is named relative to this one (negative) or absolutely."""
        index = len(self.layers) + reference if reference < 0 else reference
        if not 0 <= index < len(self.layers):
            raise self.section.error(f"names layer {reference}, which is not before it")
        return index


def _convolutional(section: Section, index: int, shapes: _Shapes) -> Layer:
    height, width, channels = shapes.previous()
    size, stride = section.whole("size", 1), section.whole("stride", 1)
    pad = size // 2 if section.whole("pad", 0) else section.whole("padding", 0)
    filters, groups = section.whole("filters", 1), section.whole("groups", 1)
    activation = section.options.get("activation", "logistic")
    if min(size, stride, filters, groups) < 1 or pad < 0:
        raise section.error("size, stride, filters and groups must be 1 or more")
    if activation not in ACTIVATIONS:
        raise section.error(f"has activation={shown(activation)}; known are {', '.join(sorted(ACTIVATIONS))}")
    if channels % groups or filters % groups:
        raise section.error(f"has groups={groups}, which does not divide {channels} and {filters} channels")
    shape = ((height + 2 * pad - size) // stride + 1, (width + 2 * pad - size) // stride + 1, filters)
    if min(shape) < 1:
        raise section.error(f"shrinks {width}x{height} to nothing; the input is too small for this cfg")
    normalize = bool(section.whole("batch_normalize", 0))
    convolution = Convolution(index, filters, size, stride, pad, groups, normalize, activation, channels)
    return Layer(index, section.kind, (index - 1,), shape, section, convolution)


def _maxpool(section: Section, index: int, shapes: _Shapes) -> Layer:
    height, width, channels = shapes.previous()
    stride = section.whole("stride", 1)
    size = section.whole("size", stride)
    if min(size, stride) < 1 or section.whole("padding", size - 1) != size - 1:
        raise section.error("is supported with its default padding only")
    shape = ((height - 1) // stride + 1, (width - 1) // stride + 1, channels)
    for out, side in ((shape[0], height), (shape[1], width)):
        # "same" padding puts half of what is needed first, Darknet half of size - 1; mostly that is the same.
        if max((out - 1) * stride + size - side, 0) // 2 != (size - 1) // 2:
            raise section.error(f"with size={size} and stride={stride} on {width}x{height} is not supported")
    return Layer(index, section.kind, (index - 1,), shape, section)


def _upsample(section: Section, index: int, shapes: _Shapes) -> Layer:
    height, width, channels = shapes.previous()
    stride = section.whole("stride", 2)
    if stride < 1 or section.real("scale", 1.0) != 1.0:
        raise section.error("is supported with stride 1 or more and scale 1 only")
    return Layer(index, section.kind, (index - 1,), (height * stride, width * stride, channels), section)


def _route(section: Section, index: int, shapes: _Shapes) -> Layer:
    references = section.numbers("layers")
    if not references:
        raise section.error("needs the option layers")
    inputs = tuple(shapes.absolute(reference) for reference in references)
    taken = [shapes.layers[i].shape for i in inputs]
    if len({shape[:2] for shape in taken}) > 1:
        sizes = ", ".join(f"{w}x{h}" for h, w, _ in taken)
        raise section.error(f"joins layers of different size ({sizes}); is the input a multiple of 32?")
    groups, group = section.whole("groups", 1), section.whole("group_id", 0)
    if groups < 1 or not 0 <= group < groups or any(channels % groups for _, _, channels in taken):
        raise section.error(f"has groups={groups}, group_id={group}, which do not divide its channels")
    channels = sum(shape[2] // groups for shape in taken)
    return Layer(index, section.kind, inputs, (*taken[0][:2], channels), section)


def _shortcut(section: Section, index: int, shapes: _Shapes) -> Layer:
    if not shapes.layers:
        raise section.error("has no layer before it")
    inputs = (index - 1, *(shapes.absolute(reference) for reference in section.numbers("from")))
    if len(inputs) < 2 or len({shapes.layers[i].shape for i in inputs}) > 1:
        raise section.error("must add layers of the same shape, named by from")
    for key in ("weights_type", "weights_normalization", "weights_normalizion"):
        if section.options.get(key, "none") != "none":
            raise section.error(f"has {key}={shown(section.options[key])}, which is not supported")
    if section.options.get("activation", "linear") != "linear":
        raise section.error("is supported with activation=linear only")
    return Layer(index, section.kind, inputs, shapes.previous(), section)


def _yolo(section: Section, index: int, shapes: _Shapes) -> Layer:
    numbers = section.numbers("anchors", float)
    pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
    classes = section.whole("classes", 20)
    mask = section.numbers("mask") or list(range(section.whole("num", len(pairs))))
    if not all(0 < value < LARGEST for value in numbers):
        raise section.error("has anchors that are not above 0; they are widths and heights in pixels")
    if len(numbers) % 2 or not mask or not all(0 <= m < len(pairs) for m in mask):
        raise section.error(f"has mask={mask} and {len(pairs)} anchors, which do not go together")
    channels = shapes.previous()[2]
    if classes < 1 or channels != len(mask) * (5 + classes):
        raise section.error(
            f"needs {len(mask)} x (5 + {classes}) = {len(mask) * (5 + classes)} channels and gets {channels}: "
            "set filters of the convolution before it"
        )
    scale = section.real("scale_x_y", 1.0)
    if not 1 <= scale <= 10:
        raise section.error(f"has scale_x_y={scale:g}; it is 1 or a little more")
    head = Head(
        index,
        classes,
        tuple(pairs[m] for m in mask),
        scale,
        bool(section.whole("new_coords", 0)),
    )
    return Layer(index, section.kind, (index - 1,), shapes.previous(), section, head=head)


_RESOLVERS = {
    "convolutional": _convolutional,
    "maxpool": _maxpool,
    "upsample": _upsample,
    "route": _route,
    "shortcut": _shortcut,
    "yolo": _yolo,
}


def _check_options(section: Section) -> None:
    both = section.options.get("stride")
    for key, neutral in UNSUPPORTED.get(section.kind, {}).items():
        # A stride of one direction may say what the stride of both does.
        if section.whole(key, neutral) != neutral and not (key.startswith("stride_") and section.options[key] == both):
            raise section.error(f"has {key}={section.whole(key)}, which is not supported")


def _check_heads(network: Network, net: Section) -> None:
    if not network.heads:
        raise net.error("has no [yolo] layer, so there is nothing to detect with")
    if len({head.classes for head in network.heads}) > 1:
        raise net.error("has [yolo] layers with different numbers of classes")


def _read_header(data: bytes, path: Path) -> tuple[tuple[int, int, int], int, int]:
    if len(data) < 16:
        raise UserError(f"{path}: this is too short to be a weights file ({len(data)} bytes)")
    major, minor, revision = struct.unpack_from("<3i", data)
    if not (0 <= major < 1000 and 0 <= minor < 1000):
        raise UserError(f"{path}: this is not a Darknet weights file (it says version {major}.{minor})")
    if major * 10 + minor >= 2:
        if len(data) < 20:
            raise UserError(f"{path}: this is too short to be a weights file ({len(data)} bytes)")
        return (major, minor, revision), _seen(struct.unpack_from("<q", data, 12)[0], path), 20
    return (major, minor, revision), _seen(struct.unpack_from("<i", data, 12)[0], path), 16


def _seen(count: int, path: Path) -> int:
    if count < 0:
        raise UserError(f"{path}: this is not a Darknet weights file (it says that it has seen {count} images)")
    return count


def _arrays(convolution: Convolution) -> list[tuple[str, tuple[int, ...]]]:
    n = (convolution.filters,)
    normal = [("gamma", n), ("mean", n), ("variance", n)] if convolution.batch_normalize else []
    return [("beta", n), *normal, ("kernel", convolution.kernel_shape)]


def _check_numbers(
    entry: dict[str, NDArray[np.float32]], convolution: Convolution, path: Path, network: Network
) -> None:
    """Refuse numbers that a trained network cannot have: the sign of weights of another cfg as large."""
    finite = all(bool((np.abs(array) < LARGEST_WEIGHT).all()) for array in entry.values())  # which NaN is not
    if not finite or ("variance" in entry and (entry["variance"] < 0).any()):
        raise UserError(
            f"{path}: the weights of layer {convolution.index} are not those of a trained {network.path} "
            "(a variance below 0, or a value that is no number or too large); use the weights that belong to this cfg"
        )
