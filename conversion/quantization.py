"""INT8 written into an ONNX graph as QuantizeLinear and DequantizeLinear pairs, where TensorRT wants them.

The rules (NVIDIA, "Working with quantized types", and what the TensorRT-RTX builder makes of it): every input of a
convolution is quantised and its output is not; of the two inputs of an Add the one that was there first is; what only
moves or chooses numbers (Concat, MaxPool, Resize, Slice) has one scale for its inputs and its output; weights are
int8, symmetric, a scale a channel; biases stay float.

Two schemes for the same ranges: `symmetric` is int8 with zero point 0, the only one that TensorRT takes; `asymmetric`
is uint8 with a zero point, which OpenVINO and ONNX Runtime run as exactly as it is written (OpenVINO runs signed
activations inexactly), and which spends no codes on negative numbers that a leaky activation does not give.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from core.errors import UserError
from engine.onnx_graph import IMAGE
from engine.onnx_int8 import PAIR

Scheme = Literal["symmetric", "asymmetric"]
SCHEMES: tuple[Scheme, ...] = ("symmetric", "asymmetric")

SAME_SCALE = frozenset({"Concat", "MaxPool", "Resize", "Slice", "Split"})
"""Operations that give out the very numbers they take in."""


@dataclass(frozen=True)
class TensorGroup:
    """Tensors that share one scale.

    `observed` are those that a convolution reads: theirs are the values that the scale must suit. (What a MaxPool
    drops needs no codes.)
    """

    tensors: tuple[str, ...]
    observed: tuple[str, ...]

    @property
    def name(self) -> str:
        """The first tensor's name."""
        return self.tensors[0]


@dataclass(frozen=True)
class Codes:
    """Which codes weights may have.

    :param largest: the largest magnitude.
    :param pair: the largest sum of the magnitudes of an even input channel's weight and the next one's.
    """

    largest: int = 127
    pair: int = 254

    def of(self, kernel: NDArray[Any]) -> Codes:
        """Return what holds for a kernel, (out, in, height, width).

        Where channels do not go in pairs it is open which two products meet, so that any two must be small enough.
        """
        even = kernel.shape[1] % 2 == 0
        return self if even or not self.paired else Codes(self.pair // 2, self.pair)

    @property
    def paired(self) -> bool:
        """Whether two weights can be too large together."""
        return self.pair < 2 * self.largest


ALL_CODES = Codes()
PAIRED_CODES = Codes(pair=PAIR)
"""What every CPU computes right, see `engine.onnx_int8`. Few pairs of weights are larger: in yolov4-tiny 1 to 7 % of
those of a layer."""


@dataclass(frozen=True)
class QuantizedWeights:
    """A convolution's int8 codes (out, in, height, width), a float32 scale an output, and a bias of its own or None."""

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    bias: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Range:
    """What a group's codes span: below `low` and above `high` numbers are cut."""

    low: float
    high: float


def tensor_groups(model: onnx.ModelProto) -> list[TensorGroup]:
    """Return the groups of a float model, in the order of the graph; the picture's own is the first."""
    graph = model.graph
    parent: dict[str, str] = {}

    def root(tensor: str) -> str:
        while parent.setdefault(tensor, tensor) != tensor:
            tensor = parent[tensor]
        return tensor

    for node in graph.node:
        if node.op_type in SAME_SCALE:
            for tensor in [*_data_inputs(node), *node.output[1:]]:
                parent[root(node.output[0])] = root(tensor)
    order = [IMAGE, *(tensor for node in graph.node for tensor in node.output)]
    read = {node.input[0] for node in convolutions(model)}
    wanted = {root(tensor) for tensor in read}
    groups: dict[str, list[str]] = {}
    for tensor in order:
        if root(tensor) in wanted:
            groups.setdefault(root(tensor), []).append(tensor)
    return [TensorGroup(tuple(group), tuple(t for t in group if t in read)) for group in groups.values()]


def convolutions(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the convolutions that can be quantised, in order: of planes, by a kernel that is constant."""
    planar = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) == 4}
    return [node for node in model.graph.node if node.op_type == "Conv" and node.input[1] in planar]


def head_convolutions(model: onnx.ModelProto) -> list[str]:
    """Return the names of the convolutions that no other one follows: boxes and scores are read off them.

    A convolution of one output without a bias is no layer but arithmetic of the decoding (the expectation over the bins
    that Ultralytics' networks give a side); what it reads counts as an output too.
    """
    source = {output: node for node in model.graph.node for output in node.output}
    kernels = {tensor.name: tensor for tensor in model.graph.initializer}
    found, seen = set(), set()
    waiting = [output.name for output in model.graph.output]
    while waiting:
        tensor = waiting.pop()
        if tensor in seen or tensor not in source:
            continue
        seen.add(tensor)
        node = source[tensor]
        if node.op_type == "Conv":
            found.add(node.name)
            arithmetic = len(node.input) == 2 and node.input[1] in kernels and kernels[node.input[1]].dims[0] == 1
            if not arithmetic:
                continue
        waiting += node.input
    return [name for name in layers(model) if name in found]


def depthwise_convolutions(model: onnx.ModelProto) -> list[str]:
    """Return the names of the convolutions that have a kernel for each channel.

    What they read has channels of very different ranges, which one scale cannot suit (Nagel et al., "Data-free
    quantization through weight equalization and bias correction", 2019, section 3.1), and nothing after them mixes it
    before it is rounded. YOLOX-nano at INT8 loses 8.7 points of AP50 with them and 0.6 without; they are some 3 % of
    its work.
    """
    kernels = {tensor.name: tensor for tensor in model.graph.initializer}
    found = []
    for node in convolutions(model):
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        if groups > 1 and kernels[node.input[1]].dims[1] == 1:
            found.append(node.name)
    return found


def layers(model: onnx.ModelProto) -> list[str]:
    """Return the names of the convolutions that can be quantised, in order."""
    return [node.name for node in convolutions(model)]


def quantize(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    scheme: Scheme,
    keep: Collection[str] = (),
    weights: Mapping[str, QuantizedWeights] | None = None,
    allowed: Codes = ALL_CODES,
) -> onnx.ModelProto:
    """Return a copy of a float model with its convolutions quantised.

    :param ranges: by the group's name.
    :param keep: the convolutions that stay in float.
    :param weights: codes that were chosen already, by the convolution's name; others are rounded weight by weight.
    :param allowed: the codes of weights that were not chosen already.
    :raises UserError: a name in `keep` is no convolution.
    """
    names = layers(model)
    unknown = sorted(set(keep) - set(names))
    if unknown:
        raise UserError(f'there is no convolution "{unknown[0]}" to keep in float')
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    rewriting = _Rewriting(graph, scheme, {t: ranges[s.name] for s in tensor_groups(model) for t in s.tensors})
    quantized = set(names) - set(keep)
    readers = _quantized_reads(graph, quantized)
    nodes = [*rewriting.pair(IMAGE)] if IMAGE in readers else []
    for node in graph.node:
        for i, tensor in enumerate(node.input):
            if (node.name, i) in readers.get(tensor, ()):
                node.input[i] = f"{tensor}:dq"
        if node.name in quantized:
            kernel = numpy_helper.to_array(constants[node.input[1]])
            codes = (weights or {}).get(node.name) or quantized_weights(kernel, allowed)
            if codes.bias is not None:
                constants[node.input[2]].CopyFrom(numpy_helper.from_array(codes.bias, node.input[2]))
            nodes.append(rewriting.weights(node, codes))
        nodes.append(node)
        for tensor in node.output:
            if tensor in readers:
                nodes += rewriting.pair(tensor)
    read = {name for node in nodes for name in node.input}
    replaced = {node.input[1].removesuffix(":dq") for node in nodes if node.name in quantized}
    floats = [t for t in graph.initializer if t.name not in replaced or t.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*floats, *rewriting.constants])
    return result


def _data_inputs(node: onnx.NodeProto) -> list[str]:
    return list(node.input) if node.op_type == "Concat" else [node.input[0]]


def _quantized_reads(graph: Any, quantized: Collection[str]) -> dict[str, set[tuple[str, int]]]:
    """Return who reads which tensor in its quantised form: tensor -> {(node, which input)}."""
    age = {IMAGE: 0} | {tensor: i for i, node in enumerate(graph.node, 1) for tensor in node.output}
    reads: dict[str, set[tuple[str, int]]] = {}
    for node in graph.node:
        if node.name in quantized:
            reads.setdefault(node.input[0], set()).add((node.name, 0))
    # Backwards, so that what leads only to a quantised tensor by moving numbers is quantised before it too.
    for node in reversed(graph.node):
        if node.op_type in SAME_SCALE and any(tensor in reads for tensor in node.output):
            for i, tensor in enumerate(_data_inputs(node)):
                reads.setdefault(tensor, set()).add((node.name, i))
    for node in graph.node:
        if node.op_type == "Add" and all(tensor in age for tensor in node.input):
            first = min(range(2), key=lambda i: age[node.input[i]])
            if node.input[first] in reads:
                reads[node.input[first]].add((node.name, first))
    return reads


class _Rewriting:
    """The nodes and constants that quantising adds."""

    def __init__(self, graph: Any, scheme: Scheme, ranges: Mapping[str, Range]) -> None:
        self._scheme = scheme
        self._ranges = ranges
        self.constants: list[onnx.TensorProto] = []

    def pair(self, tensor: str) -> list[onnx.NodeProto]:
        scale, zero = self.codes(tensor)
        constants = [self._constant(f"{tensor}:scale", scale), self._constant(f"{tensor}:zero", zero)]
        return [
            helper.make_node("QuantizeLinear", [tensor, *constants], [f"{tensor}:q"], name=f"{tensor}:q"),
            helper.make_node("DequantizeLinear", [f"{tensor}:q", *constants], [f"{tensor}:dq"], name=f"{tensor}:dq"),
        ]

    def codes(self, tensor: str) -> tuple[NDArray[np.float32], NDArray[Any]]:
        span = self._ranges[tensor]
        if self._scheme == "symmetric":
            return np.float32(symmetric_scale(span)), np.int8(0)  # type: ignore[return-value]
        scale, zero = asymmetric_codes(span)
        return np.float32(scale), np.uint8(zero)  # type: ignore[return-value]

    def weights(self, node: onnx.NodeProto, codes: QuantizedWeights) -> onnx.NodeProto:
        name = node.input[1]
        inputs = [
            self._constant(f"{name}:q", codes.codes),
            self._constant(f"{name}:scale", codes.scales),
            self._constant(f"{name}:zero", np.zeros(len(codes.scales), np.int8)),
        ]
        node.input[1] = f"{name}:dq"
        return helper.make_node("DequantizeLinear", inputs, [f"{name}:dq"], name=f"{name}:dq", axis=0)

    def _constant(self, name: str, value: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def symmetric_scale(span: Range) -> float:
    """Return the step of codes -127 to 127."""
    return max(abs(span.low), abs(span.high), 1e-12) / 127


def asymmetric_codes(span: Range) -> tuple[float, int]:
    """Return the step of codes 0 to 255, and the code of 0."""
    low, high = min(span.low, 0.0), max(span.high, 0.0)
    scale = max(high - low, 1e-12) / 255
    return scale, int(np.clip(round(-low / scale), 0, 255))


SHRINKS = np.linspace(1.0, 0.5, 51)
"""The parts of the largest weight that are tried as the end of the codes."""
WIDER = np.linspace(2.0, 1.05, 20)
"""Tried as well where pairs of codes are limited; at twice the largest weight no pair is cut."""


def quantized_weights(kernel: NDArray[np.float32], allowed: Codes = ALL_CODES) -> QuantizedWeights:
    """Return int8 codes and a scale for each output channel: the one with the least squared error.

    :param kernel: (out, in, height, width).
    """
    allowed = allowed.of(kernel)
    sizes = np.abs(kernel).reshape(len(kernel), kernel.shape[1], -1)
    largest = np.maximum(sizes.max(axis=(1, 2), keepdims=True), np.float32(1e-12))
    ends = np.concatenate((WIDER, SHRINKS)) if allowed.paired else SHRINKS
    best = np.full(len(sizes), np.inf)
    scales = largest / np.float32(allowed.largest)
    for end in ends:
        scale = largest * np.float32(end / allowed.largest)
        off = _coded(sizes / scale, allowed)
        off *= scale
        off -= sizes
        error = np.einsum("oik,oik->o", off, off)
        better = error < best
        best[better], scales[better] = error[better], scale[better]
    codes = _coded(sizes / scales, allowed).reshape(kernel.shape)
    return QuantizedWeights(np.copysign(codes, kernel).astype(np.int8), scales.reshape(-1))


def _coded(sizes: NDArray[np.float32], allowed: Codes) -> NDArray[np.float32]:
    """Return the allowed codes nearest to the magnitudes of weights in steps, (out, in, taps), in their place."""
    np.rint(sizes, out=sizes)
    np.minimum(sizes, allowed.largest, out=sizes)
    if allowed.paired:
        even, odd = sizes[:, ::2], sizes[:, 1::2]
        over = even + odd
        over -= allowed.pair
        at = np.nonzero(over > 0)
        # By less than either is, since neither alone is more than a pair may be.
        less = over[at] // 2
        even[at] -= less
        odd[at] -= over[at] - less
    return sizes
