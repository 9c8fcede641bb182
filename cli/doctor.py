"""The command `doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import out, progress
from cli.options import Json, Model, Plugins
from core.errors import UserError

if TYPE_CHECKING:
    from engine.models import Files


def doctor(
    model: Model = None,
    plugin: Plugins = None,
    full: Annotated[
        bool, typer.Option("--full", help="Every precision of every engine, on a small network too, and beside a load.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="With --full: write what is to be attached to a question, as JSON.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Try every engine that is installed, and say which `engine: auto` takes and why not the others."""
    from dataclasses import asdict

    from agent.discovery import discover
    from cli.output import print_provenance, save_json
    from cli.tables import print_table
    from core.files import check_writable
    from core.machine import hardware
    from core.progress import counter
    from core.provenance import provenance
    from engine.choice import attempt, candidates, side_by_side
    from engine.models import OFFICIAL, find, identity
    from engine.runtime import registered

    for path in (json_file, report):
        check_writable(path)
    if report is not None and not full:
        raise UserError("--report says what --full finds; give both")
    if plugin:
        discover(plugin)
    out.print(f"hardware: {'; '.join(hardware())}", soft_wrap=True)
    for name, entry in registered().items():
        if not entry.runtime.installed:
            out.print(f"{name} is not installed: {entry.runtime.install}", style="dim", markup=False, soft_wrap=True)
    model = model or _any_model(OFFICIAL)
    if model is None:
        raise UserError("the engines are tried on a model: give --model, or get one with `fetch yolov4-tiny`")
    files = find(model)
    if full:
        _examine(model, files, report, json_file)
        return
    wanted = candidates(files)
    with progress() as tell:
        trials = list(attempt(files, None, wanted, counter(tell, "trying the engines", len(wanted))))
        tell("the fastest, side by side", 0, 0)
        best = side_by_side(files, None, trials)
    again = {(trial.engine, trial.precision): trial for trial in best}
    trials = [again.get((trial.engine, trial.precision), trial) for trial in trials]
    taken = (best[0].engine, best[0].precision) if best else None
    lines = [
        [
            trial.engine,
            trial.precision,
            "" if trial.p50_ms is None else f"{trial.p50_ms:.2f}",
            "" if trial.error is None else f"{trial.error:.1e}",
            "auto takes this" if (trial.engine, trial.precision) == taken else trial.reason or trial.description,
        ]
        for trial in trials
    ]
    heads = ["engine", "precision", "p50 ms", "error", "verdict"]
    print_table(heads, lines, title=f"{model}, frame to boxes", prose=("verdict",), numbers=("p50 ms", "error"))
    engine, precision = taken or (None, None)
    block = provenance(model=identity(files), engine=engine, precision=precision)
    print_provenance(block)
    rows = [{**asdict(trial), "taken": (trial.engine, trial.precision) == taken} for trial in trials]
    save_json(json_file, {"hardware": hardware(), "model": model, "rows": rows}, block)


def _examine(model: str, files: Files, report_file: Path | None, json_file: Path | None) -> None:
    """Try everything, and say what to install or change."""
    import tempfile

    from cli.output import print_provenance, save, save_json
    from cli.tables import print_table
    from core.provenance import provenance
    from core.text import to_json
    from engine.models import identity
    from evaluation import examination

    with tempfile.TemporaryDirectory(prefix="reticle-doctor-") as folder, progress() as tell:
        rows = examination.examine(model, files, Path(folder), tell)
    heads = ["model", "engine", "precision", "p50 ms", "beside a load", "error", "verdict"]
    print_table(
        heads, examination.lines(rows), prose=("verdict",), numbers=("p50 ms", "beside a load", "error"),
        optional=("error",),
    )  # fmt: skip
    said = examination.advice(rows)
    for sentence in said:
        out.print(f"- {sentence}", markup=False, soft_wrap=True)
    found = examination.report(rows, said)
    block = provenance(model=identity(files))
    print_provenance(block)
    save_json(json_file, found, block)
    save(report_file, to_json(found), "report")


def _any_model(official: tuple[str, ...]) -> str | None:
    from engine.models import MODELS, find

    bundles = sorted(path.parent.name for path in MODELS.glob("*/model.yaml"))
    for name in (*bundles, "yolov4-tiny", *official):
        try:
            find(name)
        except UserError:
            continue
        return name
    return None
