"""Curves of a training: loss and AP by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.figures import figure, png


def draw(history: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the curves, PNG.

    :param history: a row an epoch: `epoch`, `loss`, `box`, `objectness`, `classes`, `ap50` and `ap`.
    """
    drawn = figure(8, 4.5)
    left = drawn.add_subplot()
    epochs = [row["epoch"] for row in history]
    for name in ("loss", "box", "objectness", "classes"):
        left.plot(epochs, [row[name] for row in history], label=name, linewidth=2 if name == "loss" else 1)
    left.set_xlabel("epoch")
    left.set_ylabel("loss a picture")
    left.set_yscale("log")
    right = left.twinx()
    right.plot(epochs, [row["ap50"] for row in history], "k-", label="AP50, validation")
    right.plot(epochs, [row["ap"] for row in history], "k:", label="AP, validation")
    right.set_ylim(0, 100)
    right.set_ylabel("points")
    lines = [*left.get_lines(), *right.get_lines()]
    left.legend(lines, [str(line.get_label()) for line in lines], loc="center right")
    return png(drawn)
