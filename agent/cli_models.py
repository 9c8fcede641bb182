"""The commands on models: fetch, convert, detect, evaluate, bench, doctor, plan.

Beside `cli`, the only module that reaches conversion, evaluation and the engines, and that when called.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from agent.cli_console import JsonOption, check_writable, counter, input_size, out, plain_context, progress, sides
from agent.discovery import discover
from agent.errors import UserError
from agent.files import write_atomically
from agent.profile import choose

if TYPE_CHECKING:
    from conversion.convert import Request
    from engine.models import ModelFiles
    from engine.worker import Job
    from evaluation.datasets import Annotated as AnnotatedImage

ModelOption = Annotated[str | None, typer.Option(help="A bundle: its name in models/ or its folder.")]
CfgOption = Annotated[Path | None, typer.Option(help="Or a Darknet cfg ...")]
WeightsOption = Annotated[Path | None, typer.Option(help="... and its weights.")]
NamesOption = Annotated[Path | None, typer.Option(help="The class names, one a line; COCO's by default.")]
SizeOption = Annotated[str | None, typer.Option(help="The network's input, pixels: a side, or WIDTHxHEIGHT.")]
ImagesOption = Annotated[Path | None, typer.Option(help="The folder of the annotated images.")]
AnnotationsOption = Annotated[
    Path | None, typer.Option(help="COCO's JSON file, or a folder of VOC's .xml or YOLO's .txt files.")
]


def detect(
    images: Annotated[Path, typer.Argument(metavar="IMAGE_OR_FOLDER", help="An image, or a folder of images.")],
    model: ModelOption = None,
    cfg: CfgOption = None,
    weights: WeightsOption = None,
    names: NamesOption = None,
    size: SizeOption = None,
    engine: Annotated[str | None, typer.Option(help="What runs it: openvino, onnx, tensorflow, auto ...")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, fp16 or int8.")] = None,
    confidence: Annotated[float | None, typer.Option(help="Drop boxes less sure than this.")] = None,
    resize: Annotated[str | None, typer.Option(help="auto, letterbox or stretch.")] = None,
    drawn: Annotated[
        Path | None, typer.Option("--out", help="A folder for the images with their boxes drawn, PNG.")
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Detect in an image or a folder of images; draw the boxes and write them as JSON."""
    from evaluation.detect import detect_images, image_files

    files = image_files(images)
    check_writable(json_file)
    catalogue = discover()
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
    maker = catalogue.with_duty("detector", "model")
    choice = choose(catalogue, maker, "detect", **{key: value for key, value in given.items() if value is not None})
    detector = maker.make(choice.settings, plain_context(Path.cwd()))
    unreadable: list[Path] = []
    with progress() as tell:
        count = counter(tell, "detecting", len(files))
        rows = list(detect_images(detector, files, drawn, unreadable, count))
    if json_file is not None:
        write_atomically(json_file, json.dumps(rows, indent=2) + "\n")
    table = Table("image", "class", "score", "box (x1 y1 x2 y2)")
    for row in rows[:20]:
        name = Path(row["image"]).name
        for found in row["detections"]:
            box = " ".join(f"{v:.0f}" for v in found["box"])
            table.add_row(name, found["class"], f"{found['score']:.2f}", box)
            name = ""
        if name:
            table.add_row(name, "nothing found")
    out.print(table)
    if len(rows) > 20:
        out.print(f"and {len(rows) - 20} more images")
    _written(boxes=json_file, pictures=drawn)
    if unreadable:
        raise UserError(f"these are no images or are damaged: {', '.join(map(str, unreadable))}; the others are done")


def fetch(
    name: Annotated[str, typer.Argument(help="yolov4, yolov4-tiny, yolov3 or yolov3-tiny.")],
    to: Annotated[Path | None, typer.Option("--out", help="The bundle's folder; models/NAME by default.")] = None,
) -> None:
    """Download official weights into a bundle: checked by sha256, resumed where they broke off."""
    from conversion import fetch as fetching
    from engine.models import MODELS

    with progress() as tell:
        bundle = fetching.fetch(
            name, to or MODELS / name, lambda done, total: tell(f"{name}, KB", done // 1024, total // 1024)
        )
    out.print(f"{bundle}: the bundle is ready", soft_wrap=True)


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
        typer.Option(help="Or a .keras file or SavedModel of your own training (with --cfg if it has none)."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Or a bundle, by its name in models/ or its folder.")] = None,
    names: NamesOption = None,
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
    tune: Annotated[
        bool,
        typer.Option("--tune", help="Try methods, then put sensitive layers back to float, until it loses little."),
    ] = False,
    budget: Annotated[float, typer.Option(min=0, help="The points of AP50 that --tune may lose.")] = 0.3,
    images: ImagesOption = None,
    annotations: AnnotationsOption = None,
    target: Annotated[
        str | None,
        typer.Option(help="openvino, onnx, tensorrt, tensorrt-rtx or savedmodel; what they share by default."),
    ] = None,
    max_batch: Annotated[int, typer.Option(min=1, help="Pictures in a batch at the most (ONNX, TensorRT).")] = 1,
    workspace_gb: Annotated[float | None, typer.Option(min=0.01, help="Memory that TensorRT may work in.")] = None,
    json_file: JsonOption = None,
) -> None:
    """Make a bundle of your own network, at the precision and for the engine you want.

    Every step is kept: the same command again goes on where it stopped, and does nothing twice.
    """
    from dataclasses import asdict

    from conversion.convert import Int8, Request
    from conversion.convert import convert as run

    check_writable(json_file)
    with tempfile.TemporaryDirectory() as scratch, progress() as tell:
        files, bundle = _to_convert(cfg, weights, keras, model, names, size, to, Path(scratch))
        _one_of("--precision", precision, ("fp32", "fp16", "int8"))
        _one_of("--method", method or "mse", ("max", "percentile", "mse", "kl"))
        if method is not None and (calibrate is None or tune):
            raise UserError("--method belongs to --calibrate without --tune, which tries every method")
        from conversion.convert import TARGETS

        if target is not None:
            _one_of("--target", target, TARGETS)
        rows: list[Any] = []
        request = Request(
            files,
            bundle,
            precision,  # type: ignore[arg-type]
            target,  # type: ignore[arg-type]
            calibrate,
            pictures,
            allow_unfit,
            Int8(method or "mse"),  # type: ignore[arg-type]
            None,
            max_batch,
            workspace_gb,
            str(keras or ""),
        )
        if tune:
            request = _tuned(request, budget, images, annotations, tell, rows)
        made = run(request, tell)
    if rows:
        _show_tuning(rows)
    contents = sorted(path.name for path in made.iterdir())
    out.print(f"{made}: the bundle is ready ({', '.join(contents)})", soft_wrap=True)
    if json_file is not None:
        made_of = {"bundle": str(made), "files": contents, "tuning": [asdict(row) for row in rows]}
        write_atomically(json_file, json.dumps(made_of, indent=2) + "\n")
        _written(json=json_file)


def _to_convert(
    cfg: Path | None,
    weights: str | None,
    keras: Path | None,
    model: str | None,
    names: Path | None,
    size: str | None,
    to: Path | None,
    scratch: Path,
) -> tuple[ModelFiles, Path]:
    """Return the Darknet files to convert and the bundle's folder."""
    from dataclasses import replace

    from conversion.convert import random_weights_file
    from conversion.keras_files import to_darknet
    from engine.models import ModelFiles, find, read_names

    listed = read_names(names) if names else None
    wanted = input_size(size)
    given = [option for option in (weights, keras, model) if option is not None]
    if len(given) != 1 or (weights is not None and cfg is None):
        raise UserError("give one of: --cfg with --weights; --keras; --model")
    if model is not None:
        if cfg is not None:
            raise UserError("--model has its own cfg; leave --cfg away")
        files = find(model)
        if listed is not None:
            files = replace(files, names=listed)
        bundle = to or files.folder
        if bundle is None:
            raise UserError("give --out: this model is no bundle yet")
        return replace(files, size=wanted or files.size), bundle
    if to is None:
        raise UserError("give --out, the bundle's folder, such as models/NAME")
    if keras is not None:
        if not keras.exists():
            raise UserError(f"{keras}: there is no such file or folder")
        return replace(to_darknet(keras, cfg, listed, scratch), size=wanted), to
    assert cfg is not None
    assert weights is not None
    path = random_weights_file(cfg, scratch / "random.weights", wanted) if weights == "random" else Path(weights)
    return ModelFiles(cfg, path, listed, wanted), to


def _tuned(
    request: Request,
    budget: float,
    images: Path | None,
    annotations: Path | None,
    tell: Callable[[str, int, int], None],
    rows: list[Any],
) -> Request:
    """Return the request with a search for the best INT8, on annotations or else on the agreement with FP32."""
    from dataclasses import replace

    from conversion.tuning import Tuning, executor
    from engine.darknet import read_cfg
    from engine.models import class_names
    from evaluation.agreement import as_truth, score
    from evaluation.datasets import read

    if (images is None) != (annotations is None):
        raise UserError("--tune wants --images and --annotations, or neither (then it goes by the agreement with FP32)")
    network = read_cfg(request.files.cfg, request.files.size)
    labelled = read(annotations, images, class_names(request.files, network)) if images and annotations else None

    def search(material: Any, form: Any) -> Any:
        truth = labelled
        engine = executor(material.model, "asymmetric")
        if truth is None:
            truth = as_truth(engine, network, material.resize, material.pictures)
        tell(f"accuracy of FP32 ({form})", 0, 0)
        reference = score(engine, network, material.resize, truth)

        def tried(row: Any) -> None:
            kept = f", {len(row.keep)} layers in float" if row.keep else ""
            corrected = ", biases corrected" if row.bias_correction else ""
            tell(f"tuning {form}: {row.method}{corrected}{kept} loses {row.loss:.2f}", len(rows), 0)

        tuning = Tuning(lambda e: score(e, network, material.resize, truth), reference, budget, rows, tried)
        return tuning.search(material, form)

    return replace(request, tune=search)


def _show_tuning(rows: list[Any]) -> None:
    table = Table("form", "method", "biases", "in float", "AP50", "loss", title="what was tried", title_justify="left")
    for row in rows:
        corrected = "corrected" if row.bias_correction else "as they are"
        table.add_row(
            row.form, row.method, corrected, ", ".join(row.keep) or "-", f"{row.score:.2f}", f"{row.loss:+.2f}"
        )
    out.print(table)


def evaluate(
    images: Annotated[Path, typer.Option(help="The folder of the annotated images.")],
    annotations: Annotated[
        Path, typer.Option(help="COCO's JSON file, or a folder of VOC's .xml or YOLO's .txt files.")
    ],
    model: ModelOption = None,
    cfg: CfgOption = None,
    weights: WeightsOption = None,
    names: NamesOption = None,
    size: SizeOption = None,
    engine: Annotated[str, typer.Option(help="What runs it.")] = "openvino",
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    resize: Annotated[str, typer.Option(help="auto, letterbox or stretch.")] = "auto",
    json_file: JsonOption = None,
) -> None:
    """Measure accuracy on annotated images: COCO's AP, Darknet's AP50, and an old tutorial's protocol beside them."""
    from engine.engine import check_engine
    from engine.models import load
    from evaluation.accuracy import measure
    from evaluation.agreement import seed_ap50
    from evaluation.datasets import read

    check_writable(json_file)
    _one_of("--precision", precision, ("fp32", "fp16", "int8"))
    _one_of("--resize", resize, ("auto", "letterbox", "stretch"))
    check_engine(engine, precision)
    files = _files(model, cfg, weights, names)
    loaded, classes = load(files, input_size(size))
    side = (loaded.network.width, loaded.network.height)
    truth = read(annotations, images, classes)
    with progress() as tell:
        found, seed = _predict(files, side, engine, precision, resize, truth, tell)
    result = measure(found, truth, classes)
    row = {
        "engine": engine,
        "precision": precision,
        "size": side[0],
        "images": result.images,
        "ap50": result.ap50,
        "ap": result.ap,
        "darknet_ap50": result.darknet_ap50,
        "seed_protocol_ap50": round(seed_ap50(seed, truth), 2),
        "classes": result.classes,
    }
    table = Table(
        "what",
        "points",
        title=f"{engine} {precision}, {side[0]}x{side[1]}, {result.images} images",
        title_justify="left",
    )
    table.add_row("AP50, COCO's (pycocotools)", f"{row['ap50']:.2f}")
    table.add_row("AP, COCO's (IoU 0.50 to 0.95)", f"{row['ap']:.2f}")
    table.add_row("AP50, Darknet's own count", f"{row['darknet_ap50']:.2f}")
    table.add_row("AP50, an old tutorial's protocol (see docs/accuracy.md)", f"{row['seed_protocol_ap50']:.2f}")
    out.print(table)
    if json_file is not None:
        write_atomically(json_file, json.dumps(row, indent=2) + "\n")
        _written(json=json_file)


def _predict(
    files: ModelFiles,
    size: tuple[int, int],
    engine: str,
    precision: str,
    resize: str,
    truth: list[AnnotatedImage],
    tell: Callable[[str, int, int], None],
) -> tuple[Any, Any]:
    from engine.worker import Job, Worker
    from evaluation.accuracy import CONFIDENCE, predictions

    job = Job(files, size, engine, precision, CONFIDENCE, resize=resize, where="host")  # type: ignore[arg-type]
    tell(f"loading {engine}", 0, 0)
    with Worker(job) as worker:
        found = predictions(worker.rows, truth, counter(tell, "detecting", len(truth)))
        # The tutorial's network got blue for red and had no scale_x_y.
        tutorial = predictions(worker.swapped_rows, truth, counter(tell, "and as the tutorial did", len(truth)))
    return found, tutorial


def bench(
    model: ModelOption = None,
    cfg: CfgOption = None,
    weights: WeightsOption = None,
    names: NamesOption = None,
    sizes: Annotated[str | None, typer.Option(help="The network's inputs, as 320,416x320; its own by default.")] = None,
    engines: Annotated[
        str | None, typer.Option(help="Only these, as openvino:int8,tensorflow:fp32; all there are by default.")
    ] = None,
    frames: Annotated[int, typer.Option(min=5, help="Frames that each is timed on.")] = 60,
    image: Annotated[Path | None, typer.Option(help="The frame; a scene of Doom by default.")] = None,
    images: ImagesOption = None,
    annotations: AnnotationsOption = None,
    picture: Annotated[Path | None, typer.Option("--out", help="Draw speed (against accuracy) to this PNG.")] = None,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", help="Write the table as Markdown.")] = None,
    json_file: JsonOption = None,
) -> None:
    """Time every engine and precision there is, in turn in one run, from frame to boxes."""
    import cv2

    from engine.choice import PICTURE, candidates
    from engine.models import load
    from evaluation.accuracy import CONFIDENCE, measure, predictions
    from evaluation.bench import bench as run
    from evaluation.bench import draw, markdown
    from evaluation.datasets import read

    for path in (picture, markdown_file, json_file):
        check_writable(path)
    files = _files(model, cfg, weights, names)
    loaded, classes = load(files)
    own = (loaded.network.width, loaded.network.height)
    sizes_wanted = [sides("--sizes", part.strip()) for part in sizes.split(",")] if sizes is not None else [own]
    wanted = candidates(files) if engines is None else _engines(engines)
    if (images is None) != (annotations is None):
        raise UserError("give --images and --annotations, or neither")
    truth = read(annotations, images, classes) if images and annotations else None
    pixels = cv2.imread(str(image or PICTURE), cv2.IMREAD_COLOR)
    if pixels is None:
        raise UserError(f"{image or PICTURE}: this is no image or is damaged")

    def accuracy(job: Job) -> float:
        from dataclasses import replace

        from engine.worker import Worker

        assert truth is not None
        with Worker(replace(job, confidence=CONFIDENCE)) as worker:
            return measure(predictions(worker.rows, truth, lambda: None), truth, classes).ap50

    with progress() as tell:
        result = run(files, wanted, sizes_wanted, pixels, frames, tell, accuracy if truth else None)
    table = Table("engine", "size", "p50 ms", "p99 ms", "FPS", "network ms", "x TensorFlow", "AP50", "")
    for row in result.rows:
        table.add_row(
            f"{row.engine} {row.precision}", str(row.size), f"{row.p50_ms:.2f}", f"{row.p99_ms:.2f}", f"{row.fps:.1f}",
            f"{row.network_p50_ms:.2f}", "" if row.ratio_to_tensorflow is None else f"{row.ratio_to_tensorflow:.2f}",
            "" if row.ap50 is None else f"{row.ap50:.2f}", row.about,
        )  # fmt: skip
    out.print(table)
    for engine, precision, side, reason in result.failed:
        out.print(
            f"{engine} {precision} {side} was not measured: {reason}", style="yellow", markup=False, soft_wrap=True
        )
    if json_file is not None:
        write_atomically(json_file, json.dumps(result.as_json(), indent=2) + "\n")
    if markdown_file is not None:
        write_atomically(markdown_file, markdown(result.rows))
    if picture is not None and result.rows:
        write_atomically(picture, draw(result.rows, files.folder or files.cfg))
    _written(json=json_file, table=markdown_file, picture=picture)


def doctor(model: ModelOption = None, json_file: JsonOption = None) -> None:
    """Try every engine that is installed, and say which `engine: auto` takes and why not the others."""
    from dataclasses import asdict

    from engine.choice import attempt, candidates, fastest, hardware
    from engine.engine import ENGINES, installed
    from engine.models import OFFICIAL, find

    check_writable(json_file)
    out.print(f"hardware: {'; '.join(hardware())}", soft_wrap=True)
    for name, kind in ENGINES.items():
        if not installed(name):
            out.print(f"{name} is not installed: {kind.install}", style="dim", markup=False, soft_wrap=True)
    if model is None:
        model = _any_model(OFFICIAL)
    if model is None:
        raise UserError("the engines are tried on a model: give --model, or get one with `fetch yolov4-tiny`")
    files = find(model)
    wanted = candidates(files)
    with progress() as tell:
        trials = list(attempt(files, None, wanted, counter(tell, "trying the engines", len(wanted))))
    best = fastest(trials)
    table = Table("engine", "precision", "p50 ms", "error", "", title=f"{model}, frame to boxes", title_justify="left")
    for trial in trials:
        taken = "auto takes this" if trial is best else trial.reason or trial.about
        table.add_row(
            trial.engine, trial.precision, "" if trial.p50_ms is None else f"{trial.p50_ms:.2f}",
            "" if trial.error is None else f"{trial.error:.1e}", escape(taken), style=None if trial.good else "yellow",
        )  # fmt: skip
    out.print(table)
    if json_file is not None:
        rows = [{**asdict(trial), "taken": trial is best} for trial in trials]
        write_atomically(json_file, json.dumps({"hardware": hardware(), "model": model, "rows": rows}, indent=2) + "\n")
        _written(json=json_file)


def _any_model(names: tuple[str, ...]) -> str | None:
    from engine.errors import ModelError
    from engine.models import MODELS, find

    bundles = sorted(path.parent.name for path in MODELS.glob("*/model.yaml"))
    for name in (*bundles, "yolov4-tiny", *names):
        try:
            find(name)
        except ModelError:
            continue
        return name
    return None


def plan(
    engine: Annotated[
        Path, typer.Argument(help="A TensorRT engine of a bundle, such as models/NAME/int8.tensorrt-rtx.engine.")
    ],
    every: Annotated[bool, typer.Option("--all", help="List every layer, not only those that stayed unfused.")] = False,
    json_file: JsonOption = None,
) -> None:
    """Show how TensorRT planned an engine: layers, precisions, fusions, and what stayed unfused and why."""
    from dataclasses import asdict

    from conversion.plan import read

    found = read(engine)
    out.print(", ".join(f"{key} {value}" for key, value in found.key.items() if key != "onnx_sha256"), soft_wrap=True)
    kinds = ", ".join(f"{count} {kind or 'of no type'}" for kind, count in found.precisions.most_common())
    out.print(f"{len(found.layers)} layers; {len(found.convolutions)} hold a convolution: {kinds}")
    table = Table("layer", "kind", "in", "out", "of the network", "why")
    why = {layer.name: reason for layer, reason in found.unfused}
    for layer in found.layers:
        if every or layer.name in why:
            names = " ".join(name for name in layer.onnx if name.count(".") == 0)
            table.add_row(
                layer.name, layer.kind, " ".join(layer.inputs), layer.output, escape(names), why.get(layer.name, "")
            )
    out.print(table)
    if json_file is not None:
        rows = [{**asdict(layer), "why_unfused": why.get(layer.name)} for layer in found.layers]
        write_atomically(json_file, json.dumps({"key": found.key, "layers": rows}, indent=2) + "\n")
        _written(json=json_file)


def _files(model: str | None, cfg: Path | None, weights: Path | None, names: Path | None) -> ModelFiles:
    from dataclasses import replace

    from engine.models import ModelFiles, find, read_names

    listed = read_names(names) if names else None
    if (model is None) == (cfg is None and weights is None) or (model is None and None in (cfg, weights)):
        raise UserError("give either --model, or both --cfg and --weights")
    if model is not None:
        files = find(model)
        return files if listed is None else replace(files, names=listed)
    assert cfg is not None
    assert weights is not None
    return ModelFiles(cfg, weights, listed)


def _engines(text: str) -> list[tuple[str, str]]:
    from engine.engine import check_engine

    found = []
    for part in text.split(","):
        engine, _, precision = part.strip().rpartition(":")
        _one_of("a precision in --engines", precision, ("fp32", "fp16", "int8"))
        check_engine(engine, precision)
        found.append((engine, precision))
    return found


def _one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f'{option} is "{value}"; choose one of: {", ".join(known)}')


def _written(**paths: Path | None) -> None:
    for what, path in paths.items():
        if path is not None:
            out.print(f"{what}: {path}", style="dim", soft_wrap=True)


COMMANDS = (detect, fetch, convert, evaluate, bench, doctor, plan)
