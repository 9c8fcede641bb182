"""The command `arena`: a profile scored in its game, beside the ground truth and chance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import progress
from cli.options import MAX_SEED, Json, Overrides, Plugins, listed, load
from core.errors import UserError

if TYPE_CHECKING:
    from agent.profile import LoadedProfile
    from evaluation.tournament import ArenaConfig

SIMULATION = "aim"
"""The suite that plays no game."""
SUITE_SEEDS = 4
"""Runs of each case of a suite in which there is chance."""


@dataclass(frozen=True)
class Arguments:
    """What the command line gave."""

    profiles: list[str] | None
    profile: str
    suite: str | None
    compare: bool
    sweep: str | None
    unpaired: bool
    episodes: int
    baselines: str | None
    controllers: str | None
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
    csv_file: Path | None
    board: Path | None
    name: str | None
    overrides: list[str] | None
    plugin: list[Path] | None
    live: bool
    xvfb: bool


def arena(
    profiles: Annotated[list[str] | None, typer.Argument(metavar="[A.yaml B.yaml ...]", show_default=False)] = None,
    profile: Annotated[
        str, typer.Option("--profile", "-p", help="A profile whose capture knows the truth; any with --suite.")
    ] = "doom.yaml",
    suite: Annotated[
        str | None,
        typer.Option(
            help="`levdoom`: the levels of LevDoom. `tasks`: flicks, moving targets, several at once, in a room that "
            "is drawn. `aim`: the profile's controller against simulated targets, beside the other ones; no game."
        ),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare the profiles A.yaml B.yaml ... on the same seeds.")
    ] = False,
    sweep: Annotated[
        str | None, typer.Option(metavar="KEY=A,B,...", help="Compare values of a setting, as aim.smoothing=0,0.3,0.7.")
    ] = None,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="With --compare: each profile gets seeds of its own.")
    ] = False,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes of each player and scenario.")] = 20,
    baselines: Annotated[str | None, typer.Option(help="oracle, random, or both with a comma.")] = None,
    controllers: Annotated[
        str | None, typer.Option(help="Controllers in place of the profile's, with commas: a row each.")
    ] = None,
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
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the episodes as CSV, a line each.")] = None,
    board: Annotated[
        Path | None, typer.Option("--leaderboard", help="Add the agent's episodes to this leaderboard.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="With --leaderboard: what the entry is called.")] = None,
    overrides: Overrides = None,
    plugin: Plugins = None,
    live: Annotated[bool, typer.Option("--live", help="A game in its window: really move the mouse.")] = False,
    xvfb: Annotated[bool, typer.Option("--xvfb", help="A game in its window: on a display of its own.")] = False,
) -> None:
    """Play a profile's game many times and score it: kills, hits a shot, aim error, each with a 95 % interval."""
    _run(Arguments(**locals()))


def _run(given: Arguments) -> None:
    from core.files import check_writable
    from evaluation import figures

    for path in (given.picture, given.markdown_file, given.json_file, given.csv_file, given.board):
        check_writable(path)
    if given.picture is not None:
        figures.check()
    _check_options(given)
    if given.compare or given.sweep is not None:
        from cli.arena_contest import run_contest

        run_contest(given)
        return
    if given.suite == SIMULATION:
        _check_simulation(given)
        _simulate(given, load(given.profile, given.plugin, given.overrides))
    else:
        # A suite may bring a capture of its own, which then is what --set changes.
        _play(given, load(given.profile, given.plugin, None if given.suite else given.overrides))


def _check_options(given: Arguments) -> None:
    """Refuse options that do not go together."""
    contest = given.compare or given.sweep is not None
    if given.profiles and not given.compare:
        raise UserError(
            f"{given.profiles[0]}: give a profile as --profile {given.profiles[0]}, or several to --compare"
        )
    if given.compare and given.sweep is not None:
        raise UserError("--compare and --sweep each say what is compared; give one of them")
    if given.unpaired and not given.compare:
        raise UserError("--unpaired says how profiles are compared; give --compare A.yaml B.yaml with it")
    if contest and given.suite is not None:
        raise UserError("--suite has scenarios and players of its own, so it takes no --compare and no --sweep")
    if contest and (given.baselines or given.controllers or given.board):
        raise UserError(
            "--compare and --sweep play the agent alone: they take no --baselines, --controllers or --leaderboard"
        )
    if (given.name is None) != (given.board is None):
        raise UserError("--leaderboard FILE and --name NAME belong together")


def config_of(given: Arguments, profile: Path) -> ArenaConfig:
    """Return what the options say is played."""
    from evaluation.tournament import ArenaConfig

    return ArenaConfig(
        profile,
        tuple(given.plugin or ()),
        tuple(given.overrides or ()),
        given.episodes,
        tuple(listed(given.baselines)),
        tuple(listed(given.controllers)),
        tuple(listed(given.scenarios)),
        seed=given.seed,
        latencies_ms=_latencies(given.latency),
        jitter_ms=given.jitter,
        drop=given.drop,
        noise_px=given.noise,
        engine=given.engine,
        precisions=tuple(listed(given.precision)),
        processes=given.processes,
        cluster=given.cluster,
        live=given.live,
        xvfb=given.xvfb,
    )


def _play(given: Arguments, loaded: LoadedProfile) -> None:
    from cli.output import print_provenance, save, save_json
    from cli.tables import print_table
    from cli.windows import unwinding
    from core.provenance import provenance
    from evaluation import arena as playing
    from evaluation import figures, suites
    from evaluation.tournament import arena as run

    config = config_of(given, loaded.path)
    found = None if given.suite is None else suites.find(loaded, given.suite, (SIMULATION,))
    if found is not None:
        config = suites.configured(config, found, loaded)
    with unwinding(), progress() as tell:
        result = run(config, tell)
    block = provenance(**result.provenance())
    extra: dict[str, Any] = {}
    if found is None:
        heads, lines = playing.heads_and_lines(result.rows, result.shown, any(config.latencies_ms))
        print_table(heads, lines, optional=("recall", "precision", "overshoot deg", "episodes"))
    else:
        heads, lines = suites.heads_and_lines(result, found.suite)
        print_table(heads, lines)
        means = suites.means(result.trials, result.scores, found.suite)
        if len(set(found.suite.scenarios.values())) == 1:
            print_table(*suites.mean_lines(means), optional=("measure", "latency ms", "scenarios"))
        extra = suites.to_dict(found, means)
    print_provenance(block)
    save_json(given.json_file, {**result.to_dict(), **extra}, block)
    save(given.csv_file, result.csv(), "csv")
    save(given.markdown_file, figures.markdown(heads, lines), "table")
    if given.board is not None and given.name is not None:
        from cli.output import announce
        from evaluation import leaderboard

        leaderboard.add(given.board, leaderboard.entries(given.name, result, found, block))
        announce("leaderboard", given.board)
    if given.picture is not None:
        if found is not None:
            save(given.picture, suites.draw(result, found), "picture")
            return
        first = result.rows[0]["scenario"]
        chosen = [row for row in result.rows if row["scenario"] == first]
        title = f"{first}, {given.episodes} episodes, 95 % intervals"
        save(given.picture, playing.draw(chosen, config.latencies_ms, result.shown[0], title), "picture")


def _check_simulation(given: Arguments) -> None:
    """Refuse options that the simulation does not take."""
    others: dict[str, object] = {
        "--baselines": given.baselines,
        "--controllers": given.controllers,
        "--leaderboard": given.board,
        "--csv": given.csv_file,
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


def _simulate(given: Arguments, loaded: LoadedProfile) -> None:
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
