"""How long and how fast to train, by how many pictures there are and what the training begins with."""

from __future__ import annotations

from dataclasses import dataclass

FEW, SOME = 300, 1500
"""Pictures: up to the first a backbone that was trained on millions is better left as it is."""


@dataclass(frozen=True)
class Recipe:
    """`rate` is the highest learning rate; `hold` leaves the backbone and its batch-norm statistics as they are."""

    epochs: int
    rate: float
    mosaic: float
    hold: bool

    def __str__(self) -> str:
        held = ", backbone held" if self.hold else ""
        return f"{self.epochs} epochs, learning rate {self.rate:g}, mosaic {self.mosaic:g}{held}"


def recipe(pictures: int, begins: bool) -> Recipe:
    """Return what suits a number of pictures.

    :param begins: whether it begins with another model's weights.
    """
    if not begins:
        return Recipe(50, 1e-3, 0.5, False)
    if pictures <= FEW:
        return Recipe(25, 3e-4, 0.3, True)
    # Twelve epochs of so many are more steps than a small set's 25, and half an hour or an hour on a CPU.
    if pictures <= SOME:
        return Recipe(12, 3e-4, 0.5, False)
    return Recipe(40, 1e-3, 0.5, False)
