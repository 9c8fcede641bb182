"""Guard `arm-key`: nothing moves unless a key is held (or was toggled); a panic key ends the run at once."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Literal

from pydantic import Field

from agent.context import Context
from agent.factories import GuardFactory, PluginSettings
from agent.hookspecs import hookimpl
from agent.types import Action, Frame
from core.errors import UserError


class Settings(PluginSettings):
    """Which keys. A key is one character, or pynput's name of it: shift, ctrl, alt, caps_lock, f8, pause."""

    arm: str = Field("shift", description="The key that arms.")
    mode: Literal["hold", "toggle"] = Field(
        "hold", description="`hold`: armed while it is down. `toggle`: each press arms or disarms."
    )
    panic: str = Field("pause", description="The key that releases everything and ends the run.")


class ArmKeyGuard:
    """Listens to the keyboard on a thread of its own.

    :raises UserError: there is no such key, both are the same, or the keyboard cannot be listened to.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        try:
            # pynput looks for the display when it is imported, so not before it is needed.
            from pynput import keyboard
        except ImportError as error:
            raise UserError(
                "the arm key needs a keyboard to listen to, and pynput finds no display "
                f"({str(error).splitlines()[0]}): start it in a desktop session, with DISPLAY set"
            ) from error
        if sys.platform.startswith("linux") and not _records():
            raise UserError("the arm key cannot be listened to: the display has no RECORD extension")
        self._listener = keyboard.Listener(on_press=self._pressed, on_release=self._released)
        # Left and right Shift as Shift, A as a, and the others as the listener will report them.
        self._same = self._listener.canonical
        self._arm = self._forms(keyboard, "arm", settings.arm)
        self._panic_key = self._forms(keyboard, "panic", settings.panic)
        if any(key in self._panic_key for key in self._arm):
            raise UserError(f"arm-key: the arm key and the panic key are both {settings.arm!r}; use two keys")
        self._toggle = settings.mode == "toggle"
        self._panic = context.panic
        self._name = settings.panic
        self._reason = f"{settings.arm} is not held" if not self._toggle else f"{settings.arm} has not armed"
        self._armed = False
        self._down = False
        self._listener.start()
        self._listener.wait()

    def check(self, action: Action, presses: int, frame: Frame, now_ns: int) -> str | None:
        """Veto while disarmed, or when the listener has died and would not hear a panic."""
        if not self._listener.is_alive():
            return "the keyboard is no longer listened to"
        return None if self._armed else self._reason

    def close(self) -> None:
        """Stop listening, before the display goes."""
        self._listener.stop()
        _end_recording(self._listener)
        self._listener.join(2.0)

    def _pressed(self, key: Any) -> None:
        if key is None:  # a key that has no name
            return
        key = self._same(key)
        if key in self._panic_key:
            self._armed = False
            self._panic(f"the panic key ({self._name})")
        elif key in self._arm and not self._down:  # a held key repeats
            self._down = True
            self._armed = not self._armed if self._toggle else True

    def _released(self, key: Any) -> None:
        if key is not None and self._same(key) in self._arm:
            self._down = False
            if not self._toggle:
                self._armed = False

    def _forms(self, keyboard: Any, role: str, name: str) -> list[Any]:
        """Return all that the listener may call this key, depending on what else is held.

        X11 names a key by its symbol, and Pause with Shift held has another (Break): a panic key that is
        pressed while the arm key is held must be heard all the same.
        """
        key = _key(keyboard, role, name)
        keys = [key, *(keyboard.KeyCode.from_vk(symbol) for symbol in _symbols(key, name))]
        chars = [chr(k.vk) for k in keys[1:] if k.vk < 0x100]  # Latin-1 symbols are their characters
        return [self._same(k) for k in (*keys, *map(keyboard.KeyCode.from_char, chars))]


def _end_recording(listener: Any) -> None:
    """Wake a listener on X11 that was stopped; pynput's own request waits for the next key that is pressed."""
    context = getattr(listener, "_context", None)
    if context is None:
        return
    from Xlib import display, error

    with contextlib.suppress(error.DisplayError, error.XError, OSError):
        connection = display.Display()
        connection.record_disable_context(context)
        connection.sync()
        connection.close()


def _records() -> bool:
    """Tell whether the X server has what pynput listens by; without it, it would wait for ever."""
    from Xlib import display

    connection = display.Display()
    try:
        return bool(connection.has_extension("RECORD"))
    finally:
        connection.close()


def _symbols(key: Any, name: str) -> list[int]:
    """Return the X11 symbols on the key that carries this one; none on other window systems."""
    if not sys.platform.startswith("linux"):
        return []
    from Xlib import XK, display

    connection = display.Display()
    try:
        symbol = XK.string_to_keysym(name) or ord(name) if len(name) == 1 else key.value.vk
        code = connection.keysym_to_keycode(symbol)
        symbols = {connection.keycode_to_keysym(code, i) for i in range(8)} if code else set()
        return sorted(symbols - {0})
    finally:
        connection.close()


def _key(keyboard: Any, role: str, name: str) -> Any:
    if len(name) == 1:
        return keyboard.KeyCode.from_char(name.lower())
    try:
        return keyboard.Key[name]
    except KeyError:
        raise UserError(
            f'arm-key: {role}: there is no key "{name}"; use one character or one of: '
            f"{', '.join(k.name for k in keyboard.Key)}"
        ) from None


@hookimpl
def reticle_guard() -> GuardFactory:
    """Offer `arm-key`."""
    return GuardFactory(
        "arm-key",
        ArmKeyGuard,
        Settings,
        "an arm key that is held or toggled, and a panic key",
        arm_key=lambda settings: settings.arm,
        panics=True,
        live_only=True,
    )
