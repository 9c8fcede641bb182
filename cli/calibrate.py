"""The command `calibrate`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import err, out
from cli.options import Json, Overrides, Plugins, load
from cli.run import leave
from core.errors import UserError

if TYPE_CHECKING:
    from agent.profile import LoadedProfile
    from agent.session import Result
    from evaluation.calibrate import Calibration
    from evaluation.turning import TurningController

EPISODES = 20
"""More than it takes, should the player be shot."""


@dataclass(frozen=True)
class Arguments:
    """What the command line gave."""

    profile: str
    live: bool
    fov: float | None
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
        float | None,
        typer.Option(min=2, max=178, help="The horizontal field of view, degrees; else it is measured too."),
    ] = None,
    write: Annotated[bool, typer.Option("--write/--no-write", help="Write what was found to the profile.")] = True,
    xvfb: Annotated[bool, typer.Option("--xvfb", help="On a display of its own, though there is one.")] = False,
    start_game: Annotated[bool, typer.Option("--game/--no-game", help="Start the game that the profile names.")] = True,
    overrides: Overrides = None,
    json_file: Json = None,
    plugin: Plugins = None,
) -> None:
    """Measure degrees a mouse count on both axes, the field of view and the delay: turns, and watches the picture.

    Stand still in a place with something to see, and let nothing else move the mouse.
    """
    _run(Arguments(**locals()))


def _run(given: Arguments) -> None:
    from cli.output import announce, print_provenance, save_json
    from cli.profile_edit import set_values
    from core.files import check_writable
    from core.provenance import provenance
    from evaluation.calibrate import fit
    from evaluation.turning import TurningController

    check_writable(given.json_file)
    # The profile's controller, which takes no part, may need the calibration that is only now being measured.
    overrides = [*(given.overrides or []), "aim={plugin: proportional}"]
    known_fov = _field_of_view_alone(given.profile)
    if known_fov is not None:
        overrides.append("calibration.fov_deg=null")
    loaded = load(given.profile, given.plugin, overrides)
    actuation = loaded.roles.actuation.factory
    if actuation.reaches == "nothing" or (actuation.reaches == "desktop" and not given.live):
        raise UserError(
            f"{loaded.path}: calibrating turns the view, so it needs --live and an actuation that moves the mouse"
        )
    if actuation.absolute:
        raise UserError(f"{loaded.path}: an absolute actuation goes to points on the screen and has no degrees a count")
    known = loaded.profile.calibration
    turner = TurningController(loaded.profile.mode == "live", lambda line: err.print(line, highlight=False))
    result = _turn(given, loaded, turner)
    leave(result)
    if not turner.done or turner.problem:
        vetoes = ", ".join(f"{guard} vetoed {n} times" for guard, n in result.vetoes.items() if n)
        why = turner.problem or f"it ended too early ({result.ended})"
        raise UserError(f"{loaded.path}: {why}{f' ({vetoes})' if vetoes else ''}; nothing is written")
    err.print("fitting", highlight=False)
    try:
        found = fit(turner.recorded, known.view_width_px or turner.recorded.width, given.fov or known_fov, turner.view)
    except UserError as error:
        raise UserError(f"{loaded.path}: {error}; nothing is written") from error
    for line in _described(found):
        out.print(line, soft_wrap=True, highlight=False)
    block = provenance(profile=loaded.path, seeds=[loaded.profile.seed])
    print_provenance(block)
    save_json(given.json_file, found.to_dict(), block)
    if given.write:
        values: dict[str, Any] = {"degrees_per_count": found.per_count, "fov_deg": round(found.fov_deg.value, 2)}
        if found.delay is not None:
            values["delay_ms"] = found.delay.median_ms
        set_values(loaded.path, "calibration", values)
        listed = ", ".join(f"{key}: {value}" for key, value in values.items())
        announce(f"profile (calibration has {listed} now)", loaded.path)


def _field_of_view_alone(profile: str) -> float | None:
    """Return the field of view of a profile that has it and no degrees a count, as is known from a game's menu.

    For anything else such a calibration is refused. None where the profile cannot be read, which loading it will tell.
    """
    import yaml

    from agent.profile import find_profile
    from core.text import read_text

    try:
        data = yaml.safe_load(read_text(find_profile(profile), "the profile"))
    except (UserError, yaml.YAMLError, ValueError):
        return None
    section = data.get("calibration") if isinstance(data, dict) else None
    if not isinstance(section, dict) or section.get("degrees_per_count") is not None:
        return None
    fov = section.get("fov_deg")
    return float(fov) if isinstance(fov, int | float) and 1 < fov < 179 else None


def _described(found: Calibration) -> Iterator[str]:
    """Yield what was found as people read it."""
    axes = {"right": found.right, "down": found.down}
    for name, estimate in axes.items():
        if estimate is None:
            yield f"{name}: the view does not turn, so aim with vertical: false"
        else:
            inverted = " (inverted)" if estimate.value < 0 else ""
            yield f"{name}: {estimate.value:.6f} degrees a count ({estimate.low:.6f} to {estimate.high:.6f}){inverted}"
    kind = "measured" if found.fov_fitted else "given"
    field = found.fov_deg
    yield f"field of view: {field.value:.2f} degrees ({field.low:.2f} to {field.high:.2f}), {kind}"
    if found.delay is not None:
        yield (
            f"delay from a motion to the first picture that shows it: {found.delay.median_ms:.0f} ms, 95 % within "
            f"{found.delay.p95_ms:.0f} ms, jitter {found.delay.jitter_ms:.0f} ms ({found.delay.motions} motions)"
        )


def _turn(given: Arguments, loaded: LoadedProfile, turner: TurningController) -> Result:
    """Turn the view by the profile's mouse, in its game where it names one."""
    import json
    from dataclasses import replace

    from agent.context import Context
    from agent.loop import ActiveRoles
    from agent.plan import Options, arm_key
    from agent.session import play
    from cli.windows import opened
    from evaluation.calibrate import blind, turning

    options = Options(live=given.live, seed=loaded.profile.seed)
    if loaded.game is None or not given.start_game:
        if given.live:
            err.print(f"hold {arm_key(loaded) or 'the arm key'} until it is done; the game's window needs the focus")
        return play(blind(loaded), options, middleware=[partial(turning, turner=turner)])
    still = tuple(f"game.{name}={json.dumps(value)}" for name, value in loaded.game.factory.still.items())
    loaded = replace(loaded, overrides=(*loaded.overrides, *still))
    with opened(loaded, given.plugin, given.xvfb, given.live, loaded.profile.seed, EPISODES) as (window, ready):

        def begin(roles: ActiveRoles, context: Context) -> ActiveRoles:
            ready()
            window.begin()
            return turning(roles, context, turner)

        return play(blind(loaded), options, middleware=[begin])
