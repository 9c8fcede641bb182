"""Which convolutions cost more accuracy at INT8 than their work is worth.

The error at the network's output (`conversion.output_error`) is measured of the quantised network, and of the same with
one convolution in float. Convolutions are ranked by how much error that removes for their share of the work. Only some
are tried: those whose input suffers most from its codes, by its histogram. What is quantised badly there need not
matter at the output, but what matters at the output is found among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from conversion.output_error import errors, executor, gain
from conversion.pictures import Pictures
from conversion.quantization import Scheme, asymmetric_codes, convolutions
from engine.darknet import Network
from engine.onnx_graph import IMAGE
from engine.onnx_network import OnnxNetwork
from engine.runtimes.openvino import OpenVinoEngine

if TYPE_CHECKING:
    from conversion.convert import Int8, Material

SHARE = 0.1
"""Of the multiplications that may go back to float."""
CANDIDATES = 8
PICTURES = 32
"""That each candidate is tried on."""
LEVEL = 0.32
"""Of the interval that must lie above 0: one standard error, since a convolution in float by mistake costs its work
and no accuracy."""
RULE = (SHARE, CANDIDATES, PICTURES, LEVEL)


def sensitive(material: Material, how: Int8, network: Network | OnnxNetwork) -> tuple[str, ...]:
    """Return the convolutions that are worth their work in float, the most worth first; at most `SHARE` of the work.

    :raises UserError: a picture cannot be read.
    """
    work = shares(material.model)
    kept = material.kept(how)
    harm = input_errors(material, how)
    names = [name for name in work if name not in kept and work[name] <= SHARE and harm[name] > 0]
    names = sorted(names, key=lambda name: -harm[name])[:CANDIDATES]
    count = len(material.pictures)
    few = material.pictures.part(np.linspace(0, count - 1, min(PICTURES, count)).round().astype(int))
    reference = OpenVinoEngine(material.model.SerializeToString())
    whole = executor(material.quantized("asymmetric", how), "asymmetric")
    base = errors(reference, whole, network, few, material.fit)
    worth = {}
    for name, rows in errors_in_float(material, "asymmetric", how, names, reference, network, few):
        value, low, _ = gain(base, rows, LEVEL)
        if low > 0:
            worth[name] = value / work[name]
    chosen: list[str] = []
    for name in sorted(worth, key=lambda name: -worth[name]):
        if sum(work[each] for each in [*chosen, name]) <= SHARE:
            chosen.append(name)
    return tuple(chosen)


def errors_in_float(
    material: Material,
    scheme: Scheme,
    how: Int8,
    names: Sequence[str],
    reference: Any,
    network: Network | OnnxNetwork,
    pictures: Pictures,
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield the name of each convolution, and the errors of the quantised network with it in float too.

    :raises UserError: a picture cannot be read.
    """
    for i, name in enumerate(names):
        engine = executor(material.quantized(scheme, replace(how, keep=(*how.keep, name))), scheme)
        yield name, errors(reference, engine, network, pictures, material.fit)
        material.progress("sensitivity of layers", i + 1, len(names))


def shares(model: onnx.ModelProto) -> dict[str, float]:
    """Return the part of all multiplications that each convolution is, by its name; none of those of unknown size."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {value.name: value.type.tensor_type.shape.dim for value in [*inferred.value_info, *inferred.output]}
    kernels = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    places = {node.name: [d.dim_value for d in shapes.get(node.output[0], ())][2:] for node in convolutions(model)}
    work = {
        node.name: float(np.prod(kernels[node.input[1]])) * float(np.prod(places[node.name]))
        for node in convolutions(model)
        if len(places[node.name]) == 2 and all(places[node.name])
    }
    total = sum(work.values())
    return {name: each / total for name, each in work.items()}


def input_errors(material: Material, how: Int8) -> dict[str, float]:
    """Return the squared error of the codes of what each convolution reads, in parts of its mean square.

    The picture's own codes are its pixels: their error is 0.
    """
    ranges = material.ranges(how.method, "asymmetric")
    span_of = {tensor: ranges[group.name] for group in material.calibration.groups for tensor in group.tensors}
    found = {}
    for node in convolutions(material.model):
        tensor = node.input[0]
        if tensor == IMAGE:
            found[node.name] = 0.0
            continue
        scale, zero = asymmetric_codes(span_of[tensor])
        values, counts = material.calibration.histograms[tensor].values()
        codes = np.clip(np.rint(values / scale) + zero, 0, 255) - zero
        square = float((counts * values**2).sum())
        found[node.name] = float((counts * (values - codes * scale) ** 2).sum()) / max(square, 1e-30)
    return found
