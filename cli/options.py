"""Options that several commands share, and reading their values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import UserError

if TYPE_CHECKING:
    from agent.profile import LoadedProfile
    from engine.models import Files

LONGEST_SIDE = 4096
"""Of a network's input, pixels."""
MAX_SEED = 2**31 - 1

Plugins = Annotated[
    list[Path] | None, typer.Option("--plugin", help="Load a plugin from this file too; may be given again.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a setting of the profile, as aim.gain=0.5; may be given again."
    ),
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the same as JSON to this file.")]
Model = Annotated[
    str | None, typer.Option("--model", help="A bundle: its name in models/ or its folder; or an ONNX file.")
]
Cfg = Annotated[Path | None, typer.Option("--cfg", help="Or a Darknet cfg ...")]
Weights = Annotated[Path | None, typer.Option("--weights", help="... and its weights.")]
Names = Annotated[Path | None, typer.Option("--names", help="The class names, one a line; COCO's by default.")]
Size = Annotated[str | None, typer.Option("--size", help="The network's input, pixels: a side, or WIDTHxHEIGHT.")]
Images = Annotated[Path | None, typer.Option("--images", help="The folder of the annotated images.")]
Annotations = Annotated[
    Path | None, typer.Option("--annotations", help="COCO's JSON file, or a folder of VOC's .xml or YOLO's .txt files.")
]


def load(profile: str, plugins: list[Path] | None, overrides: list[str] | None) -> LoadedProfile:
    """Read and check a profile given by path or name, with the plugin files and overrides of the command line.

    :raises UserError: it cannot be used.
    """
    from agent.profile import find_profile, load_profile

    return load_profile(find_profile(profile), plugins or [], overrides or [])


def sides(option: str, text: str) -> tuple[int, int]:
    """Return the width and height that a network's input is given, pixels: of 416 or 512x384.

    :raises UserError: it is neither, or a side is no multiple of 32 or out of bounds; the message names the option.
    """
    try:
        width, height = (int(part) for part in (text.split("x") if "x" in text else (text, text)))
    except ValueError:
        raise UserError(f'{option} is "{text}"; give a side such as 416, or WIDTHxHEIGHT such as 512x384') from None
    if any(side % 32 or not 32 <= side <= LONGEST_SIDE for side in (width, height)):
        raise UserError(f"{option} is {text}; a side is a multiple of 32 pixels, {LONGEST_SIDE} at the most")
    return width, height


def input_size(text: str | None) -> tuple[int, int] | None:
    """Return what `--size` says, None where it is not given.

    :raises UserError: as `sides` does.
    """
    return None if text is None else sides("--size", text)


def one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a value that an option does not take.

    :raises UserError: it is so.
    """
    if value not in known:
        raise UserError(f'{option} is "{value}"; choose one of: {", ".join(known)}')


def listed(text: str | None) -> list[str]:
    """Return the entries of an option's value, with commas between them."""
    return [part.strip() for part in text.split(",")] if text else []


def model_files(model: str | None, cfg: Path | None, weights: Path | None, names: Path | None) -> Files:
    """Return the files of the model that the options name.

    :raises UserError: they name none, or two.
    """
    from dataclasses import replace

    from engine.models import ModelFiles, find, read_names

    given = read_names(names) if names else None
    if model is not None and cfg is None and weights is None:
        files = find(model)
        return files if given is None else replace(files, names=given)
    if model is not None or cfg is None or weights is None:
        raise UserError("give either --model, or both --cfg and --weights")
    return ModelFiles(cfg, weights, given)
