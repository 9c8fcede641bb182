"""A mouse of the Linux kernel's uinput, which every compositor of Wayland takes for what it is: one more mouse."""

from __future__ import annotations

import os
import struct
from typing import Any

from agent.types import LEFT, MIDDLE, RIGHT
from core.command import missing
from core.errors import UserError

NAME = "Reticle mouse"
EV_SYN, EV_KEY, EV_REL = 0, 1, 2
REL_X, REL_Y = 0, 1
BUTTONS = {LEFT: 0x110, RIGHT: 0x111, MIDDLE: 0x112}
"""BTN_LEFT, BTN_RIGHT and BTN_MIDDLE of linux/input-event-codes.h."""
_EVENT = struct.Struct("@llHHi")
"""struct input_event: seconds, microseconds (the kernel fills both in), type, code, value."""


def device() -> Any:
    """Return the device, evdev's; it goes with the last descriptor of it, and its buttons with it.

    :raises UserError: the package is not installed, or the user may not make devices.
    """
    try:
        import evdev
    except ImportError as error:
        raise missing("the actuation uinput", "evdev-binary", "uinput", error) from error
    try:
        return evdev.UInput({EV_REL: [REL_X, REL_Y], EV_KEY: list(BUTTONS.values())}, name=NAME)
    except (evdev.UInputError, OSError) as error:
        raise UserError(
            f"no device can be made by /dev/uinput ({error}): load the kernel's module (`sudo modprobe uinput`) and "
            "allow your user to write to it (a udev rule for the group input)"
        ) from error


def send(descriptor: int, *events: tuple[int, int, int]) -> None:
    """Write events (type, code, value) in one piece, and what closes them.

    :raises OSError: the device is gone.
    """
    packed = (_EVENT.pack(0, 0, *event) for event in (*events, (EV_SYN, 0, 0)))
    os.write(descriptor, b"".join(packed))


def let_go(descriptor: int, buttons: int) -> None:
    """Let the buttons of a mask go.

    :raises OSError: the device is gone, and its buttons with it.
    """
    send(descriptor, *((EV_KEY, code, 0) for mask, code in BUTTONS.items() if buttons & mask))
