"""The command `detect`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import out, progress
from cli.options import Cfg, Json, Model, Names, Plugins, Size, Weights, input_size
from core.errors import UserError

if TYPE_CHECKING:
    from agent.roles import Detector
    from agent.types import Detections

SHOWN = 20
"""Images that the table lists; the JSON has them all."""
SHARED = ("engine", "precision", "confidence", "size", "resize")
"""Settings that the model of --against has, too."""


def detect(
    images: Annotated[Path, typer.Argument(metavar="IMAGE_OR_FOLDER", help="An image, or a folder of images.")],
    model: Model = None,
    cfg: Cfg = None,
    weights: Weights = None,
    names: Names = None,
    size: Size = None,
    engine: Annotated[str | None, typer.Option(help="What runs it: openvino, onnx, tensorflow, auto ...")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, fp16 or int8.")] = None,
    confidence: Annotated[float | None, typer.Option(help="Drop boxes less sure than this.")] = None,
    resize: Annotated[str | None, typer.Option(help="auto, letterbox or stretch.")] = None,
    drawn: Annotated[
        Path | None, typer.Option("--out", help="A folder for the images with their boxes drawn, PNG.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Show where another model finds other boxes, instead.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="With --against: draw the images that differ most to this PNG.")
    ] = None,
    plugin: Plugins = None,
    json_file: Json = None,
) -> None:
    """Detect in an image or a folder of images; draw the boxes and write them as JSON."""
    from agent.context import outside_a_run
    from agent.discovery import discover
    from agent.profile import choose
    from agent.roles import described
    from agent.session import create
    from cli.output import announce, print_provenance, save_json
    from cli.tables import print_table
    from core.files import check_writable
    from core.progress import counter
    from core.provenance import provenance
    from evaluation.detect import detect_images, image_files

    if sheet is not None and against is None:
        raise UserError("--sheet draws where two models differ; name the other one (--against MODEL)")
    if drawn is not None and against is not None:
        raise UserError("--out draws what one model finds; for where two differ, give --sheet FILE.png")
    files = image_files(images)
    check_writable(json_file)
    check_writable(sheet)
    given = {
        "model": model,
        "cfg": cfg and cfg.resolve(),
        "weights": weights and weights.resolve(),
        "names": names and names.resolve(),
        "size": input_size(size),
        "engine": engine,
        "precision": precision,
        "confidence": confidence,
        "resize": resize,
    }
    factory = discover(plugin or []).first("detector", lambda f: f.runs_models, "runs models")
    choice = choose(factory, "detect", **{key: value for key, value in given.items() if value is not None})
    detector = create(choice, outside_a_run(Path.cwd()))
    if against is not None:
        other = choose(factory, "--against", **{**choice.settings.model_dump(include=set(SHARED)), "model": against})
        _differences(files, detector, create(other, outside_a_run(Path.cwd())), sheet, json_file)
        return
    unreadable: list[str] = []
    with progress() as tell:
        count = counter(tell, "detecting", len(files))
        rows = list(detect_images(detector, files, drawn, unreadable, count))
    lines = []
    for row in rows[:SHOWN]:
        name = Path(row["image"]).name
        for found in row["detections"]:
            lines.append([name, found["class"], f"{found['score']:.2f}", " ".join(f"{v:.0f}" for v in found["box"])])
            name = ""
        if name:
            lines.append([name, "nothing found", "", ""])
    print_table(["image", "class", "score", "box (x1 y1 x2 y2)"], lines, prose=("image", "class"))
    if len(rows) > SHOWN:
        out.print(f"and {len(rows) - SHOWN} more images")
    block = provenance(**described(detector))
    print_provenance(block)
    save_json(json_file, {"images": rows}, block)
    if drawn is not None and rows:
        announce("pictures", drawn)
    if unreadable:
        raise UserError("\n".join([*unreadable, "the other images are done"][: 1 if len(files) == 1 else None]))


def _differences(
    files: list[Path], detector: Detector, other: Detector, sheet: Path | None, json_file: Path | None
) -> None:
    from agent.roles import described
    from cli.output import save, save_json
    from cli.tables import print_table
    from core.progress import counter
    from core.provenance import provenance
    from evaluation import differences

    unreadable: list[str] = []
    with progress() as tell:
        found = differences.compare(detector, other, files, unreadable, counter(tell, "detecting", len(files)))
    lines = [
        [each.image.name, _named(each.only_first, detector.names), _named(each.only_second, other.names)]
        for each in found[:SHOWN]
    ]
    print_table(["image", "only the first model", "only the second"], lines, prose=("image",))
    out.print(f"they differ on {len(found)} of {len(files)} images", soft_wrap=True)
    rows = differences.as_rows(found, detector, other)
    save_json(json_file, {"differences": rows, "against": described(other)}, provenance(**described(detector)))
    if sheet is not None and found:
        save(sheet, differences.sheet(found, detector, other), "contact sheet")
    if unreadable:
        raise UserError("\n".join([*unreadable, "the other images are done"]))


def _named(found: Detections, names: Sequence[str]) -> str:
    counts = Counter(names[i] for i in found.class_id.tolist())
    return ", ".join(f"{count} {name}" for name, count in counts.items())
