"""The command `calibrate`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import out
from cli.options import Json, Overrides, Plugins, load
from cli.run import leave
from core.errors import UserError

if TYPE_CHECKING:
    from agent.profile import LoadedProfile
    from agent.session import Result
    from evaluation.calibrate import TurningController

EPISODES = 20
"""More than it takes, should the player be shot."""


@dataclass(frozen=True)
class Arguments:
    """What the command line gave."""

    profile: str
    live: bool
    fov: float | None
    fit_fov: bool
    write: bool
    xvfb: bool
    start_game: bool
    overrides: list[str] | None
    json_file: Path | None
    plugin: list[Path] | None


def calibrate(
    profile: Annotated[str, typer.Option("--profile", "-p", help="The profile of the game.")],
    live: Annotated[bool, typer.Option("--live", help="Turn by the real mouse.")] = False,
    fov: Annotated[
        float | None, typer.Option(min=2, max=178, help="The horizontal field of view, degrees; else the profile's.")
    ] = None,
    fit_fov: Annotated[bool, typer.Option("--fit-fov", help="Fit the field of view too.")] = False,
    write: Annotated[bool, typer.Option("--write/--no-write", help="Write what was found to the profile.")] = True,
    xvfb: Annotated[bool, typer.Option("--xvfb", help="On a display of its own, though there is one.")] = False,
    start_game: Annotated[bool, typer.Option("--game/--no-game", help="Start the game that the profile names.")] = True,
    overrides: Overrides = None,
    json_file: Json = None,
    plugin: Plugins = None,
) -> None:
    """Measure how many degrees a mouse count turns the view: turns, and follows the picture.

    Stand still in a place with something to see, and let nothing else move the mouse.
    """
    _run(Arguments(**locals()))


def _run(given: Arguments) -> None:
    from dataclasses import asdict

    from cli.output import announce, print_provenance, save_json
    from cli.profile_edit import set_values
    from core.files import check_writable
    from core.provenance import provenance
    from evaluation.calibrate import TurningController, fit

    check_writable(given.json_file)
    loaded = load(given.profile, given.plugin, given.overrides)
    actuation = loaded.roles.actuation.factory
    if actuation.reaches == "nothing" or (actuation.reaches == "desktop" and not given.live):
        raise UserError(
            f"{loaded.path}: calibrating turns the view, so it needs --live and an actuation that moves the mouse"
        )
    if actuation.absolute:
        raise UserError(f"{loaded.path}: an absolute actuation goes to points on the screen and has no degrees a count")
    known = loaded.profile.calibration
    turner = TurningController(loaded.profile.mode == "live", loaded.profile.crosshair)
    result = _turn(given, loaded, turner)
    leave(result)
    if not turner.done or turner.problem:
        vetoes = ", ".join(f"{guard} vetoed {n} times" for guard, n in result.vetoes.items() if n)
        raise UserError(f"{loaded.path}: {turner.problem or 'it ended too early'}{f' ({vetoes})' if vetoes else ''}")
    fov = given.fov or (None if given.fit_fov else known.fov_deg)
    found = fit(turner.turns, known.view_width_px or turner.width, fov)
    kind = "fitted" if found.fov_fitted else "given"
    out.print(
        f"{found.degrees_per_count:.6f} degrees a count ({found.low:.6f} to {found.high:.6f}); field of view "
        f"{found.fov_deg:.2f} degrees ({kind}); {found.turns} turns, {found.points} points, which the fit misses by "
        f"{found.residual_px:.2f} pixels (median)",
        soft_wrap=True,
    )
    block = provenance(profile=loaded.path, seeds=[loaded.profile.seed])
    print_provenance(block)
    save_json(given.json_file, asdict(found), block)
    if given.write:
        values: dict[str, Any] = {"degrees_per_count": round(found.degrees_per_count, 6)}
        if known.fov_deg is None or given.fov is not None or given.fit_fov:
            values["fov_deg"] = round(found.fov_deg, 2)
        set_values(loaded.path, "calibration", values)
        listed = ", ".join(f"{key}: {value}" for key, value in values.items())
        announce(f"profile (calibration has {listed} now)", loaded.path)


def _turn(given: Arguments, loaded: LoadedProfile, turner: TurningController) -> Result:
    """Turn the view by the profile's mouse, in its game where it names one."""
    from agent.context import Context
    from agent.loop import ActiveRoles
    from agent.plan import Options
    from agent.session import play
    from cli.windows import opened
    from evaluation.calibrate import blind, turning

    options = Options(live=given.live, seed=loaded.profile.seed)
    if loaded.game is None or not given.start_game:
        return play(blind(loaded), options, middleware=[partial(turning, turner=turner)])
    with opened(loaded, given.plugin, given.xvfb, given.live, loaded.profile.seed, EPISODES) as (window, ready):

        def begin(roles: ActiveRoles, context: Context) -> ActiveRoles:
            ready()
            window.begin()
            return turning(roles, context, turner)

        return play(blind(loaded), options, middleware=[begin])
