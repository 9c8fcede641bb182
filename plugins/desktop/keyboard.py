"""Listening to keys, whichever window has the focus: X11's RECORD extension on Linux, key states on Windows.

On Linux pynput would do the same by the same library, but asks for evdev, which has no wheels. And key codes tell a key
whatever symbol the layout or the keys held beside it give it (Shift and Pause is Break, a Cyrillic layout has no x).
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from core.errors import UserError, summary

Changed = Callable[[str, bool], None]
"""Called on the listener's thread with what a key is for, and whether it is down now; a held key repeats."""

X11_NAMES = {
    "alt": ("Alt_L", "Alt_R"),
    "alt_gr": ("ISO_Level3_Shift", "Mode_switch"),
    "backspace": ("BackSpace",),
    "caps_lock": ("Caps_Lock",),
    "cmd": ("Super_L", "Super_R"),
    "ctrl": ("Control_L", "Control_R"),
    "ctrl_l": ("Control_L",),
    "ctrl_r": ("Control_R",),
    "delete": ("Delete",),
    "down": ("Down",),
    "end": ("End",),
    "enter": ("Return",),
    "esc": ("Escape",),
    **{f"f{i}": (f"F{i}",) for i in range(1, 21)},
    "home": ("Home",),
    "insert": ("Insert",),
    "left": ("Left",),
    "menu": ("Menu",),
    "num_lock": ("Num_Lock",),
    "page_down": ("Next",),
    "page_up": ("Prior",),
    "pause": ("Pause",),
    "print_screen": ("Print",),
    "right": ("Right",),
    "scroll_lock": ("Scroll_Lock",),
    "shift": ("Shift_L", "Shift_R"),
    "shift_l": ("Shift_L",),
    "shift_r": ("Shift_R",),
    "space": ("space",),
    "tab": ("Tab",),
    "up": ("Up",),
}
"""X11's symbols by pynput's names of the keys, so that a profile means the same everywhere."""


WINDOWS_KEYS = {
    "alt": (0x12,),
    "alt_gr": (0xA5,),
    "backspace": (0x08,),
    "caps_lock": (0x14,),
    "cmd": (0x5B, 0x5C),
    "ctrl": (0x11,),
    "ctrl_l": (0xA2,),
    "ctrl_r": (0xA3,),
    "delete": (0x2E,),
    "down": (0x28,),
    "end": (0x23,),
    "enter": (0x0D,),
    "esc": (0x1B,),
    **{f"f{i}": (0x6F + i,) for i in range(1, 21)},
    "home": (0x24,),
    "insert": (0x2D,),
    "left": (0x25,),
    "menu": (0x5D,),
    "num_lock": (0x90,),
    "page_down": (0x22,),
    "page_up": (0x21,),
    "pause": (0x13, 0x03),  # Ctrl and Pause is VK_CANCEL
    "print_screen": (0x2C,),
    "right": (0x27,),
    "scroll_lock": (0x91,),
    "shift": (0x10,),
    "shift_l": (0xA0,),
    "shift_r": (0xA1,),
    "space": (0x20,),
    "tab": (0x09,),
    "up": (0x26,),
}
"""Windows' virtual-key codes by the same names."""
ASK_S = 0.004
"""How often Windows is asked for the state of the keys; one that was tapped in between is told too."""


class Listener(Protocol):
    """Hears keys until it is closed."""

    def is_alive(self) -> bool:
        """Tell whether it still hears."""

    def close(self) -> None:
        """Stop listening, before the display goes."""


def listen(keys: Mapping[str, str], changed: Changed) -> Listener:
    """Listen to some keys.

    :param keys: the names of keys by what they are for; a key is one character, or pynput's name of it.
    :raises UserError: there is no such key, two are the same, or the keyboard cannot be listened to.
    """
    if sys.platform == "win32":
        return WindowsListener(keys, changed)
    return X11Listener(keys, changed) if sys.platform.startswith("linux") else PynputListener(keys, changed)


class X11Listener:
    """Hears keys by X11's RECORD extension, on a thread of its own."""

    def __init__(self, keys: Mapping[str, str], changed: Changed) -> None:
        from Xlib import display, error

        try:
            # Two connections, since the one that records answers nothing else.
            self._control, self._events = display.Display(), display.Display()
        except (error.DisplayError, OSError) as problem:
            raise UserError(
                f"the arm key needs a display whose keyboard it can listen to, and there is none ({summary(problem)}): "
                "start it in a desktop session, with DISPLAY set"
            ) from problem
        try:
            if not self._control.has_extension("RECORD"):
                raise UserError("the arm key cannot be listened to: the display has no RECORD extension")
            self._uses = _by_key({use: self._codes(use, name) for use, name in keys.items()}, keys)
        except UserError:
            self._close_connections()
            raise
        self._changed = changed
        self._context = self._control.record_create_context(0, [_ALL_CLIENTS], [_key_events()])
        self._control.sync()
        self._thread = threading.Thread(target=self._listen, name="keyboard", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Tell whether the thread still hears."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the recording, which wakes the thread."""
        from Xlib import error

        with contextlib.suppress(error.DisplayError, error.XError, OSError):
            self._control.record_disable_context(self._context)
            self._control.sync()
            self._thread.join(2.0)
            self._control.record_free_context(self._context)
            self._control.sync()
        self._close_connections()

    def _close_connections(self) -> None:
        for connection in (self._control, self._events):
            with contextlib.suppress(Exception):  # a connection that broke raises whatever broke it
                connection.close()

    def _codes(self, use: str, name: str) -> set[int]:
        from Xlib import XK

        if len(name) == 1:
            symbols = [XK.string_to_keysym(name) or (ord(name) if ord(name) < 0x100 else 0x01000000 | ord(name))]
        elif name in X11_NAMES:
            symbols = [XK.string_to_keysym(symbol) for symbol in X11_NAMES[name]]
        else:
            raise UserError(_unknown(use, name, X11_NAMES))
        codes = {code for symbol in symbols for code, _ in self._control.keysym_to_keycodes(symbol)}
        if not codes:
            raise UserError(f'arm-key: {use}: this keyboard has no key "{name}"; choose another')
        return codes

    def _listen(self) -> None:
        from Xlib import X, error
        from Xlib.ext import record
        from Xlib.protocol import rq

        field = rq.EventField(None)

        def heard(reply: Any) -> None:
            if reply.category != record.FromServer or reply.client_swapped:
                return
            data = reply.data
            while data:
                event, data = field.parse_binary_value(data, self._events.display, None, None)
                use = self._uses.get(event.detail)
                if use is not None and event.type in (X.KeyPress, X.KeyRelease):
                    self._changed(use, event.type == X.KeyPress)

        # A display that goes away ends the thread, and `is_alive` says so.
        with contextlib.suppress(error.DisplayError, error.XError, OSError):
            self._events.record_enable_context(self._context, heard)


class WindowsListener:
    """Asks Windows for the keys' states, again and again, on a thread of its own.

    A keyboard hook would be told of each, but is dropped in silence by Windows when its process is slow once.
    """

    def __init__(self, keys: Mapping[str, str], changed: Changed) -> None:
        import ctypes

        self._user32 = ctypes.windll.user32  # type: ignore[attr-defined,unused-ignore]
        codes = {use: self._codes(use, name) for use, name in keys.items()}
        _by_key(codes, keys)
        self._changed = changed
        self._down = dict.fromkeys(codes, False)
        self._end = threading.Event()
        for each in codes.values():
            self._state(each)  # what was tapped before this is nobody's business
        self._thread = threading.Thread(target=self._listen, args=(codes,), name="keyboard", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Tell whether the thread still asks."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Stop the thread."""
        self._end.set()
        self._thread.join(2.0)

    def _codes(self, use: str, name: str) -> set[int]:
        if len(name) == 1:
            if name.isascii() and name.isalnum():
                return {ord(name.upper())}  # the same key under every layout
            code = self._user32.VkKeyScanW(ord(name))
            if code & 0xFF == 0xFF:
                raise UserError(f'arm-key: {use}: this keyboard has no key "{name}"; choose another')
            return {code & 0xFF}
        if name not in WINDOWS_KEYS:
            raise UserError(_unknown(use, name, WINDOWS_KEYS))
        return set(WINDOWS_KEYS[name])

    def _state(self, codes: set[int]) -> tuple[bool, bool]:
        """Return whether one of the keys is down, and whether one was pressed since the last call."""
        states = [self._user32.GetAsyncKeyState(code) for code in codes]
        return any(state & 0x8000 for state in states), any(state & 1 for state in states)

    def _listen(self, codes: Mapping[str, set[int]]) -> None:
        while not self._end.wait(ASK_S):
            for use, each in codes.items():
                down, tapped = self._state(each)
                if down != self._down[use]:
                    self._down[use] = down
                    self._changed(use, down)
                elif tapped and not down:
                    self._changed(use, True)
                    self._changed(use, False)


class PynputListener:
    """Hears keys by pynput (macOS), on a thread of its own."""

    def __init__(self, keys: Mapping[str, str], changed: Changed) -> None:
        try:
            # pynput looks for the window system when it is imported, so not before it is needed.
            from pynput import keyboard
        except ImportError as error:
            raise UserError(
                f"the arm key needs a keyboard to listen to, and pynput finds none ({summary(error)}): start it in a "
                "desktop session"
            ) from error
        self._listener = keyboard.Listener(
            on_press=lambda key: self._heard(key, True), on_release=lambda key: self._heard(key, False)
        )
        # Left and right Shift as Shift, A as a, and the others as the listener will report them.
        self._same = self._listener.canonical
        self._uses = _by_key({use: {self._key(keyboard, use, name)} for use, name in keys.items()}, keys)
        self._changed = changed
        self._listener.start()
        self._listener.wait()

    def is_alive(self) -> bool:
        """Tell whether the thread still hears."""
        return bool(self._listener.is_alive())

    def close(self) -> None:
        """Stop the thread."""
        self._listener.stop()
        self._listener.join(2.0)

    def _heard(self, key: Any, down: bool) -> None:
        use = None if key is None else self._uses.get(self._same(key))
        if use is not None:
            self._changed(use, down)

    def _key(self, keyboard: Any, use: str, name: str) -> Any:
        if len(name) == 1:
            return self._same(keyboard.KeyCode.from_char(name.lower()))
        try:
            return self._same(keyboard.Key[name])
        except KeyError:
            raise UserError(_unknown(use, name, [key.name for key in keyboard.Key])) from None


_ALL_CLIENTS = 3
"""`Xlib.ext.record.AllClients`, without its import."""


def _key_events() -> dict[str, Any]:
    """Return what RECORD is asked for: presses and releases of keys, and nothing else."""
    press, release = 2, 3
    return {
        "core_requests": (0, 0),
        "core_replies": (0, 0),
        "ext_requests": (0, 0, 0, 0),
        "ext_replies": (0, 0, 0, 0),
        "delivered_events": (0, 0),
        "device_events": (press, release),
        "errors": (0, 0),
        "client_started": False,
        "client_died": False,
    }


def _by_key(codes: Mapping[str, set[Any]], names: Mapping[str, str]) -> dict[Any, str]:
    """Return what each key is for; no key is for two things."""
    uses: dict[Any, str] = {}
    for use, each in codes.items():
        for code in each:
            other = uses.setdefault(code, use)
            if other != use:
                raise UserError(f"arm-key: the {other} key and the {use} key are both {names[other]!r}; use two keys")
    return uses


def _unknown(use: str, name: str, known: Any) -> str:
    return f'arm-key: {use}: there is no key "{name}"; use one character or one of: {", ".join(known)}'
