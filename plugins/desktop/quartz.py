"""macOS' mouse by Quartz events. Not executed by those who develop this; a test holds the calls to the real names."""

from __future__ import annotations

from typing import Any

from agent.types import LEFT, MIDDLE, RIGHT
from core.command import missing
from core.errors import UserError

BUTTONS = {LEFT: "Left", RIGHT: "Right", MIDDLE: "Other"}
"""Quartz's names of the buttons; `Other` is the middle one by its number."""


class Quartz:
    """Posts mouse events, with deltas, which games that hold the pointer read.

    :raises UserError: the package is not installed, or macOS does not permit it.
    """

    def __init__(self) -> None:
        try:
            import Quartz
        except ImportError as error:
            raise missing("the mouse of macOS", "pyobjc-framework-Quartz", "macos", error) from error
        self._quartz: Any = Quartz
        if not Quartz.CGPreflightPostEventAccess():
            Quartz.CGRequestPostEventAccess()
            raise UserError(
                "macOS does not permit this program to move the mouse: allow the terminal it runs in under System "
                "Settings, Privacy and Security, Accessibility, and start the terminal anew"
            )

    def move(self, dx: int, dy: int, down: int) -> None:
        """Move by counts.

        :param down: the mask of the buttons that are held: with one, macOS calls a motion a drag.
        """
        quartz = self._quartz
        name = next((name for mask, name in BUTTONS.items() if down & mask), None)
        kind = quartz.kCGEventMouseMoved if name is None else getattr(quartz, f"kCGEvent{name}MouseDragged")
        x, y = self._pointer()
        event = quartz.CGEventCreateMouseEvent(None, kind, (x + dx, y + dy), self._number(name or "Left"))
        quartz.CGEventSetIntegerValueField(event, quartz.kCGMouseEventDeltaX, dx)
        quartz.CGEventSetIntegerValueField(event, quartz.kCGMouseEventDeltaY, dy)
        quartz.CGEventPost(quartz.kCGHIDEventTap, event)

    def press(self, buttons: int, down: bool) -> None:
        """Press the buttons of a mask, or let them go."""
        quartz = self._quartz
        for mask, name in BUTTONS.items():
            if buttons & mask:
                kind = getattr(quartz, f"kCGEvent{name}Mouse{'Down' if down else 'Up'}")
                event = quartz.CGEventCreateMouseEvent(None, kind, self._pointer(), self._number(name))
                quartz.CGEventPost(quartz.kCGHIDEventTap, event)

    def let_go(self, buttons: int) -> None:
        """Let the buttons of a mask go."""
        self.press(buttons, False)

    def _pointer(self) -> tuple[float, float]:
        place = self._quartz.CGEventGetLocation(self._quartz.CGEventCreate(None))
        return place.x, place.y

    def _number(self, name: str) -> int:
        return int(getattr(self._quartz, f"kCGMouseButton{'Center' if name == 'Other' else name}"))
