"""The command `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import progress
from cli.options import Cfg, Json, Model, Names, Plugins, Size, Weights, input_size, model_files, one_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.boxes import Rows
    from evaluation.datasets import Annotated as Labelled
    from evaluation.intervals import Interval


def evaluate(
    images: Annotated[Path, typer.Option(help="The folder of the annotated images.")],
    annotations: Annotated[
        Path, typer.Option(help="COCO's JSON file, or a folder of VOC's .xml or YOLO's .txt files.")
    ],
    model: Model = None,
    cfg: Cfg = None,
    weights: Weights = None,
    names: Names = None,
    size: Size = None,
    engine: Annotated[str, typer.Option(help="What runs it.")] = "openvino",
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    resize: Annotated[str, typer.Option(help="auto, letterbox or stretch.")] = "auto",
    against: Annotated[
        str | None, typer.Option(help="Compare with another precision of the same engine, picture by picture: fp32.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Draw the pictures with the most misses and false boxes to this PNG.")
    ] = None,
    plugin: Plugins = None,
    json_file: Json = None,
) -> None:
    """Measure accuracy on annotated images: COCO's AP, Darknet's AP50, and an old tutorial's protocol beside them."""
    from agent.discovery import discover
    from cli.console import out
    from cli.output import print_provenance, save, save_json
    from cli.tables import print_table
    from core.files import check_writable
    from core.precision import PRECISIONS
    from core.provenance import provenance
    from evaluation.evaluate import EvaluateConfig
    from evaluation.evaluate import evaluate as run
    from evaluation.misses import misses
    from evaluation.misses import sheet as drawn

    check_writable(json_file)
    check_writable(sheet)
    one_of("--precision", precision, PRECISIONS)
    if against is not None:
        one_of("--against", against, PRECISIONS)
    one_of("--resize", resize, ("auto", "letterbox", "stretch"))
    if plugin:
        discover(plugin)
    files = model_files(model, cfg, weights, names)
    config = EvaluateConfig(files, images, annotations, input_size(size), engine, precision, resize, against)  # type: ignore[arg-type]
    pictures: list[bytes] = []

    def look(found: Sequence[Rows], truth: Sequence[Labelled], classes: Sequence[str]) -> None:
        if worst := misses(found, truth, classes):
            pictures.append(drawn(worst, classes))

    with progress() as tell:
        result = run(config, tell, None if sheet is None else look)
    found = result.intervals
    lines = [
        ["AP50, COCO's (pycocotools)", f"{result.ap50:.2f}", _span(found["ap50"])],
        ["AP, COCO's (IoU 0.50 to 0.95)", f"{result.ap:.2f}", _span(found["ap"])],
        ["AP50, Darknet's own count", f"{result.darknet_ap50:.2f}", ""],
    ]
    if result.seed_protocol_ap50 is not None:
        lines.append(["AP50, an old tutorial's protocol", f"{result.seed_protocol_ap50:.2f}", ""])
    for name, what in (("ap50_difference", "AP50"), ("ap_difference", "AP")):
        if name in found:
            lines.append([f"{what}, difference to {against}", f"{found[name].value:+.2f}", _span(found[name], "+")])
    width, height = result.size
    title = f"{result.engine} {result.precision}, {width}x{height}, {result.images} images"
    print_table(["what", "points", "95 %"], lines, title=title, prose=("what",), numbers=("points",))
    block = provenance(model=result.model, engine=result.engine, precision=result.precision)
    print_provenance(block)
    save_json(json_file, result.to_dict(), block)
    for picture in pictures:
        save(sheet, picture, "contact sheet")
    if sheet is not None and not pictures:
        out.print("nothing was missed and no box is false: there is no sheet to draw")


def _span(interval: Interval, sign: str = "") -> str:
    return f"{interval.low:{sign}.2f} to {interval.high:{sign}.2f}"
