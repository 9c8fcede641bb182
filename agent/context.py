"""What a factory may know of the run that it creates something for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from agent.calibration import Calibration
from agent.frame_buffers import FrameBuffers
from agent.history import CommandHistory, View
from agent.roles import Environment


@dataclass(frozen=True)
class Context:
    """The run, as far as it is known when something is created."""

    folder: Path
    """The profile's folder; relative paths in settings count from here."""
    seed: int
    live: bool
    """Whether the real mouse and keyboard may be reached."""
    lock_step: bool
    """Whether capture waits for the loop; otherwise time is real, and a recording is played at its own pace."""
    panic: Callable[[str], None]
    """Disarms at once, releases every button and ends the run; takes the reason; any thread may call it."""
    crosshair: tuple[float, float] = (0.5, 0.5)
    """Where the crosshair is, as fractions of the frame's width and height."""
    profile: Path | None = None
    """The profile's file; None outside a run."""
    episodes: int | None = None
    """An environment gives no more frames after so many episodes; None means it goes on."""
    environment: Environment | None = None
    """The capture, where it is an environment; None for captures and when there is none."""
    names: tuple[str, ...] = ()
    """The detector's class names; empty for captures and detectors."""
    moves: bool = True
    """Whether what is sent moves what the capture shows: not in a dry run."""
    absolute: bool = False
    """Whether the actuation goes to points on the screen (`Action.point`) rather than by counts."""
    watchdog_ms: float = 500.0
    """How long a live loop may be silent before its buttons are let go."""
    calibration: Calibration = field(default_factory=Calibration)
    """What is measured of the game and the mouse."""
    history: CommandHistory = field(default_factory=CommandHistory)
    """The motions carried out; the loop adds to it, others only read it."""
    view: View = field(default_factory=lambda: View(CommandHistory(), None))
    """Where the view points by the history, for selections that compensate the agent's own turning."""

    buffers: FrameBuffers = field(default_factory=FrameBuffers)
    """Where a capture may write its pictures, for a detector on a card to read them from without another copy."""

    def path(self, text: str | Path) -> Path:
        """Return a path from the settings, relative ones counted from the profile's folder."""
        return self.folder / Path(text).expanduser()


def outside_a_run(folder: Path) -> Context:
    """Return the context for what is created by a command, a notebook or a test: nothing live, in lock-step."""
    return Context(folder=folder, seed=0, live=False, lock_step=True, panic=lambda reason: None)
