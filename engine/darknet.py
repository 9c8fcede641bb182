"""Darknet's files: the cfg that describes a network, and the weights.

Sources: the layout of both is what AlexeyAB's darknet reads (parser.c); the facts used here are that
weights are little-endian float32 after a header of major, minor, revision (int32) and the number of images
seen (int64 from version 0.2 on, int32 before), and that a convolution stores bias (or the batch norm's
beta), then gamma, mean, variance, then its kernel as (out, in / groups, height, width).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from core.errors import UserError
from core.text import read_text, shown
from engine.darknet_layers import OUT_OF_SCOPE, RESOLVERS, SYNONYMS, Shapes, check_options
from engine.darknet_weights import check_weights, random_weights, read_weights, write_weights
from engine.network import BN_EPSILON, LARGEST, Convolution, Head, Layer, Network, Section, Weights

__all__ = [
    "BN_EPSILON", "Convolution", "Head", "Layer", "Network", "Section", "Weights", "check_weights", "parse_cfg",
    "random_weights", "read_cfg", "read_weights", "write_weights",
]  # fmt: skip


NET_OPTIONS = ("width", "height", "channels", "letter_box")
"""What of [net] says something about the network."""


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
        resolve = RESOLVERS.get(section.kind)
        if resolve is None:
            why = OUT_OF_SCOPE.get(
                section.kind, f"is not a layer of YOLOv3 or YOLOv4; known are {', '.join(RESOLVERS)}"
            )
            raise section.error(why)
        check_options(section)
        layer = resolve(section, index, Shapes(layers, (height, width, channels), section))
        if math.prod(layer.shape) > LARGEST or (layer.convolution is not None and layer.convolution.floats > LARGEST):
            raise section.error("has more values than any machine holds; are its numbers right?")
        layers.append(layer)
    network = Network(path, width, height, channels, tuple(layers), bool(net.whole("letter_box", 0)), text)
    if network.floats > LARGEST:
        raise net.error("has more weights than any machine holds; are the numbers of its layers right?")
    _check_heads(network, net)
    return network


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
            kind = line[1:-1].strip()
            current = Section(SYNONYMS.get(kind, kind), {}, row, path)
        elif "=" in line and current is not None:
            key, value = line.split("=", 1)
            _option(current, key.strip(), value.strip(), row)
        else:
            raise UserError(f'{path}:{row}: "{shown(line, 60)}" is neither a [section] nor an option')
    if current is not None:
        yield current


def _option(section: Section, key: str, value: str, row: int) -> None:
    """Take an option in; Darknet would go by the first of two, and whoever added the second meant that.

    What only training reads may stand in [net] twice, as in yolov3-openimages.cfg.
    """
    before = section.options.setdefault(key, value)
    if before != value and (section.kind not in ("net", "network") or key in NET_OPTIONS):
        raise UserError(
            f"{section.path}:{row}: [{section.kind}] has {key}={shown(value)} here and {key}={shown(before)} before; "
            "leave one of them"
        )


def _check_heads(network: Network, net: Section) -> None:
    if not network.heads:
        raise net.error("has no [yolo] layer, so there is nothing to detect with")
    if len({head.classes for head in network.heads}) > 1:
        raise net.error("has [yolo] layers with different numbers of classes")
