"""LevDoom as a suite of the arena: every level of defend_the_center, none of which was trained on.

Tomilin, Dai, Fang and Pechenizkiy, LevDoom: A Benchmark for Generalization on Level Difficulty in Reinforcement
Learning, IEEE Conference on Games 2022.
"""

from __future__ import annotations

from agent.factories import Published, Suite

DEFEND_THE_CENTER = (
    "default",
    "gore",
    "mossy_bricks",
    "stone_wall",
    "fuzzy_enemies",
    "resized_enemies",
    "fast_enemies",
    "flying_enemies",
    "fast_flying_enemies",
    "gore_mossy_bricks",
    "fuzzy_enemies_gore",
    "resized_fuzzy_enemies",
    "stone_wall_flying_enemies",
    "resized_flying_enemies_mossy_bricks",
    "gore_stone_wall_fuzzy_enemies",
    "fast_resized_enemies_gore",
    "complete",
)
"""From one change to all; the package registers all of them but fuzzy_enemies_gore, whose map it ships too."""

SIX = "six discrete actions, turning by a step and firing, every fourth frame"
PAPER = "LevDoom, CoG 2022, and later papers on its levels"
KILLS = (
    ("DTQN", "default", 10.9),
    ("DTQN", "flying_enemies", 6.3),
    ("DTQN", "resized_enemies", 7.5),
    ("DTQN", "fast_resized_enemies_gore", 7.4),
    ("DTQN", "complete", 5.3),
    ("Rainbow", "default", 8.0),
    ("DQN", "default", 6.3),
)

SUITE = Suite(
    "LevDoom's levels of defend_the_center, with and without the game's own aiming up and down",
    dict.fromkeys((f"levdoom/{level}" for level in DEFEND_THE_CENTER), "kills"),
    baselines=("oracle", "random"),
    variants={"autoaim": (), "no autoaim": ("capture.autoaim=false", "aim.vertical=true")},
    published=tuple(Published(who, f"levdoom/{level}", "kills", kills, SIX, PAPER) for who, level, kills in KILLS),
)
