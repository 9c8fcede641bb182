"""The search for an INT8 that loses no accuracy: methods first, then the most sensitive layers back to float."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from conversion.convert import Int8, Material
from conversion.quantization import Scheme, layers
from conversion.thresholds import METHODS
from engine.choice import difference
from engine.engine import check_engine
from engine.preprocess import Preprocessor
from engine.runtimes.openvino import OpenVinoEngine

SENSITIVITY_PICTURES = 8
"""Pictures that a layer's sensitivity is measured on."""
FLOAT_LAYERS = 8
"""Layers that go back to float at the most."""

Score = Callable[[Any], float]
"""Points of accuracy, 0 to 100, of an engine that runs the network; the higher the better."""


@dataclass(frozen=True)
class Row:
    """One thing that was tried: `loss` is in points, below the float network's."""

    scheme: Scheme
    method: str
    bias_correction: bool
    keep: tuple[str, ...]
    score: float
    loss: float


@dataclass
class Tuning:
    """A search: `rows` gathers what it tried.

    :param score: measures an engine.
    :param reference: the float network's score.
    :param budget: the loss that is good enough, points.
    :param tried: called with each row.
    """

    score: Score
    reference: float
    budget: float
    rows: list[Row]
    tried: Callable[[Row], None]

    def search(self, material: Material, scheme: Scheme) -> Int8:
        """Return the best way found.

        Every method is tried, with its biases as they are and corrected. If the best of them is not within the budget,
        it goes on with its most sensitive layer in float, then its two most sensitive, and so on until it is.

        :raises UserError: an engine that it needs is not installed.
        """
        found: list[tuple[float, Int8]] = []
        for method in sorted(METHODS, key=lambda m: m != "mse"):
            for bias_correction in (False, True):
                how = Int8(method, bias_correction)
                found.append((self._loss(material, scheme, how), how))
        loss, best = min(found, key=lambda pair: pair[0])
        if loss <= self.budget:
            return best
        order = _sensitive(material, scheme, best)
        for n in range(1, min(FLOAT_LAYERS, len(order)) + 1):
            how = Int8(best.method, best.bias_correction, tuple(order[:n]))
            loss = self._loss(material, scheme, how)
            found.append((loss, how))
            if loss <= self.budget:
                return how
        return min(found, key=lambda pair: pair[0])[1]

    def _loss(self, material: Material, scheme: Scheme, how: Int8) -> float:
        score = self.score(executor(material.quantized(scheme, how), scheme))
        loss = self.reference - score
        row = Row(scheme, how.method, how.bias_correction, how.keep, round(score, 2), round(loss, 2))
        self.rows.append(row)
        self.tried(row)
        return loss


def executor(model: onnx.ModelProto, scheme: Scheme) -> Any:
    """Return what runs a quantised network: OpenVINO, or for TensorRT's scheme exact arithmetic by ONNX Runtime.

    :raises UserError: ONNX Runtime is not installed.
    """
    data = model.SerializeToString()
    if scheme == "asymmetric":
        return OpenVinoEngine(data, precision="int8")
    check_engine("onnx", "int8")
    from engine.runtimes.onnx import OnnxEngine

    return OnnxEngine(data, "cpu", exact=True)


def _sensitive(material: Material, scheme: Scheme, how: Int8) -> list[str]:
    """Return the layers by how much of the error at the heads goes with them, the most first."""
    pictures = [picture for _, (_, picture) in zip(range(SENSITIVITY_PICTURES), material.pictures.each(), strict=False)]

    def heads(model: onnx.ModelProto) -> list[NDArray[np.float32]]:
        engine = OpenVinoEngine(model.SerializeToString())
        preprocessor = Preprocessor(engine.input, engine.layout, material.resize)
        outputs = []
        for picture in pictures:
            preprocessor.run(picture)
            outputs += [np.array(output) for output in engine.infer()]
        return outputs

    reference = heads(material.model)
    errors = {}
    for layer in layers(material.model):
        kept = Int8(how.method, how.bias_correction, (layer,))
        # The unsigned scheme stands for both: OpenVINO computes it as it is written, and in a tenth of the time.
        errors[layer] = difference(heads(material.quantized("asymmetric", kept)), reference)
    return sorted(errors, key=lambda layer: errors[layer])
