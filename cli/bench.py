"""The command `bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import out, progress
from cli.options import (
    Annotations,
    Cfg,
    Images,
    Json,
    Model,
    Names,
    Plugins,
    Weights,
    listed,
    model_files,
    one_of,
    sides,
)
from core.errors import UserError

if TYPE_CHECKING:
    from engine.worker import Job


def bench(
    model: Model = None,
    cfg: Cfg = None,
    weights: Weights = None,
    names: Names = None,
    sizes: Annotated[str | None, typer.Option(help="The network's inputs, as 320,416x320; its own by default.")] = None,
    engines: Annotated[
        str | None, typer.Option(help="Only these, as openvino:int8,tensorflow:fp32; all there are by default.")
    ] = None,
    frames: Annotated[int, typer.Option(min=5, help="Frames that each is timed on.")] = 60,
    image: Annotated[Path | None, typer.Option(help="The frame; a scene of Doom by default.")] = None,
    images: Images = None,
    annotations: Annotations = None,
    picture: Annotated[
        Path | None, typer.Option("--out", help="Draw speed (against accuracy) to this PNG (extra plots).")
    ] = None,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", help="Write the table as Markdown.")] = None,
    recommend: Annotated[
        bool, typer.Option("--recommend", help="Say which to take: the most accurate that keeps --budget-ms here.")
    ] = False,
    models: Annotated[str | None, typer.Option(help="With --recommend: several, as mine,yolov4-tiny.")] = None,
    budget_ms: Annotated[
        float, typer.Option("--budget-ms", min=0.1, help="With --recommend: from frame to boxes, at p99.")
    ] = 15.0,
    beside: Annotated[
        str | None, typer.Option("--while", metavar="COMMAND", help="With --recommend: a game that runs meanwhile.")
    ] = None,
    check_s: Annotated[
        float, typer.Option("--check-s", min=1, help="With --recommend: seconds that the best is run for.")
    ] = 10.0,
    plugin: Plugins = None,
    json_file: Json = None,
) -> None:
    """Time every engine and precision there is, in turn in one run, from frame to boxes."""
    if recommend:
        from cli.bench_recommend import Arguments, run

        run(
            Arguments(
                [model_files(model, cfg, weights, names)] if models is None else listed(models),
                sizes, engines, budget_ms, beside, frames, check_s, image, images, annotations, plugin, json_file,
            )
        )  # fmt: skip
        return
    if models is not None or beside is not None:
        raise UserError("--models and --while belong to --recommend")
    from agent.discovery import discover
    from cli.output import print_provenance, save, save_json
    from cli.tables import print_table
    from core.files import check_writable
    from core.images import read_image
    from core.provenance import provenance
    from engine.choice import PICTURE, candidates
    from engine.models import identity, load
    from evaluation import bench as benching
    from evaluation import figures
    from evaluation.datasets import read

    for path in (picture, markdown_file, json_file):
        check_writable(path)
    if picture is not None:
        figures.check()
    if plugin:
        discover(plugin)
    files = model_files(model, cfg, weights, names)
    loaded, classes = load(files)
    own = (loaded.network.width, loaded.network.height)
    wanted_sizes = [sides("--sizes", part) for part in listed(sizes) or [""]] if sizes is not None else [own]
    wanted = candidates(files) if engines is None else engines_of(engines)
    truth = read(annotations, images, classes) if both(images, annotations) else None  # type: ignore[arg-type]
    pixels = read_image(image or PICTURE)
    accuracy = None if truth is None else accuracy_on(truth, classes)
    with progress() as tell:
        result = benching.bench(files, wanted, wanted_sizes, pixels, frames, tell, accuracy)
    heads = [*benching.HEADS, "how"]
    lines = [["" if cell is None else cell for cell in (*benching.cells(row), row.description)] for row in result.rows]
    numbers = heads[2:-1]
    print_table(heads, lines, optional=("how", "network p50 ms", "FPS", "size", "p99 ms"), numbers=numbers)
    for name, precision, side, reason in result.failed:
        out.print(f"{name} {precision} {side} was not measured: {reason}", style="yellow", markup=False, soft_wrap=True)
    block = provenance(model=identity(files))
    print_provenance(block)
    save_json(json_file, result.to_dict(), block)
    save(markdown_file, benching.markdown(result.rows), "table")
    if picture is not None and result.rows:
        save(picture, benching.draw(result.rows, identity(files)["name"]), "picture")


def accuracy_on(truth: list[Any], classes: tuple[str, ...]) -> Any:
    """Return what measures AP50, points, of a job on annotated images."""
    from dataclasses import replace

    from engine.worker import Worker
    from evaluation.accuracy import CONFIDENCE, measure, predictions

    def accuracy(job: Job) -> float:
        # What `evaluate` measures: the pictures prepared as for every other engine.
        with Worker(replace(job, confidence=CONFIDENCE, where="host")) as worker:
            return measure(predictions(worker.rows, truth, lambda: None), truth, classes).ap50

    return accuracy


def both(images: Path | None, annotations: Path | None) -> bool:
    """Tell whether annotated images are given.

    :raises UserError: only one of the two options is.
    """
    if (images is None) != (annotations is None):
        raise UserError("give --images and --annotations, or neither")
    return images is not None


def engines_of(text: str) -> list[tuple[str, str]]:
    """Return engines and precisions that `--engines` lists.

    :raises UserError: there is no such one.
    """
    from core.precision import PRECISIONS
    from engine.engine import check_engine

    found = []
    for part in listed(text):
        engine, _, precision = part.rpartition(":")
        if not engine:
            raise UserError(f'--engines has "{part}"; give engine and precision, as openvino:int8')
        one_of("a precision in --engines", precision, PRECISIONS)
        check_engine(engine, precision)
        found.append((engine, precision))
    return found
