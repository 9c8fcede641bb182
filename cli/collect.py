"""The command `collect`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import out, progress
from cli.options import MAX_SEED, Overrides, Plugins, load, one_of
from core.errors import UserError

if TYPE_CHECKING:
    from agent.profile import LoadedProfile


@dataclass(frozen=True)
class Arguments:
    """What the command line gave."""

    profile: str
    to: Path
    frames: int
    seed: int
    validation: bool
    picture: Path | None
    model: str | None
    form: str
    every_s: float
    unsure: bool
    second: str | None
    footage: Path | None
    overrides: list[str] | None
    plugin: list[Path] | None


def collect(
    profile: Annotated[
        str, typer.Option("--profile", "-p", help="A profile whose capture knows the truth; any with --autolabel.")
    ],
    to: Annotated[Path, typer.Option("--out", help="The data set's folder, which is made.")],
    frames: Annotated[int, typer.Option(min=1, help="How many frames to collect.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Draws the scenes.")] = 0,
    validation: Annotated[
        bool,
        typer.Option("--validation", "--held-out", help="Scenes that training never sees: for scoring."),
    ] = False,
    picture: Annotated[Path | None, typer.Option("--sheet", help="Draw a contact sheet to this PNG.")] = None,
    model: Annotated[
        str | None,
        typer.Option("--autolabel", metavar="MODEL", help="Watch your own game, and label its frames by this model."),
    ] = None,
    form: Annotated[
        str, typer.Option(help="With --autolabel: voc (XML), yolo (text), coco, label-studio or cvat.")
    ] = "voc",
    every_s: Annotated[
        float, typer.Option("--every-s", min=0, max=3600, help="With --autolabel: seconds between frames.")
    ] = 0.5,
    unsure: Annotated[
        bool,
        typer.Option(
            "--unsure", help="With --autolabel: only frames with boxes near the confidence, or that come and go."
        ),
    ] = False,
    second: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="With --autolabel: frames on which this model differs, too."),
    ] = None,
    footage: Annotated[
        Path | None, typer.Option(help="With --autolabel: take the frames of this video or folder.")
    ] = None,
    overrides: Overrides = None,
    plugin: Plugins = None,
) -> None:
    """Collect a data set: from many scenes of a game that tells its truth, or from the screen, labelled by a model.

    The first is in COCO's form. The second is for correction, in a form that labelling tools import and export and
    `train` takes.
    """
    _run(Arguments(**locals()))


def _run(given: Arguments) -> None:
    loaded = load(given.profile, given.plugin, given.overrides)
    if given.model is not None:
        _autolabel(loaded, given, given.model)
        return
    only = {"--unsure": given.unsure, "--second": given.second, "--footage": given.footage}
    strange = [option for option, value in only.items() if value]
    if strange:
        raise UserError(f"{' and '.join(strange)} belong to --autolabel MODEL")
    from functools import partial

    from agent.context import outside_a_run
    from agent.session import check_all
    from cli.output import announce, save
    from cli.tables import print_table
    from cli.windows import unwinding
    from core.progress import counter
    from evaluation.collect import collect as collecting
    from evaluation.collect import sheet

    choices = [loaded.roles.capture, *([loaded.game] if loaded.game is not None else [])]
    choice = next((choice for choice in choices if choice.factory.collect is not None), None)
    if choice is None:
        raise UserError(
            f'{loaded.path}: the capture "{choices[0].name}" does not know what its frames show, so it gives '
            "no data set; use a profile whose capture does, such as doom.yaml, or label by a model (--autolabel MODEL)"
        )
    check_all([choice], outside_a_run(loaded.path.resolve().parent))
    with unwinding(), progress() as tell:
        count = counter(tell, "frames", given.frames)
        manifest = collecting(
            partial(choice.factory.collect, choice.settings),
            choice.factory.class_names,
            given.frames,
            given.seed,
            given.validation,
            given.to,
            count,
            choice.factory.portion,
        )
    lines = [[name, str(boxes)] for name, boxes in manifest["boxes"].items()]
    print_table(["what", "boxes"], lines, numbers=("boxes",))
    announce(f"data set ({manifest['frames']} frames of {len(manifest['scenes'])} scenes)", given.to)
    if given.picture is not None:
        save(given.picture, sheet(given.to), "contact sheet")


def _autolabel(loaded: LoadedProfile, given: Arguments, model: str) -> None:
    from agent.plan import Options
    from cli.output import announce
    from cli.tables import print_table
    from core.progress import counter
    from evaluation.autolabel import Wanted, autolabel
    from evaluation.label_forms import FORMS

    one_of("--form", given.form, tuple(FORMS))
    if given.picture is not None:
        raise UserError("--sheet draws a data set of a game's own truth; look at this one in a labelling tool")
    wanted = Wanted(given.form, given.frames, given.every_s, given.unsure, given.second)
    with progress() as tell:
        count = counter(tell, "frames", given.frames)
        collection, result = autolabel(loaded, model, wanted, Options(footage=given.footage), given.to, count)
    for title, counts in (("class", collection.boxes), ("worth labelling for", collection.reasons)):
        if counts:
            what = "boxes" if title == "class" else "frames"
            print_table([title, what], [[name, str(n)] for name, n in counts.most_common()], numbers=(what,))
    certain = f", {collection.certain} left no doubt" if collection.certain else ""
    out.print(
        f"{collection.frames} of {collection.seen} frames ({result.ended}): {collection.too_soon} came within "
        f"{given.every_s:g} s of another, {collection.alike} looked like the one before{certain}; correct the labels "
        "before training",
        soft_wrap=True,
    )
    announce("data set", given.to)
