"""The commands that make a detector: collect, train.

It reaches conversion, evaluation and training, and that when called.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from agent.cli_console import JsonOption, PluginOption, check_writable, counter, err, input_size, out, progress
from agent.errors import UserError
from agent.files import write_atomically
from agent.profile import LoadedProfile, find_profile, load_profile
from agent.session import Options

if TYPE_CHECKING:
    from training.fit import Epoch


PRECISIONS = ("fp32", "fp16", "int8")


def collect(
    profile: Annotated[
        str, typer.Option("--profile", "-p", help="A profile whose capture knows the truth; any with --autolabel.")
    ],
    to: Annotated[Path, typer.Option("--out", help="The data set's folder, which is made.")],
    frames: Annotated[int, typer.Option(min=1, help="How many frames to keep.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Draws the scenes.")] = 0,
    held_out: Annotated[bool, typer.Option("--held-out", help="Scenes that training never sees: for scoring.")] = False,
    picture: Annotated[Path | None, typer.Option("--sheet", help="Draw a contact sheet to this PNG.")] = None,
    model: Annotated[
        str | None,
        typer.Option("--autolabel", metavar="MODEL", help="Watch your own game, and label its frames by this model."),
    ] = None,
    form: Annotated[str, typer.Option(help="With --autolabel: voc (XML) or yolo (text).")] = "voc",
    every: Annotated[
        float, typer.Option("--every-s", min=0, max=3600, help="With --autolabel: seconds between frames.")
    ] = 0.5,
    footage: Annotated[
        Path | None, typer.Option(help="With --autolabel: take the frames of this video or folder.")
    ] = None,
    plugin: PluginOption = None,
) -> None:
    """Collect a data set: from many scenes of a game that tells its truth, or from the screen, labelled by a model.

    The first is in COCO's form. The second is for correction: images/ and labels/ (VOC's XML or YOLO's text), which any
    labelling tool opens and `train` takes.
    """
    from evaluation.collect import collect as collecting
    from evaluation.collect import sheet

    loaded = load_profile(find_profile(profile), plugin or [])
    if model is not None:
        _autolabel(loaded, model, form, frames, every, Options(footage=footage), to)
        return
    maker = loaded.capture.maker
    if maker.collect is None:
        raise UserError(
            f'{loaded.path}: the capture "{maker.name}" does not know what its frames show, so it gives no data set; '
            "use a profile whose capture does, such as doom.yaml, or label by a model (--autolabel MODEL)"
        )
    with progress() as tell:
        count = counter(tell, "frames", frames)
        card = collecting(maker.collect, maker.names, frames, seed, held_out, to, count)
    if picture is not None:
        write_atomically(picture, sheet(to))
    table = Table("what", "boxes")
    for name, boxes in card["boxes"].items():
        table.add_row(name, str(boxes))
    out.print(table)
    out.print(f"{to}: {card['frames']} frames of {len(card['scenes'])} scenes", soft_wrap=True)


def _autolabel(
    loaded: LoadedProfile, model: str, form: str, frames: int, every: float, options: Options, to: Path
) -> None:
    from evaluation.autolabel import FORMS, autolabel

    if form not in FORMS:
        raise UserError(f'--form is "{form}"; choose {" or ".join(FORMS)}')
    with progress() as tell:
        kept, result = autolabel(loaded, model, form, frames, every, options, to, counter(tell, "frames", frames))
    table = Table("class", "boxes")
    for name, boxes in kept.boxes.most_common():
        table.add_row(name, str(boxes))
    out.print(table)
    out.print(f"{to}: {kept.frames} frames ({result.ended}); correct the labels before training", soft_wrap=True)


def train(
    data: Annotated[
        Path,
        typer.Option(help="The data set: a folder with images/ and instances.json (COCO), or labels/ (YOLO, VOC)."),
    ],
    cfg: Annotated[Path, typer.Option(help="The network, a Darknet cfg; its classes are set to the data's.")],
    to: Annotated[Path, typer.Option("--out", help="The bundle that is made, such as models/NAME.")],
    val: Annotated[
        Path | None, typer.Option(help="A data set to score on; by default every tenth picture is held out.")
    ] = None,
    begin: Annotated[
        str | None, typer.Option("--from", help="Begin with this model's weights, whatever its classes are.")
    ] = None,
    names: Annotated[Path | None, typer.Option(help="The class names, one a line; COCO's JSON has its own.")] = None,
    classes: Annotated[str | None, typer.Option(help="Only these classes, with commas between them.")] = None,
    size: Annotated[str | None, typer.Option(help="The input, pixels: a side, or WIDTHxHEIGHT; the cfg's.")] = None,
    anchors: Annotated[str, typer.Option(help="`cfg`, or `auto`: by k-means on the data.")] = "cfg",
    epochs: Annotated[int, typer.Option(min=1)] = 50,
    batch: Annotated[int, typer.Option(min=1, help="Pictures a step.")] = 16,
    rate: Annotated[float, typer.Option(min=1e-7, max=1, help="The highest learning rate (AdamW).")] = 1e-3,
    mosaic: Annotated[float, typer.Option(min=0, max=1, help="How many pictures are four in one.")] = 0.5,
    half: Annotated[bool, typer.Option("--half", help="Compute in bfloat16: on a card.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Threads, or above 4 processes, that make pictures.")] = 2,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1)] = 0,
    json_file: JsonOption = None,
    curves: Annotated[Path | None, typer.Option("--curves", help="Draw loss and AP50 to this PNG.")] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write loss and AP for TensorBoard there (extra train).")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option("--convert", help="Then make its graphs: fp32, fp16, or int8, calibrated on the data's pictures."),
    ] = None,
) -> None:
    """Train a network on a data set; interrupted, the same command goes on after the last whole epoch."""
    from engine.errors import ModelError
    from engine.models import find
    from evaluation.training_data import cases, measured

    check_writable(json_file)
    check_writable(curves)
    if precision is not None and precision not in PRECISIONS:
        raise UserError(f'--convert is "{precision}"; choose {", ".join(PRECISIONS)}')
    side = input_size(size)
    wanted = tuple(part.strip() for part in classes.split(",")) if classes else None
    records, scored, listed = cases(data, val, names, wanted)
    if anchors not in ("cfg", "auto"):
        raise UserError(f'--anchors is "{anchors}"; choose cfg or auto')
    if begin is not None:
        find(begin)
    # Keras and its backend take seconds to import: after all that can be wrong without them.
    from training import backend

    backend.choose()
    from training.board import Board
    from training.curves import draw
    from training.fit import Plan
    from training.job import Job, run
    from training.samples import Augment

    job = Job(cfg, begin, side, anchors == "auto", listed)
    plan = Plan(
        epochs=epochs, batch=batch, rate=rate, half=half, workers=workers, seed=seed, augment=Augment(mosaic=mosaic)
    )
    part = to.parent / f".{to.name}.training"

    def done(epoch: Epoch) -> None:
        _epoch(epoch)
        if board is not None:
            board.add(epoch)

    try:
        with contextlib.ExitStack() as stack:
            board = stack.enter_context(contextlib.closing(Board(tensorboard))) if tensorboard is not None else None
            files, history = run(job, plan, records, scored, measured, part, stack.enter_context(progress()), done)
    except KeyboardInterrupt:
        raise UserError(f"interrupted; the same command goes on where it stopped ({part})") from None
    from conversion.bundle import make_bundle

    bundle = make_bundle(files, to, f"trained on {data.name} by `agent.py train`, seed {seed}, {len(history)} epochs")
    rows = [asdict(epoch) for epoch in history]
    if json_file is not None:
        write_atomically(json_file, json.dumps({"epochs": rows}, indent=2) + "\n")
    if curves is not None:
        write_atomically(curves, draw(history))
    best = max(history, key=lambda epoch: epoch.ap50)
    out.print(
        f"{bundle}: the bundle is ready. Best AP50 {best.ap50:.1f} (AP {best.ap:.1f}) in epoch {best.epoch} of "
        f"{len(history)}, on {len(scored)} pictures held out",
        soft_wrap=True,
    )
    if precision is not None:
        _convert(str(bundle), precision, data / "images")
    try:
        shutil.rmtree(part)
    except OSError as error:
        raise ModelError(f"{part}: cannot be removed: {error.strerror}") from error


def _convert(bundle: str, precision: str, pictures: Path) -> None:
    from conversion.convert import Request, convert
    from engine.models import find

    folder = Path(bundle)
    with progress() as tell:
        request = Request(
            find(bundle),
            folder,
            precision,  # type: ignore[arg-type]
            calibrate=pictures if precision == "int8" else None,
        )
        convert(request, tell)
    out.print(f"{bundle}: its graphs are ready at {precision}", soft_wrap=True)


def _epoch(epoch: Epoch) -> None:
    err.print(
        f"epoch {epoch.epoch}: loss {epoch.loss:.2f} (box {epoch.box:.2f}, objectness {epoch.objectness:.2f}, classes "
        f"{epoch.classes:.2f}), AP50 {epoch.ap50:.1f}, AP {epoch.ap:.1f}",
        soft_wrap=True,
    )


COMMANDS = (collect, train)
