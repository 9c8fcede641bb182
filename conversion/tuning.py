"""The choice of how to quantise, by what pictures can tell.

Ways are judged by the error at the network's output (`conversion.output_error`), picture by picture, on pictures whose
activations were not counted: half of the calibration set for the other half, and the other way round. A way takes the
place of a simpler one only where the difference is beyond chance (a paired bootstrap over pictures, at a level that
counts how many ways are tried). Accuracy is a second opinion, with its interval: while more of it is lost than the
budget, more of the most sensitive convolutions go back to float.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from conversion.convert import Int8, Material
from conversion.output_error import Span, errors, executor, gain, relative
from conversion.pictures import Pictures
from conversion.quantization import Scheme, layers
from conversion.sensitivity import errors_in_float, sensitive
from engine.darknet import Network
from engine.onnx_network import OnnxNetwork
from engine.runtimes.openvino import OpenVinoEngine

PLAIN = Int8("mse", rounding=False, heads=False)
"""The simplest way, which the others must beat."""
WAYS: tuple[Callable[[Int8], Int8], ...] = (
    lambda how: replace(how, rounding=True),
    lambda how: replace(how, heads=True),
    lambda how: replace(how, method="percentile"),
    lambda how: replace(how, method="kl"),
    lambda how: replace(how, method="max"),
)
"""What is tried after it, each on top of what was chosen so far, in the order of what they usually bring; then what
`conversion.sensitivity` puts back to float."""
SENSITIVITY_PICTURES = 8
"""Pictures that a layer's sensitivity is measured on."""
FLOAT_LAYERS = 6
"""Layers that go back to float for the budget at the most."""
LEVEL = 0.05
"""How often a way that is no better may be taken for one, all ways together."""


class Loss(Protocol):
    """A loss of accuracy, points, with its 95 % interval."""

    @property
    def value(self) -> float: ...  # noqa: D102
    @property
    def low(self) -> float: ...  # noqa: D102
    @property
    def high(self) -> float: ...  # noqa: D102


Errors = NDArray[np.float64]
"""Of pictures, see `conversion.output_error.errors`."""
Measure = Callable[[Any], Loss]
"""The loss of an engine that runs the quantised network, against the float one."""


@dataclass(frozen=True)
class Row:
    """One way that was tried.

    `error` is in percent of the float network's scores; `better`, by how much less than what was chosen until then,
    with the interval that decided; `loss` in points of AP50, where it was measured.
    """

    scheme: Scheme
    method: str
    rounding: bool
    heads: bool
    keep: tuple[str, ...]
    error: float
    better: Span | None
    chosen: bool
    loss: Span | None = None


@dataclass
class Tuning:
    """A search: `rows` gathers what it tried.

    :param measure: the second opinion.
    :param budget: the loss that is good enough, points of AP50; more than it is one whose interval lies beyond it.
    :param tried: called with each row.
    """

    network: Network | OnnxNetwork
    measure: Measure
    budget: float
    rows: list[Row]
    tried: Callable[[Row], None]
    _folds: list[tuple[Material, Pictures]] = field(default_factory=list)
    _reference: Any = None

    def search(self, material: Material, scheme: Scheme) -> Int8:
        """Return the simplest way that nothing beats, with as many layers in float as the budget asks for.

        :raises UserError: an engine that it needs is not installed, or a picture cannot be read.
        """
        if not self._folds:
            self._folds = list(halves(material))
            self._reference = OpenVinoEngine(material.model.SerializeToString())
        chosen = PLAIN
        best = self._errors(scheme, chosen)
        self._add(scheme, chosen, best, None, True)
        for change in WAYS:
            chosen, best = self._better(scheme, chosen, best, change(chosen))
        keep = sensitive(material, chosen, self.network)
        if keep:
            chosen, best = self._better(scheme, chosen, best, replace(chosen, keep=keep))
        return self._within_budget(material, scheme, chosen, best)

    def _better(self, scheme: Scheme, chosen: Int8, best: Errors, how: Int8) -> tuple[Int8, Errors]:
        """Return the way that is taken, and its errors: a new one only where it is better beyond chance."""
        given = self._errors(scheme, how)
        better = gain(best, given, LEVEL / (len(WAYS) + 1))
        self._add(scheme, how, given, better, better[1] > 0)
        return (how, given) if better[1] > 0 else (chosen, best)

    def _errors(self, scheme: Scheme, how: Int8) -> NDArray[np.float64]:
        """Return the errors of a way on every picture, each by the half that it does not belong to."""
        parts = []
        for half, others in self._folds:
            engine = executor(half.quantized(scheme, how), scheme)
            parts.append(errors(self._reference, engine, self.network, others, half.fit))
        return np.concatenate(parts)

    def _within_budget(self, material: Material, scheme: Scheme, how: Int8, given: NDArray[np.float64]) -> Int8:
        loss = self._loss(material, scheme, how, given)
        if not self._over(loss):
            return how
        order = self._sensitive(scheme, how)
        most = min(FLOAT_LAYERS, len(order))
        for n in range(1, most + 1):
            more = replace(how, keep=(*how.keep, *order[:n]))
            loss = self._loss(material, scheme, more, self._errors(scheme, more), n == most)
            if not self._over(loss):
                break
        return more

    def _over(self, loss: Loss) -> bool:
        """Tell whether a loss is more than the budget for certain; what chance may have made costs no layer."""
        return loss.low > self.budget

    def _loss(
        self, material: Material, scheme: Scheme, how: Int8, given: NDArray[np.float64], last: bool = False
    ) -> Loss:
        """Return the loss of a way, which is taken if that is within the budget, or it is the last one."""
        loss = self.measure(executor(material.quantized(scheme, how), scheme))
        told = (round(loss.value, 2), round(loss.low, 2), round(loss.high, 2))
        self._add(scheme, how, given, None, last or not self._over(loss), told)
        return loss

    def _sensitive(self, scheme: Scheme, how: Int8) -> list[str]:
        """Return the layers by how much of the error goes with them, the most first."""
        half, others = self._folds[0]
        few = others.part(range(min(SENSITIVITY_PICTURES, len(others))))
        names = [layer for layer in layers(half.model) if layer not in half.kept(how)]
        tried = errors_in_float(half, scheme, how, names, self._reference, self.network, few)
        left = {layer: relative(rows) for layer, rows in tried}
        return sorted(left, key=lambda layer: left[layer])

    def _add(
        self,
        scheme: Scheme,
        how: Int8,
        given: NDArray[np.float64],
        better: Span | None,
        chosen: bool,
        loss: Span | None = None,
    ) -> None:
        error = round(relative(given), 2)
        row = Row(scheme, how.method, how.rounding, how.heads, how.keep, error, better, chosen, loss)
        self.rows.append(row)
        self.tried(row)


def halves(material: Material) -> Iterator[tuple[Material, Pictures]]:
    """Yield each half of the calibration set, counted by itself, with the pictures of the other."""
    count = len(material.pictures)
    parts = [material.pictures.part(range(first, count, 2)) for first in (0, 1)]
    for mine, others in (parts, parts[::-1]):
        yield material.recounted(mine), others


def pictures_needed(loss: Loss, pictures: int, budget: float) -> int | None:
    """Return how many pictures would tell a loss of the budget from none; None where there are enough."""
    half = (loss.high - loss.low) / 2
    return None if half <= budget else int(np.ceil(pictures * (half / max(budget, 1e-3)) ** 2))
