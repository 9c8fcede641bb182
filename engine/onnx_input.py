"""What a network of another family wants of its pixels: colour order, numbers, and how a picture is fitted in."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from core.errors import UserError
from core.geometry import Fit, Resize

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of ImageNet's pixels, R, G, B, of 0 to 1."""
Three = tuple[float, float, float]


class InputSpec(BaseModel):
    """How pixels become a network's input: `(pixel / divisor - mean) / std`, in its order of colours."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    colour: Literal["rgb", "bgr"] = "rgb"
    divisor: float = Field(255.0, gt=0)
    mean: Three = (0.0, 0.0, 0.0)
    std: Three = (1.0, 1.0, 1.0)
    resize: Resize = "letterbox"
    pad: int = Field(114, ge=0, le=255)
    corner: bool = False

    @property
    def fit(self) -> Fit:
        """How a picture is fitted in."""
        return Fit(self.resize, self.pad, self.corner)

    def __str__(self) -> str:
        numbers = f"0 to {255 / self.divisor:g}"
        if (self.mean, self.std) == IMAGENET:
            numbers += ", ImageNet's mean and deviation"
        elif any(self.mean) or self.std != (1.0, 1.0, 1.0):
            numbers += f", mean {self.mean}, deviation {self.std}"
        fit = self.resize
        if fit == "letterbox":
            fit += f" of {self.pad}, {'top left' if self.corner else 'centred'}"  # type: ignore[assignment]
        return f"{self.colour.upper()}, {numbers}, {fit}"


WORDS: dict[str, dict[str, object]] = {
    "rgb": {"colour": "rgb"},
    "bgr": {"colour": "bgr"},
    "0-1": {"divisor": 255.0},
    "0-255": {"divisor": 1.0},
    "imagenet": {"divisor": 255.0, "mean": IMAGENET[0], "std": IMAGENET[1]},
    "stretch": {"resize": "stretch"},
    "letterbox": {"resize": "letterbox", "corner": False},
    "top-left": {"resize": "letterbox", "corner": True},
}
"""What `--preprocess` takes, beside `pad=NUMBER`."""


def with_words(spec: InputSpec, text: str) -> InputSpec:
    """Return a specification with what the words of `--preprocess` say, as in `bgr,0-255,top-left,pad=114`.

    :raises UserError: a word is not known.
    """
    changes: dict[str, object] = {}
    for word in filter(None, (part.strip().lower() for part in text.split(","))):
        if word in WORDS:
            if changes.keys() & WORDS[word].keys():
                raise UserError(f'--preprocess has "{word}", which contradicts what stands before it: {text}')
            changes |= WORDS[word]
            continue
        key, _, value = word.partition("=")
        if key != "pad" or not value.isdecimal() or int(value) > 255:
            raise UserError(f'--preprocess has "{word}"; it takes {", ".join(WORDS)} and pad=0 to pad=255')
        changes["pad"] = int(value)
    return spec.model_copy(update=changes)
