"""Rounding the weights of a convolution so that its output, and not each weight, is nearest to the float one's.

Weights are rounded one input after the other; the error that each makes is made up for by those that are still to come,
weighed by how the inputs go together on real pictures (Frantar et al., "GPTQ", 2023; LeCun, Denker and Solla, "Optimal
brain damage", 1990, for the idea). The bias, an input that is always 1, comes last and is not rounded: it takes up the
mean error. What a convolution reads is taken from the float network, patches at random places, so memory does not grow
with the pictures.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import numpy_helper

from conversion.calibration import activations
from conversion.pictures import Pictures
from conversion.quantization import ALL_CODES, Codes, QuantizedWeights, convolutions, quantized_weights
from core.geometry import Fit
from core.progress import Progress, silent

PICTURES = 96
"""Looked at, evenly spaced."""
PATCHES = 4
"""A weight of a row; and at the least `FEWEST` in all."""
FEWEST = 4096
DAMPING = 0.01
"""Added to the diagonal, of its mean: what is hardly ever seen must not be driven far."""
MEMORY = 600_000_000
"""Bytes of moments that are gathered in one pass over the pictures."""
BLOCK = 128
"""Inputs whose errors are handed on together."""

Moments = NDArray[np.float32]
"""Sums of the products of every two inputs of a convolution, the bias's 1 last, (n + 1, n + 1), a patch."""


@dataclass(frozen=True)
class _Layer:
    """A convolution as it stands in the graph."""

    node: onnx.NodeProto
    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]

    @property
    def inputs(self) -> int:
        return int(self.kernel[0].size)

    def setting(self, name: str, default: int) -> int:
        found = (a for a in self.node.attribute if a.name == name)
        return next((int(a.ints[0]) if a.ints else int(a.i) for a in found), default)


def rounded(
    model: onnx.ModelProto,
    pictures: Pictures,
    fit: Fit,
    allowed: Sequence[Codes],
    progress: Progress = silent,
) -> dict[Codes, dict[str, QuantizedWeights]]:
    """Return the codes of every convolution, by its name, for each set of codes that weights may have.

    Those that are grouped, or have no bias, are left out: they are rounded weight by weight.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    layers = [
        _Layer(node, *(numpy_helper.to_array(constants[name]) for name in node.input[1:3]))
        for node in convolutions(model)
        if len(node.input) > 2
    ]
    layers = [layer for layer in layers if layer.setting("group", 1) == 1]
    result: dict[Codes, dict[str, QuantizedWeights]] = {codes: {} for codes in allowed}
    done = 0
    for part in _parts(layers):
        for layer, moments in zip(part, _moments(model, part, pictures, fit), strict=True):
            passing = passing_on(moments)
            for codes in allowed:
                result[codes][layer.node.name] = round_weights(layer.kernel, layer.bias, moments, passing, codes)
            done += 1
            progress("rounding weights", done, len(layers))
    return result


def _parts(layers: Sequence[_Layer]) -> Iterator[list[_Layer]]:
    part: list[_Layer] = []
    size = 0
    for layer in layers:
        need = 4 * (layer.inputs + 1) ** 2
        if part and size + need > MEMORY:
            yield part
            part, size = [], 0
        part.append(layer)
        size += need
    if part:
        yield part


def _moments(model: onnx.ModelProto, layers: Sequence[_Layer], pictures: Pictures, fit: Fit) -> list[Moments]:
    sums = [np.zeros((layer.inputs + 1, layer.inputs + 1), np.float32) for layer in layers]
    seen = [0] * len(layers)
    # Each layer has chances of its own, so that it gets the same patches in whichever pass it is.
    draws = [np.random.default_rng(zlib.crc32(layer.node.name.encode())) for layer in layers]
    usable = (picture for _, picture in pictures.each(PICTURES))
    wanted = min(len(pictures), PICTURES)
    tensors = sorted({layer.node.input[0] for layer in layers})
    for _, values in activations(model, tensors, usable, fit):
        for i, layer in enumerate(layers):
            count = -(-max(PATCHES * layer.inputs, FEWEST) // wanted)
            patches = _patches(layer, values[layer.node.input[0]], count, draws[i])
            sums[i] += patches.T @ patches
            seen[i] += len(patches)
    for total, count in zip(sums, seen, strict=True):
        total /= max(count, 1)
    return sums


def _patches(layer: _Layer, value: NDArray[np.float32], count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return what the kernel sees at random places, and a 1: (count, inputs + 1)."""
    side, stride = layer.kernel.shape[2], layer.setting("strides", 1)
    pads = next((list(a.ints) for a in layer.node.attribute if a.name == "pads"), [0] * 4)
    padded = np.pad(value, ((0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    windows = sliding_window_view(padded, (side, layer.kernel.shape[3]), (1, 2))[:, ::stride, ::stride]
    height, width = windows.shape[1:3]
    at = rng.choice(height * width, min(count, height * width), replace=False)
    found = windows[:, at // width, at % width].transpose(1, 0, 2, 3).reshape(len(at), -1)
    return np.hstack((found, np.ones((len(at), 1), np.float32)))


@dataclass(frozen=True)
class PassingOn:
    """In which order the inputs of a convolution are rounded, and how those to come make up for the error of each.

    Row j of `factor`, upper triangular, says how the inputs after the jth make up for an error in it.
    """

    order: NDArray[np.intp]
    factor: NDArray[np.float64]


def passing_on(moments: Moments) -> PassingOn:
    """Return it for the moments of a convolution's inputs: the work that is the same whatever codes are allowed."""
    count = len(moments) - 1
    # The most active inputs first, while there are many left to make up for them; the bias last.
    order = np.append(np.argsort(-np.diag(moments)[:count], kind="stable"), count)
    products = moments[np.ix_(order, order)].astype(np.float64)
    products[np.arange(count), np.arange(count)] += max(DAMPING * float(np.diag(products)[:count].mean()), 1e-12)
    products[count, count] += 1e-9
    return PassingOn(order, np.linalg.cholesky(np.linalg.inv(products)).T)


def round_weights(
    kernel: NDArray[np.float32],
    bias: NDArray[np.float32],
    moments: Moments,
    passing: PassingOn,
    allowed: Codes = ALL_CODES,
) -> QuantizedWeights:
    """Return codes, scales and the bias that goes with them.

    :param kernel: (out, in, height, width).
    :param passing: of these moments, see `passing_on`.
    """
    allowed = allowed.of(kernel)
    rows = np.hstack((kernel.reshape(len(kernel), -1), bias[:, None])).astype(np.float64)
    plain = quantized_weights(kernel, allowed)
    step = plain.scales.astype(np.float64)
    codes, shifted = _compensated(rows, step, passing, allowed, kernel[0, 0].size)
    # It goes from one input to the next and is not always the better: where it is not, the row stays as it was.
    simple = plain.codes.reshape(len(kernel), -1)
    made, other = (
        _error(rows - np.hstack((each * step[:, None], end[:, None])), moments)
        for each, end in ((codes, shifted), (simple, rows[:, -1]))
    )
    worse = made >= other
    codes[worse], shifted[worse] = simple[worse], rows[worse, -1]
    return QuantizedWeights(codes.reshape(kernel.shape).astype(np.int8), plain.scales, shifted.astype(np.float32))


def _error(off: NDArray[np.float64], moments: Moments) -> NDArray[np.float64]:
    """Return the mean squared error at the output of rows that are off by so much."""
    return np.einsum("ij,ij->i", off @ moments.astype(np.float64), off)


def _compensated(
    rows: NDArray[np.float64], step: NDArray[np.float64], passing: PassingOn, allowed: Codes, taps: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the codes of rows, whose last entry is the bias, and the biases that go with them.

    :param taps: weights of a channel, which are side by side in a row.
    """
    order, factor = passing.order, passing.factor
    count = len(order) - 1
    left = rows[:, order]
    codes = np.zeros((len(rows), count))
    # Whose code together with that of an input is limited: the same tap of the other channel of the pair.
    place = np.argsort(order[:count])
    channel, tap = np.divmod(order[:count], taps)
    partner = place[np.minimum((channel ^ 1) * taps + tap, count - 1)]
    for first in range(0, count, BLOCK):
        last = min(first + BLOCK, count)
        errors = np.zeros((len(rows), last - first))
        for j in range(first, last):
            # 0 for a partner that comes later, and gets what this one leaves.
            end = np.minimum(allowed.largest, allowed.pair - np.abs(codes[:, partner[j]]))
            codes[:, j] = np.clip(np.rint(left[:, j] / step), -end, end)
            errors[:, j - first] = (left[:, j] - codes[:, j] * step) / factor[j, j]
            left[:, j + 1 : last] -= errors[:, j - first, None] * factor[j, j + 1 : last]
        left[:, last:] -= errors @ factor[first:last, last:]
    placed = np.empty_like(codes)
    placed[:, order[:count]] = codes
    return placed, left[:, count]
