"""The option `--recommend` of the command `bench`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.bench import accuracy_on, both, engines_of
from cli.console import out, progress
from cli.options import listed, sides
from core.errors import UserError

if TYPE_CHECKING:
    from engine.models import Files
    from evaluation.recommend import Candidate, Row, Timing


@dataclass(frozen=True)
class Arguments:
    """What the command line gave; `models` are names or files."""

    models: list[Any]
    sizes: str | None
    engines: str | None
    budget_ms: float
    beside: str | None
    frames: int
    check_s: float
    image: Path | None
    images: Path | None
    annotations: Path | None
    plugin: list[Path] | None
    json_file: Path | None


def run(given: Arguments) -> None:
    """Time, rank and check candidates, and print what to write in a profile."""
    from agent.discovery import discover
    from cli.output import print_provenance, save_json
    from cli.tables import print_table
    from core.files import check_writable
    from core.images import read_image
    from core.provenance import provenance
    from engine.choice import PICTURE
    from evaluation.recommend import Wanted, profile_lines, recommend

    check_writable(given.json_file)
    if given.plugin:
        discover(given.plugin)
    candidates = _candidates(given)
    accuracy = _accuracy(given, candidates)
    wanted = Wanted(given.budget_ms, given.beside, given.frames, given.check_s)
    with progress() as tell:
        found = recommend(candidates, wanted, read_image(given.image or PICTURE), accuracy, tell)
    lines = [_cells(row) for row in found.rows]
    heads = ["model", "size", "engine", "precision", "p50 ms", "p99 ms", "beside", "times", "AP50", "verdict"]
    print_table(heads, lines, optional=("p50 ms", "times", "size"), prose=("model", "verdict"), numbers=heads[4:9])
    best = found.best
    if best is not None and best.checked is not None:
        out.print(
            f"{best.model} at {best.size[0]}x{best.size[1]} on {best.engine} {best.precision}: p99 "
            f"{best.checked.p99_ms:.1f} ms of {given.budget_ms:g} in a run of {given.check_s:g} s "
            f"({best.checked.frames} frames); in a profile:",
            soft_wrap=True,
        )
        out.print(profile_lines(best), markup=False, end="")
    elif any(row.keeps for row in found.rows):
        out.print(
            "which of these models is the better one cannot be told without annotated images (--images, --annotations)",
            soft_wrap=True,
        )
    elif all(row.alone is None for row in found.rows):
        raise UserError("\n".join(dict.fromkeys(row.reason for row in found.rows)))
    else:
        out.print(f"nothing here keeps {given.budget_ms:g} ms; a smaller size or model may", soft_wrap=True)
    block = provenance()
    print_provenance(block)
    rows = [row.to_dict() for row in found.rows]
    data = {"recommended": None if best is None else best.to_dict(), "budget_ms": given.budget_ms, "rows": rows}
    save_json(given.json_file, data, block)


def _candidates(given: Arguments) -> list[Candidate]:
    from engine.choice import candidates
    from engine.models import find
    from evaluation.recommend import Candidate

    if not given.models or "" in given.models:
        raise UserError("--models names no model; give some, as mine,yolov4-tiny")
    found = []
    for model in given.models:
        files: Files = find(model) if isinstance(model, str) else model
        wanted: list[tuple[str, Any]] = candidates(files) if given.engines is None else engines_of(given.engines)
        network = files.network()
        sizes = [(network.width, network.height)]
        if given.sizes is not None:
            sizes = [sides("--sizes", part) for part in listed(given.sizes)]
        found += [Candidate(files, size, *pair) for size in sizes for pair in wanted]
    return found


def _accuracy(given: Arguments, candidates: list[Candidate]) -> Any:
    """Return what measures a candidate's AP50 on the annotated images, if there are any.

    :raises UserError: the models' classes differ, so that one set of annotations cannot rank them.
    """
    from engine.models import load
    from evaluation.datasets import read

    if not both(given.images, given.annotations):
        return None
    assert given.images is not None
    assert given.annotations is not None
    names = {candidate.model: load(candidate.files)[1] for candidate in candidates}
    first, *others = names.items()
    for model, listed_names in others:
        if listed_names != first[1]:
            raise UserError(f"{first[0]} and {model} have other classes; accuracy on one data set cannot rank them")
    return accuracy_on(read(given.annotations, given.images, first[1]), first[1])


def _cells(row: Row) -> list[str]:
    def cell(timing: Timing | None, name: str) -> str:
        return "" if timing is None else f"{getattr(timing, name):.1f}"

    verdict = row.reason or "keeps the budget"
    if row.checked is not None and row.keeps:
        verdict = "take this"
    return [
        row.model,
        str(row.size[0]) if row.size[0] == row.size[1] else f"{row.size[0]}x{row.size[1]}",
        row.engine,
        row.precision,
        cell(row.alone, "p50_ms"),
        cell(row.alone, "p99_ms"),
        cell(row.beside, "p99_ms"),
        "" if row.contention is None else f"{row.contention:.2f}",
        "" if row.ap50 is None else f"{row.ap50:.2f}",
        verdict,
    ]
