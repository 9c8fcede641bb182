"""The command `arena`: a profile scored in its game, beside the ground truth and chance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import progress
from cli.options import MAX_SEED, Json, Overrides, Plugins, listed, load
from core.errors import UserError

if TYPE_CHECKING:
    from agent.profile import LoadedProfile

SUITE_SEEDS = 4
"""Runs of each case of a suite in which there is chance."""


@dataclass(frozen=True)
class Arguments:
    """What the command line gave."""

    profile: str
    suite: str | None
    episodes: int
    baselines: str | None
    scenarios: str | None
    seed: int
    latency: str
    jitter: float
    drop: float
    noise: float
    engine: str | None
    precision: str | None
    processes: int | None
    cluster: str | None
    picture: Path | None
    markdown_file: Path | None
    json_file: Path | None
    overrides: list[str] | None
    plugin: list[Path] | None
    live: bool
    xvfb: bool


def arena(
    profile: Annotated[
        str, typer.Option("--profile", "-p", help="A profile whose capture knows the truth; any with --suite.")
    ] = "doom.yaml",
    suite: Annotated[
        str | None,
        typer.Option(help="`aim`: the profile's controller against simulated targets, beside the other ones; no game."),
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes of each player and scenario.")] = 20,
    baselines: Annotated[str | None, typer.Option(help="oracle, random, or both with a comma.")] = None,
    scenarios: Annotated[
        str | None, typer.Option("--scenario", help="Other scenarios than the profile's, with commas between them.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Of the first episode; the next have the next.")] = 7,
    latency: Annotated[
        str, typer.Option("--latency-ms", help="Injected latency, or several with commas: a curve.")
    ] = "0",
    jitter: Annotated[float, typer.Option("--jitter-ms", min=0, help="Latency by chance, up to this more.")] = 0.0,
    drop: Annotated[float, typer.Option(min=0, max=1, help="The share of frames whose detections are lost.")] = 0.0,
    noise: Annotated[float, typer.Option("--noise-px", min=0, help="Boxes are off by this, standard deviation.")] = 0.0,
    engine: Annotated[str | None, typer.Option(help="The detector's engine, in place of the profile's.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="The detector's precision, in place of the profile's; several with commas.")
    ] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="Episodes at a time; the processor's cores.")] = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Play on a Ray cluster; `local` starts Ray on this machine.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--out", help="Draw score and aim error to this PNG (extra plots).")
    ] = None,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", help="Write the table as Markdown.")] = None,
    json_file: Json = None,
    overrides: Overrides = None,
    plugin: Plugins = None,
    live: Annotated[bool, typer.Option("--live", help="A game in its window: really move the mouse.")] = False,
    xvfb: Annotated[bool, typer.Option("--xvfb", help="A game in its window: on a display of its own.")] = False,
) -> None:
    """Play a profile's game many times and score it: kills, hits a shot, aim error, each with a 95 % interval."""
    _run(Arguments(**locals()))


def _run(given: Arguments) -> None:
    from cli.output import print_provenance, save, save_json
    from cli.tables import print_table
    from cli.windows import unwinding
    from core.files import check_writable
    from core.provenance import provenance
    from evaluation import arena as playing
    from evaluation import figures
    from evaluation.tournament import ArenaConfig
    from evaluation.tournament import arena as run

    for path in (given.picture, given.markdown_file, given.json_file):
        check_writable(path)
    if given.picture is not None:
        figures.check()
    loaded = load(given.profile, given.plugin, given.overrides)
    if given.suite is not None:
        _check_suite(given)
        _suite(given, loaded)
        return
    latencies = _latencies(given.latency)
    config = ArenaConfig(
        loaded.path,
        tuple(given.plugin or ()),
        tuple(given.overrides or ()),
        given.episodes,
        tuple(listed(given.baselines)),
        tuple(listed(given.scenarios)),
        given.seed,
        latencies,
        given.jitter,
        given.drop,
        given.noise,
        given.engine,
        tuple(listed(given.precision)),
        given.processes,
        given.cluster,
        given.live,
        given.xvfb,
    )
    with unwinding(), progress() as tell:
        result = run(config, tell)
    heads, lines = playing.heads_and_lines(result.rows, result.shown, len(latencies) > 1 or any(latencies))
    print_table(heads, lines, optional=("recall", "precision", "overshoot deg", "episodes"))
    block = provenance(**result.provenance())
    print_provenance(block)
    save_json(given.json_file, result.to_dict(), block)
    save(given.markdown_file, figures.markdown(heads, lines), "table")
    if given.picture is not None:
        first = result.rows[0]["scenario"]
        chosen = [row for row in result.rows if row["scenario"] == first]
        title = f"{first}, {given.episodes} episodes, 95 % intervals"
        save(given.picture, playing.draw(chosen, latencies, result.shown[0], title), "picture")


def _check_suite(given: Arguments) -> None:
    """Refuse a suite that is not known, and options that it does not take."""
    if given.suite != "aim":
        raise UserError(f'--suite is "{given.suite}"; there is one: aim')
    others: dict[str, object] = {
        "--baselines": given.baselines,
        "--scenario": given.scenarios,
        "--engine": given.engine,
        "--precision": given.precision,
        "--cluster": given.cluster,
        "--latency-ms": given.latency != "0",
        "--drop": given.drop,
        "--noise-px": given.noise,
    }
    useless = next((name for name, value in others.items() if value), None)
    if useless is not None:
        raise UserError(f"--suite {given.suite} plays no game and has its own cases, so it takes no {useless}")


def _suite(given: Arguments, loaded: LoadedProfile) -> None:
    from cli.output import print_provenance, save, save_json
    from cli.tables import print_table
    from core.command import COMMAND
    from core.progress import counter
    from core.provenance import provenance
    from evaluation import aim_suite, figures

    calibration = loaded.profile.calibration
    if not calibration.calibrated:
        raise UserError(
            f'{loaded.path}: nothing is calibrated, and the suite needs degrees: "{COMMAND} calibrate --profile '
            f'{loaded.path} --live" measures calibration.fov_deg and degrees_per_count'
        )
    half_deg = calibration.half_view_deg(aim_suite.WIDTH)
    if half_deg <= aim_suite.STEP_DEG:
        raise UserError(
            f"{loaded.path}: the view is {2 * half_deg:.0f} degrees wide, and the "
            f"suite's targets begin {aim_suite.STEP_DEG:g} degrees from its middle; raise calibration.fov_deg, or take "
            "away view_width_px"
        )
    factories = {name: offer.factory for name, offer in loaded.catalogue.offers["controller"].items()}
    controllers = aim_suite.contestants(loaded.roles.controller, factories)
    todo = list(aim_suite.cases(SUITE_SEEDS, controllers))
    done = []
    with progress() as tell:
        count = counter(tell, "cases", len(todo))
        for case in todo:
            done.append((case, aim_suite.simulate(case, controllers[case.controller], calibration)))
            count()
    table = aim_suite.rows(done)
    heads, lines = aim_suite.heads_and_lines(table)
    print_table(heads, lines, optional=("behind, 10 px", "behind, half dropped", "jitter deg"))
    block = provenance(profile=loaded.path, seeds=range(SUITE_SEEDS))
    print_provenance(block)
    save_json(given.json_file, {"rows": table}, block)
    save(given.markdown_file, figures.markdown(heads, lines), "table")
    if given.picture is not None:
        save(given.picture, aim_suite.draw(table), "picture")


def _latencies(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f'--latency-ms is "{text}"; give milliseconds, or several with commas between them') from None
