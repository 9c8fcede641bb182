"""Curves of a training: loss and AP by epoch."""

from __future__ import annotations

import io
from collections.abc import Sequence

from training.fit import Epoch


def draw(history: Sequence[Epoch]) -> bytes:
    """Return the curves, PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    left = figure.add_subplot()
    epochs = [e.epoch for e in history]
    for name in ("loss", "box", "objectness", "classes"):
        left.plot(epochs, [getattr(e, name) for e in history], label=name, linewidth=2 if name == "loss" else 1)
    left.set_xlabel("epoch")
    left.set_ylabel("loss a picture")
    left.set_yscale("log")
    right = left.twinx()
    right.plot(epochs, [e.ap50 for e in history], "k-", label="AP50, held out")
    right.plot(epochs, [e.ap for e in history], "k:", label="AP, held out")
    right.set_ylim(0, 100)
    right.set_ylabel("points")
    lines = [*left.get_lines(), *right.get_lines()]
    left.legend(lines, [str(line.get_label()) for line in lines], loc="center right")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return stream.getvalue()
