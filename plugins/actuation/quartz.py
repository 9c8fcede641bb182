"""The mouse of macOS, for the actuation `mouse`: relative motion by Quartz events with deltas."""

from __future__ import annotations

from agent.types import Action
from plugins.desktop.lifeline import ButtonLifeline
from plugins.desktop.quartz import Quartz


class QuartzMouse:
    """Relative motion and buttons, and a lifeline that lets these go.

    :raises UserError: the package is not installed, macOS does not permit it, or another agent has the mouse.
    """

    def __init__(self, limit_ms: float) -> None:
        self._quartz = Quartz()
        self._down = 0
        self.lifeline = ButtonLifeline(limit_ms, self.release)

    def apply(self, action: Action) -> None:
        """Post one motion event, then the changes of the buttons."""
        if action.dx or action.dy:
            self._quartz.move(action.dx, action.dy, self._down)
        self._buttons(action.buttons)

    def release(self) -> None:
        """Let every button go."""
        self._buttons(0)

    def close(self) -> None:
        """End the lifeline, and give the mouse back."""
        self.lifeline.close()

    def _buttons(self, wanted: int) -> None:
        changed = wanted ^ self._down
        self._down |= wanted  # before pressing: a release that comes in between must let it go
        self.lifeline.hold(self._down)
        self._quartz.press(changed & wanted, True)
        self._quartz.press(changed & ~wanted, False)
        self._down = wanted
        self.lifeline.hold(wanted)
