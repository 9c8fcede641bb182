"""The command `train`."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import err, out, progress
from cli.options import MAX_SEED, Json, input_size, listed, one_of
from core.errors import UserError

if TYPE_CHECKING:
    from training.fit import Epoch, Score


FEW_TO_SCORE = 30
"""With fewer pictures the best epoch is chance's."""
MOST_NAMED = 5
"""Classes that a sentence names."""


@dataclass(frozen=True)
class Arguments:
    """What the command line gave."""

    data: Path
    cfg: Path
    to: Path
    val: Path | None
    begin: str | None
    names: Path | None
    classes: str | None
    size: str | None
    anchors: str
    epochs: int | None
    batch: int
    rate: float | None
    mosaic: float | None
    hold: bool | None
    half: bool
    workers: int
    seed: int
    json_file: Path | None
    curves: Path | None
    tensorboard: Path | None
    precision: str | None


def train(
    data: Annotated[
        Path,
        typer.Option(help="The data set: a folder with images/ and instances.json (COCO), or labels/ (YOLO, VOC)."),
    ],
    cfg: Annotated[Path, typer.Option(help="The network, a Darknet cfg; its classes are set to the data's.")],
    to: Annotated[Path, typer.Option("--out", help="The bundle that is made, such as models/NAME.")],
    val: Annotated[
        Path | None, typer.Option(help="A validation set; by default every tenth picture of --data.")
    ] = None,
    begin: Annotated[
        str | None, typer.Option("--from", help="Begin with this model's weights, whatever its classes are.")
    ] = None,
    names: Annotated[Path | None, typer.Option(help="The class names, one a line; COCO's JSON has its own.")] = None,
    classes: Annotated[str | None, typer.Option(help="Only these classes, with commas between them.")] = None,
    size: Annotated[str | None, typer.Option(help="The input, pixels: a side, or WIDTHxHEIGHT; the cfg's.")] = None,
    anchors: Annotated[str, typer.Option(help="`cfg`, or `auto`: by k-means on the data.")] = "cfg",
    epochs: Annotated[int | None, typer.Option(min=1, help="By default by how many pictures there are.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures a step.")] = 16,
    rate: Annotated[
        float | None, typer.Option(min=1e-7, max=1, help="The highest learning rate (AdamW); likewise.")
    ] = None,
    mosaic: Annotated[
        float | None, typer.Option(min=0, max=1, help="The share of pictures that are four in one; likewise.")
    ] = None,
    hold: Annotated[
        bool | None,
        typer.Option("--hold/--no-hold", help="Leave the layers that all heads share as they are; likewise."),
    ] = None,
    half: Annotated[bool, typer.Option("--mixed-precision", "--half", help="Compute in bfloat16: on a GPU.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Threads, or above 4 processes, that prepare pictures.")] = 2,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED)] = 0,
    json_file: Json = None,
    curves: Annotated[
        Path | None, typer.Option("--curves", help="Draw loss and AP50 to this PNG (extra plots).")
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write loss and AP for TensorBoard there (extra train).")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option("--convert", help="Then make its graphs: fp32, fp16, or int8, calibrated on the data's pictures."),
    ] = None,
) -> None:
    """Train a network on a data set; interrupted, the same command goes on after the last whole epoch."""
    _run(Arguments(**locals()))


def _run(given: Arguments) -> None:
    from core.files import check_writable
    from core.precision import PRECISIONS
    from engine.models import find_darknet
    from evaluation import figures
    from evaluation.training_data import cases, measured, unlabelled

    check_writable(given.json_file)
    check_writable(given.curves)
    if given.curves is not None:
        figures.check()
    if given.precision is not None:
        one_of("--convert", given.precision, PRECISIONS)
    size = input_size(given.size)
    records, scored, names = cases(given.data, given.val, given.names, tuple(listed(given.classes)) or None)
    one_of("--anchors", given.anchors, ("cfg", "auto"))
    if given.begin is not None:
        find_darknet(given.begin)
    # Keras and its backend take seconds to import: after all that can be wrong without them.
    from training import backend

    backend.choose()
    from training.board import Board
    from training.fit import Epoch, Plan
    from training.job import Job, run
    from training.recipe import recipe
    from training.samples import Augment

    job = Job(given.cfg, given.begin, size, given.anchors == "auto", names)
    by_default = recipe(len(records), given.begin is not None)
    chosen = {name: getattr(given, name) for name in ("epochs", "rate", "mosaic", "hold")}
    how = replace(by_default, **{name: value for name, value in chosen.items() if value is not None})
    err.print(f"{len(records)} pictures, {len(scored)} to score on: {how}", soft_wrap=True)
    if len(scored) < FEW_TO_SCORE:
        err.print(
            f"{len(scored)} pictures tell little of which epoch is the best; --val takes a validation set of its own",
            soft_wrap=True,
        )
    unseen = unlabelled(names, records)
    unscored = [name for name in unlabelled(names, scored) if name not in unseen]
    for which, what, then in (
        (unseen, "pictures to train on", "it is not learnt"),
        (unscored, "pictures to score on", "the best epoch is chosen without it"),
    ):
        if which:
            more = f" and {len(which) - MOST_NAMED} more" if len(which) > MOST_NAMED else ""
            err.print(f"no {', '.join(which[:MOST_NAMED])}{more} in the {what}: {then}", markup=False, soft_wrap=True)
    plan = Plan(
        epochs=how.epochs,
        batch=given.batch,
        rate=how.rate,
        half=given.half,
        hold=how.hold,
        workers=given.workers,
        seed=given.seed,
        augment=Augment(mosaic=how.mosaic),
    )
    part = given.to.parent / f".{given.to.name}.training"
    try:
        with contextlib.ExitStack() as stack:
            board: Any = None
            if given.tensorboard is not None:
                board = stack.enter_context(contextlib.closing(Board(given.tensorboard)))

            def done(what: Epoch | Score) -> None:
                _show(what)
                if board is not None and isinstance(what, Epoch):
                    board.add(what)

            files, start, history = run(
                job, plan, records, scored, measured, part, stack.enter_context(progress()), done
            )
    except KeyboardInterrupt:
        raise UserError(f"interrupted; the same command goes on where it stopped ({part})") from None
    _finish(given, part, files, start, history, len(scored))


def _finish(given: Arguments, part: Path, files: Any, start: Score | None, history: list[Epoch], scored: int) -> None:
    """Make the bundle, and write what was asked for."""
    from dataclasses import asdict

    from cli.output import announce, print_provenance, save, save_json
    from conversion.bundle import make_bundle
    from core.provenance import provenance
    from engine.models import find, identity
    from evaluation import curves

    source = f"trained on {given.data.name} by `agent.py train`, seed {given.seed}, {len(history)} epochs"
    bundle = make_bundle(files, given.to, source)
    best = max(history, key=lambda epoch: epoch.ap50)
    found = f"AP50 {best.ap50:.1f} (AP {best.ap:.1f}) in epoch {best.epoch} of {len(history)}"
    where = f"on {scored} pictures of the validation set"
    if start is None:
        out.print(f"best {found}, {where}", soft_wrap=True)
    elif best.ap50 > start.ap50:
        out.print(f"best {found}, {where}; it began with {start.ap50:.1f}", soft_wrap=True)
    else:
        out.print(
            f"no better than what it began with: AP50 {start.ap50:.1f} {where}, at the best {found}; the bundle holds "
            "the weights it began with. More pictures, or ones that are more like the game, would help",
            soft_wrap=True,
        )
    announce("bundle" if start is None or best.ap50 > start.ap50 else "bundle, untrained", bundle)
    block = provenance(model=identity(find(str(bundle.resolve()))), seeds=[given.seed])
    print_provenance(block)
    rows = [asdict(epoch) for epoch in history]
    began = None if start is None else asdict(start)
    save_json(given.json_file, {"start": began, "epochs": rows}, block)
    if given.curves is not None:
        save(given.curves, curves.draw(rows), "curves")
    if given.precision is not None:
        _convert(bundle, given.precision, given.data / "images")
    try:
        shutil.rmtree(part)
    except OSError as error:
        raise UserError(f"{part}: cannot be removed: {error.strerror}") from error


def _convert(bundle: Path, precision: str, pictures: Path) -> None:
    from conversion.convert import Request, convert
    from engine.models import find

    with progress() as tell:
        request = Request(
            find(str(bundle.resolve())),
            bundle,
            precision,  # type: ignore[arg-type]
            calibrate=pictures if precision == "int8" else None,
        )
        convert(request, tell)
    out.print(f"{bundle}: its graphs are ready at {precision}", soft_wrap=True)


def _show(epoch: Epoch | Score) -> None:
    from training.fit import Score

    if isinstance(epoch, Score):
        err.print(f"what it begins with: AP50 {epoch.ap50:.1f}, AP {epoch.ap:.1f}", soft_wrap=True)
        return
    err.print(
        f"epoch {epoch.epoch}: loss {epoch.loss:.2f} (box {epoch.box:.2f}, objectness {epoch.objectness:.2f}, classes "
        f"{epoch.classes:.2f}), AP50 {epoch.ap50:.1f}, AP {epoch.ap:.1f}",
        soft_wrap=True,
    )
