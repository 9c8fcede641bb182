"""Monsters of other sizes, drawn in other ways: what a game's own mods, levels and items make of them.

The engine takes a class that `replaces` another wherever a map, a script or the console asks for that one, so that it
is enough to load such classes beside a scenario. They are text in a lump called DECORATE (ZDoom's wiki: DECORATE,
"Actor properties").
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from plugins.doom.wad import write as write_wad

SUFFIX = "Varied"
"""What the class of a varied monster is called behind the name of its own."""
SIZES, SQUEEZE = 2.0, 1.25
"""How many times larger or smaller a monster is at most, and how many times narrower or wider beside that."""
STYLES = {
    "": 0.5,
    "RenderStyle OptFuzzy": 0.2,
    "RenderStyle Fuzzy": 0.15,
    "RenderStyle Translucent Alpha {alpha:.2f}": 0.15,
}
"""How a monster is drawn, and how often: as it is, as a shimmer (as the game draws who is half invisible), or so that
what is behind it shows through."""
FAINTEST = 0.35
GORE = (
    "Meat2", "Meat3", "Meat4", "Meat5", "HeartColumn", "DeadStick", "LiveStick", "HeadOnAStick", "HeadsOnAStick",
    "HeadCandles", "GibbedMarine", "HangNoGuts", "HangBNoBrain", "HangTLookingDown", "HangTSkull", "HangTLookingUp",
    "HangTNoBrain", "ColonGibs", "SmallBloodPool", "BrainStem", "BloodyTwitch", "NonsolidMeat2", "NonsolidMeat4",
)  # fmt: skip
"""Classes that look like monsters, or parts of them, and are none: the dead, the hanged, the impaled."""


def write_monsters(path: Path, monsters: Iterable[str], rng: np.random.Generator) -> None:
    """Write a PWAD that gives each of these classes a size and a way to be drawn, by chance.

    :param monsters: classes that the game or the scenario defines; it does not start with one that neither does.
    """
    write_wad(path, {"DECORATE": "".join(_actor(monster, rng) for monster in monsters).encode("ascii")})


def _actor(monster: str, rng: np.random.Generator) -> str:
    size, squeeze = (np.exp(rng.uniform(-1, 1) * np.log(most)) for most in (SIZES, SQUEEZE))
    style = str(rng.choice(list(STYLES), p=list(STYLES.values()))).format(alpha=rng.uniform(FAINTEST, 1))
    return (
        f"actor {monster}{SUFFIX} : {monster} replaces {monster} "
        f"{{ XScale {size * squeeze:.3f} YScale {size / squeeze:.3f} {style} }}\n"
    )
