"""The layers of Darknet cfgs, resolved: what each takes in, and the shape it gives. The formulas are Darknet's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from core.text import shown
from engine.network import LARGEST, Blur, Convolution, Fusion, Head, Layer, Pool, Section

ACTIVATIONS = frozenset(
    {"linear", "leaky", "mish", "hard_mish", "logistic", "relu", "relu6", "swish", "elu", "selu", "tanh", "hardtan"}
)
SYNONYMS = {
    "conv": "convolutional", "max": "maxpool", "avg": "avgpool", "local_avg": "local_avgpool", "silence": "empty",
}  # fmt: skip
"""Darknet's short names of sections."""
OUT_OF_SCOPE = {
    "Gaussian_yolo": "gives a deviation for each side of a box, which is not decoded",
    "crnn": "remembers the pictures before, and a network here sees each by itself",
    "conv_lstm": "remembers the pictures before, and a network here sees each by itself",
    "rnn": "remembers the pictures before, and a network here sees each by itself",
    "gru": "remembers the pictures before, and a network here sees each by itself",
    "lstm": "remembers the pictures before, and a network here sees each by itself",
    "reorg3d": "is of experiments that were given up",
    "region": "is YOLOv2's head; networks with [yolo] layers are read",
}
UNSUPPORTED: Mapping[str, Mapping[str, int]] = {
    "convolutional": {
        "share_index": -1000000000, "xnor": 0, "binary": 0, "coordconv": 0, "dontload": 0, "dontloadscales": 0,
        "steps": 0,
    },
    "shortcut": {"dontload": 0},
    "upsample": {"reverse": 0},
}  # fmt: skip
"""Options that change what a layer computes and are not computed here, with the value that changes nothing."""


@dataclass
class Shapes:
    """What is known when a layer is resolved."""

    layers: Sequence[Layer]
    input: tuple[int, int, int]
    section: Section

    def previous(self) -> tuple[int, int, int]:
        """Return the shape of the layer before."""
        return self.layers[-1].shape if self.layers else self.input

    def absolute(self, reference: int) -> int:
        """Return the index of a layer that is named relative to this one (negative) or absolutely."""
        index = len(self.layers) + reference if reference < 0 else reference
        if not 0 <= index < len(self.layers):
            raise self.section.error(f"names layer {reference}, which is not before it")
        return index


def _strides(section: Section) -> tuple[int, int]:
    """Return the strides down and across."""
    stride = section.whole("stride", 1)
    down, across = (section.whole(key, 0) for key in ("stride_y", "stride_x"))
    strides = (down if down > 0 else stride, across if across > 0 else stride)
    if min(strides) < 1:
        raise section.error("has a stride below 1")
    return strides


def _blur(section: Section, strides: tuple[int, int]) -> tuple[Blur | None, tuple[int, int]]:
    """Return what antialiasing puts behind a layer, and the strides that the layer itself is left with."""
    kind = section.whole("antialiasing", 0)
    if not kind:
        return None, strides
    return Blur(2 if kind == 2 else 3, strides), (1, 1)


def _slid(
    section: Section, shapes: Shapes, more: int, strides: tuple[int, int], channels: int, blur: Blur | None
) -> tuple[int, int, int]:
    """Return the shape that a window gives which slides over the layer before, and what is behind it.

    :param more: the padding in all, less the window's reach.
    """
    height, width, _ = shapes.previous()
    down, across = ((side + more) // stride + 1 for side, stride in zip((height, width), strides, strict=True))
    shape = (down, across, channels)
    if blur is not None and min(shape) > 0:
        shape = blur.shape(shape)
    if min(shape) < 1:
        raise section.error(f"shrinks {width}x{height} to nothing; the input is too small for this cfg")
    return shape


def _activation(section: Section, default: str) -> str:
    activation = section.options.get("activation", default)
    if activation not in ACTIVATIONS:
        raise section.error(f"has activation={shown(activation)}; known are {', '.join(sorted(ACTIVATIONS))}")
    return activation


def _convolutional(section: Section, index: int, shapes: Shapes) -> Layer:
    channels = shapes.previous()[2]
    size = section.whole("size", 1)
    pad = size // 2 if section.whole("pad", 0) else section.whole("padding", 0)
    filters, groups = section.whole("filters", 1), section.whole("groups", 1)
    activation = _activation(section, "logistic")
    dilation = section.whole("dilation", 1) if size > 1 else 1
    if min(size, filters, groups, dilation) < 1 or pad < 0:
        raise section.error("size, stride, filters, groups and dilation must be 1 or more")
    if channels % groups or filters % groups:
        raise section.error(f"has groups={groups}, which does not divide {channels} and {filters} channels")
    blur, strides = _blur(section, _strides(section))
    reach = dilation * (size - 1) + 1
    if dilation > 1 and 2 * pad * dilation - reach != 2 * pad - size:
        raise section.error(f"has dilation={dilation}, which is supported with an odd size and pad=1 only")
    shape = _slid(section, shapes, 2 * pad * dilation - reach, strides, filters, blur)
    convolution = Convolution(
        index,
        filters,
        size,
        strides,
        pad * dilation,
        groups,
        bool(section.whole("batch_normalize", 0)),
        activation,
        channels,
        dilation,
        blur,
        bool(section.whole("flipped", 0)),
    )
    return Layer(index, section.kind, (index - 1,), shape, section, convolution)


def _maxpool(section: Section, index: int, shapes: Shapes) -> Layer:
    height, width, channels = shapes.previous()
    if section.kind == "maxpool" and section.whole("maxpool_depth", 0):
        left = section.whole("out_channels", 1)
        if left < 1 or channels % left:
            raise section.error(f"has out_channels={left}, which does not divide {channels} channels")
        pool = Pool(1, (1, 1), (0, 0, 0, 0), None, left)
        return Layer(index, section.kind, (index - 1,), (height, width, left), section, pool=pool)
    blur, strides = _blur(section, _strides(section)) if section.kind == "maxpool" else (None, _strides(section))
    size = section.whole("size", section.whole("stride", 1))
    padding = section.whole("padding", size - 1)
    before = padding // 2
    if size < 1 or padding < 0 or padding - before >= size:
        raise section.error(f"has size={size} and padding={padding}, which do not go together")
    shape = _slid(section, shapes, padding - size, strides, channels, blur)
    # Darknet's padding is in all: half of it, rounded down, comes first.
    pads = (before, before, padding - before, padding - before)
    return Layer(index, section.kind, (index - 1,), shape, section, pool=Pool(size, strides, pads, blur))


def _avgpool(section: Section, index: int, shapes: Shapes) -> Layer:
    return Layer(index, section.kind, (index - 1,), (1, 1, shapes.previous()[2]), section)


def _same(section: Section, index: int, shapes: Shapes) -> Layer:
    """Return a layer that matters to training alone."""
    return Layer(index, section.kind, (index - 1,), shapes.previous(), section)


def _sam(section: Section, index: int, shapes: Shapes) -> Layer:
    other = shapes.absolute(section.whole("from"))
    if shapes.layers[other].shape != shapes.previous():
        raise section.error("must multiply layers of the same shape, the one before it and the one named by from")
    activation = _activation(section, "linear")
    return Layer(index, section.kind, (index - 1, other), shapes.previous(), section, activation=activation)


def _scale_channels(section: Section, index: int, shapes: Shapes) -> Layer:
    other = shapes.absolute(section.whole("from"))
    shape, factors = shapes.layers[other].shape, shapes.previous()
    wanted = (*shape[:2], 1) if section.whole("scale_wh", 0) else (1, 1, shape[2])
    if factors != wanted:
        raise section.error(f"needs {wanted[1]}x{wanted[0]}x{wanted[2]} before it to scale the layer named by from")
    activation = _activation(section, "linear")
    return Layer(index, section.kind, (index - 1, other), shape, section, activation=activation)


def _upsample(section: Section, index: int, shapes: Shapes) -> Layer:
    height, width, channels = shapes.previous()
    stride = section.whole("stride", 2)
    if stride < 1:
        raise section.error(f"has stride={stride}; it is supported with 1 or more")
    return Layer(index, section.kind, (index - 1,), (height * stride, width * stride, channels), section)


def _route(section: Section, index: int, shapes: Shapes) -> Layer:
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


def _shortcut(section: Section, index: int, shapes: Shapes) -> Layer:
    if not shapes.layers:
        raise section.error("has no layer before it")
    inputs = (index - 1, *(shapes.absolute(reference) for reference in section.numbers("from")))
    # Of layers with more or fewer channels, those that both have are added, from the first on.
    if len(inputs) < 2 or len({shapes.layers[i].shape[:2] for i in inputs}) > 1:
        raise section.error("must add layers of the same width and height, named by from")
    shape = shapes.previous()
    activation = _activation(section, "linear")
    fusion = _fusion(section, len(inputs), shape[2])
    return Layer(index, section.kind, inputs, shape, section, fusion=fusion, activation=activation)


def _fusion(section: Section, layers: int, channels: int) -> Fusion | None:
    kind = section.options.get("weights_type", "none")
    each = {"per_feature": 1, "per_layer": 1, "per_channel": channels}
    # Darknet's own cfgs have it misspelt.
    normalization = next(
        (section.options[key] for key in ("weights_normalization", "weights_normalizion") if key in section.options),
        "none",
    )
    if kind == "none":
        return None
    if kind not in each or normalization not in ("none", "relu", "softmax"):
        raise section.error(
            f"has weights_type={shown(kind)} and weights_normalization={shown(normalization)}; known are none, "
            f"{', '.join(each)}, and none, relu, softmax"
        )
    return Fusion(layers, each[kind], normalization)


def _yolo(section: Section, index: int, shapes: Shapes) -> Layer:
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


RESOLVERS: dict[str, Callable[[Section, int, Shapes], Layer]] = {
    "convolutional": _convolutional,
    "maxpool": _maxpool,
    "local_avgpool": _maxpool,
    "avgpool": _avgpool,
    "sam": _sam,
    "scale_channels": _scale_channels,
    "dropout": _same,
    "contrastive": _same,
    "empty": _same,
    "upsample": _upsample,
    "route": _route,
    "shortcut": _shortcut,
    "yolo": _yolo,
}


def check_options(section: Section) -> None:
    """Refuse an option that changes what a layer computes and is not computed here."""
    for key, neutral in UNSUPPORTED.get(section.kind, {}).items():
        if section.whole(key, neutral) != neutral:
            raise section.error(f"has {key}={section.whole(key)}, which is not supported")
