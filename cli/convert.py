"""The command `convert`."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import err, out, progress
from cli.options import Annotations, Images, Json, Names, input_size, one_of
from core.errors import UserError

if TYPE_CHECKING:
    from conversion.convert import Request
    from core.progress import Progress
    from engine.models import Files, OnnxFiles


@dataclass(frozen=True)
class Arguments:
    """What the command line gave."""

    to: Path | None
    cfg: Path | None
    weights: str | None
    keras: Path | None
    onnx: Path | None
    layout: str | None
    preprocess: str | None
    model: str | None
    names: Path | None
    size: str | None
    precision: str
    calibrate: Path | None
    pictures: int
    allow_unfit: bool
    method: str | None
    sensitive: bool
    tune: bool
    budget: float
    images: Path | None
    annotations: Path | None
    target: str | None
    max_batch: int
    workspace_gb: float | None
    version_compatible: bool
    json_file: Path | None


def convert(
    to: Annotated[
        Path | None, typer.Option("--out", help="The bundle's folder, such as models/NAME; with --model its own.")
    ] = None,
    cfg: Annotated[Path | None, typer.Option(help="A Darknet cfg ...")] = None,
    weights: Annotated[
        str | None, typer.Option(help="... and its weights; `random` serves where only speed matters.")
    ] = None,
    keras: Annotated[
        Path | None,
        typer.Option(
            help="Or a .keras file or SavedModel of your own training (with --cfg if it has none; extra tensorflow)."
        ),
    ] = None,
    onnx: Annotated[
        Path | None, typer.Option(help="Or an ONNX detector: YOLOv5 to 12 and 26, YOLOX, RT-DETR, D-FINE, RF-DETR ...")
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="With --onnx: how its outputs are read, where that is not recognised.")
    ] = None,
    preprocess: Annotated[
        str | None, typer.Option(metavar="WORDS", help="With --onnx: its input, as bgr,0-255,top-left,pad=114.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Or a bundle, by its name in models/ or its folder.")] = None,
    names: Names = None,
    size: Annotated[
        str | None, typer.Option(help="The network's input, pixels: a side, or WIDTHxHEIGHT; the cfg's by default.")
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    calibrate: Annotated[
        Path | None, typer.Option(help="For int8: a folder of images, or a video, of what the agent will see.")
    ] = None,
    pictures: Annotated[int, typer.Option(min=32, help="Take at most so many of them, evenly spaced.")] = 512,
    allow_unfit: Annotated[
        bool,
        typer.Option("--allow-unfit", help="Calibrate on noise or blank pictures all the same, to see the harm."),
    ] = False,
    method: Annotated[
        str | None, typer.Option(help="How thresholds are chosen: max, percentile, mse (the default) or kl.")
    ] = None,
    sensitive: Annotated[
        bool,
        typer.Option(
            "--sensitive/--no-sensitive", help="For int8: leave the layers in float whose codes cost the output most."
        ),
    ] = True,
    tune: Annotated[
        bool,
        typer.Option("--tune", help="Try methods, then put sensitive layers back to float, until it loses little."),
    ] = False,
    budget: Annotated[float, typer.Option(min=0, help="The points of AP50 that --tune may lose.")] = 0.3,
    images: Images = None,
    annotations: Annotations = None,
    target: Annotated[
        str | None,
        typer.Option(help="openvino, onnx, tensorrt, tensorrt-rtx or savedmodel; what they share by default."),
    ] = None,
    max_batch: Annotated[int, typer.Option(min=1, help="Pictures in a batch at the most (ONNX, TensorRT).")] = 1,
    workspace_gb: Annotated[float | None, typer.Option(min=0.01, help="Memory that TensorRT may work in.")] = None,
    version_compatible: Annotated[
        bool,
        typer.Option(
            "--version-compatible", help="Build TensorRT's engine for the runtime tensorrt-lean, and later ones."
        ),
    ] = False,
    json_file: Json = None,
) -> None:
    """Make a bundle of your own network, at the precision and for the engine you want.

    Every step is stored: the same command again goes on where it stopped, and does nothing twice.
    """
    _run(Arguments(**locals()))


def _run(given: Arguments) -> None:
    from dataclasses import asdict

    from cli.output import announce, print_provenance, save_json
    from conversion import convert as converting
    from core.files import check_writable
    from core.provenance import provenance
    from engine.models import find, identity

    check_writable(given.json_file)
    _check(given)
    tried: list[Any] = []
    told: list[str] = []
    with tempfile.TemporaryDirectory() as scratch, progress() as tell:
        files, bundle = _source(given, Path(scratch))
        request = converting.Request(
            files,
            bundle,
            given.precision,  # type: ignore[arg-type]
            given.target,  # type: ignore[arg-type]
            given.calibrate,
            given.pictures,
            given.allow_unfit,
            converting.Int8(given.method or "mse"),  # type: ignore[arg-type]
            sensitive=given.sensitive,
            max_batch=given.max_batch,
            workspace_gb=given.workspace_gb,
            version_compatible=given.version_compatible,
            source=str(given.keras or ""),
        )
        if given.tune:
            request = _tuned(request, given, tell, tried, told)
        made = converting.convert(request, tell)
    if tried:
        _show_tuning(tried, told)
    contents = sorted(path.name for path in made.iterdir())
    block = provenance(model=identity(find(str(made.resolve()))), precision=given.precision)
    print_provenance(block)
    announce(f"bundle ({', '.join(contents)})", made)
    kept = _in_float(made) if given.calibrate is not None else {}
    data = {
        "bundle": str(made),
        "files": contents,
        "in_float": kept,
        "tuning": [asdict(row) for row in tried],
        "accuracy": told,
    }
    save_json(given.json_file, data, block)


def _in_float(bundle: Path) -> dict[str, list[str]]:
    """Return, and say, which convolutions INT8 leaves in float, beside heads and depthwise ones."""
    from core.text import read_yaml

    noted = read_yaml(bundle / "model.yaml", "the bundle").get("int8") or {}
    kept = {scheme: how["keep"] for scheme, how in noted.items()}
    for scheme, names in kept.items():
        if names:
            out.print(f"in float, {scheme}: {', '.join(names)}", soft_wrap=True)
    return kept


def _check(given: Arguments) -> None:
    """Refuse options that are wrong or do not go together."""
    from conversion.convert import TARGETS
    from core.precision import PRECISIONS

    one_of("--precision", given.precision, PRECISIONS)
    one_of("--method", given.method or "mse", ("max", "percentile", "mse", "kl"))
    if given.method is not None and (given.calibrate is None or given.tune):
        raise UserError("--method belongs to --calibrate without --tune, which tries every method")
    if not given.sensitive and (given.calibrate is None or given.tune):
        raise UserError("--no-sensitive belongs to --calibrate without --tune, which tries layers in float last")
    if given.tune and given.calibrate is None:
        raise UserError("--tune belongs to --precision int8 with --calibrate FOLDER")
    if given.calibrate is not None and given.precision != "int8":
        raise UserError("--calibrate belongs to --precision int8")
    if given.target is not None:
        one_of("--target", given.target, TARGETS)
    if given.workspace_gb is not None and given.target not in ("tensorrt", "tensorrt-rtx"):
        raise UserError("--workspace-gb belongs to --target tensorrt or tensorrt-rtx")
    if given.version_compatible and given.target != "tensorrt":
        raise UserError(
            "--version-compatible belongs to --target tensorrt; an engine for RTX is compiled where it runs"
        )


def _source(given: Arguments, scratch: Path) -> tuple[Files, Path]:
    """Return the files to convert and the bundle's folder."""
    from dataclasses import replace

    from conversion.convert import random_weights_file
    from engine.models import ModelFiles, OnnxFiles, find, read_names

    names = read_names(given.names) if given.names else None
    size = input_size(given.size)
    sources = [option for option in (given.weights, given.keras, given.onnx, given.model) if option is not None]
    if len(sources) != 1 or (given.weights is not None and given.cfg is None):
        raise UserError("give one of: --cfg with --weights; --keras; --onnx; --model")
    if given.onnx is None and (given.layout or given.preprocess):
        raise UserError("--layout and --preprocess belong to --onnx")
    if given.model is not None:
        if given.cfg is not None:
            raise UserError("--model has its own cfg; leave --cfg away")
        files = find(given.model)
        if isinstance(files, OnnxFiles) and files.folder is None:
            raise UserError(f"{given.model}: this is an ONNX file and no bundle; give it as --onnx")
        if names is not None:
            files = replace(files, names=names)
        bundle = given.to or files.folder
        if bundle is None:
            raise UserError("give --out: this model is no bundle yet")
        return replace(files, size=size or files.size), bundle
    if given.to is None:
        raise UserError("give --out, the bundle's folder, such as models/NAME")
    if given.onnx is not None:
        return _onnx(given, OnnxFiles(given.onnx, names, size, None, {}, given.layout, given.preprocess), scratch)
    if given.keras is not None:
        from conversion.keras_files import to_darknet

        if not given.keras.exists():
            raise UserError(f"{given.keras}: there is no such file or folder")
        return replace(to_darknet(given.keras, given.cfg, names, scratch), size=size), given.to
    assert given.cfg is not None
    assert given.weights is not None
    random = given.weights == "random"
    weights = random_weights_file(given.cfg, scratch / "random.weights", size) if random else Path(given.weights)
    return ModelFiles(given.cfg, weights, names, size), given.to


def _onnx(given: Arguments, files: OnnxFiles, scratch: Path) -> tuple[OnnxFiles, Path]:
    """Return an ONNX detector as it was recognised, in one file, and say what was recognised."""
    from dataclasses import replace

    from engine.models import find
    from engine.onnx_file import in_one_file

    assert given.to is not None
    find(str(files.onnx))  # says what to do with a file of another kind
    network = files.network()
    err.print(f"{files.onnx}: input {network.width}x{network.height}, {network.classes} classes", soft_wrap=True)
    for sentence in network.how:
        err.print(f"  {sentence}", soft_wrap=True, markup=False)
    whole = in_one_file(files.onnx, scratch)
    size = (network.width, network.height)
    return replace(
        files, onnx=whole, names=network.names, size=size, layout=network.family.name, preprocess=network.spec
    ), given.to


def _tuned(request: Request, given: Arguments, tell: Progress, tried: list[Any], told: list[str]) -> Request:
    """Return the request with a search for the best INT8; annotations are a second opinion, or else FP32's own boxes.

    :param told: gets the sentence about what the pictures can tell.
    """
    from dataclasses import replace

    from conversion.output_error import executor
    from conversion.tuning import Tuning, pictures_needed
    from engine.models import names_of
    from evaluation.accuracy import predictions
    from evaluation.agreement import as_truth, detecting
    from evaluation.datasets import read
    from evaluation.intervals import AP50, Interval, difference, match

    if (given.images is None) != (given.annotations is None):
        raise UserError("--tune wants --images and --annotations, or neither (then it goes by the agreement with FP32)")
    network = request.files.network()
    annotated = None
    if given.images is not None and given.annotations is not None:
        annotated = read(given.annotations, given.images, names_of(request.files, network))

    def search(material: Any, scheme: Any) -> Any:
        reference = executor(material.model, "asymmetric")
        truth = annotated or as_truth(reference, network, material.fit, material.pictures)

        def matches(engine: Any) -> Any:
            detect = detecting(engine, network, material.fit)
            return match(predictions(detect, truth, lambda: None), truth)

        tell(f"accuracy of FP32 ({scheme})", 0, 0)
        float_matches = matches(reference)

        def loss(engine: Any) -> Interval:
            found = difference(float_matches, matches(engine), AP50)
            needed = pictures_needed(found, len(truth), given.budget)
            few = (
                ""
                if needed is None
                else (f"; that is too few to tell a loss of {given.budget:g}, which takes some {needed:,}")
            )
            what = (
                "pictures"
                if annotated is not None
                else "calibration pictures, of the boxes that FP32 itself finds there"
            )
            told[:] = [*told, f"{scheme}: AP50 lost {found}, points, on {len(truth)} {what}{few}"]
            return found

        tuning = Tuning(network, loss, given.budget, tried, lambda row: _tell(tell, row, len(tried)))
        chosen = tuning.search(material, scheme)
        left = tried[-1].loss
        if left is not None and left[1] > given.budget:
            told.append(
                f"{scheme}: that is more than the budget of {given.budget:g}, with {len(chosen.keep)} layers in "
                "float; no others are put back"
            )
        return chosen

    return replace(request, tune=search)


def _tell(tell: Progress, row: Any, number: int) -> None:
    tell(f"tuning {row.scheme}: {_way(row)}, error {row.error:.2f} %", number, 0)


def _way(row: Any) -> str:
    parts = [row.method, *(["rounding"] if row.rounding else []), *(["heads"] if row.heads else [])]
    return " + ".join([*parts, *([f"{len(row.keep)} in float"] if row.keep else [])])


def _show_tuning(rows: list[Any], told: list[str]) -> None:
    from cli.tables import print_table

    def interval(value: Any) -> str:
        return "" if value is None else f"{value[0]:+.2f} ({value[1]:+.2f} to {value[2]:+.2f})"

    lines = [
        [
            row.scheme,
            _way(row),
            f"{row.error:.2f}",
            interval(row.better),
            interval(row.loss),
            "yes" if row.chosen else "no",
        ]
        for row in rows
    ]
    heads = ["scheme", "way", "error, %", "less than the last taken", "AP50 lost", "taken"]
    print_table(heads, lines, title="what was tried", prose=("way",), numbers=("error, %",))
    for sentence in told:
        out.print(sentence, soft_wrap=True)
