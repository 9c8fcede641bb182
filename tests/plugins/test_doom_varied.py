"""Monsters of other sizes and looks, and what looks like monsters, in ViZDoom's own games."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plugins.doom import varied
from plugins.doom.game import Settings, running, visible
from plugins.doom.scenes import MONSTERS, OWN_MONSTERS, VARIED, _play, _position, _put_about, _Scene
from plugins.doom.varied import FAINTEST, GORE, SIZES, SQUEEZE, STYLES, SUFFIX, write_monsters


def game_of(scenario: str, *arguments: str) -> Any:
    import vizdoom

    game = vizdoom.DoomGame()
    game.load_config(str(Path(vizdoom.__file__).parent / "scenarios" / f"{scenario}.cfg"))
    game.set_available_buttons([vizdoom.Button.TURN_LEFT_RIGHT_DELTA])
    game.set_episode_timeout(100_000)
    game.set_objects_info_enabled(True)
    game.set_seed(5)
    for argument in ("+sv_cheats 1", *arguments):
        game.add_game_args(argument)
    return game


@pytest.mark.parametrize("seed", range(40))
def test_sizes_and_looks_are_within_what_is_said(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "v.wad"
    write_monsters(path, MONSTERS, np.random.default_rng(seed))
    text = path.read_bytes()
    write_monsters(path, MONSTERS, np.random.default_rng(seed))
    assert path.read_bytes() == text
    actors = re.findall(rb"actor (\w+) : (\w+) replaces (\w+) \{ XScale (\S+) YScale (\S+) (.*?) ?\}", text)
    assert [parent.decode() for _, parent, *_ in actors] == list(MONSTERS)
    for name, parent, replaced, across, up, style in actors:
        assert name == parent + SUFFIX.encode()
        assert replaced == parent
        assert 1 / SIZES - 1e-3 <= np.sqrt(float(across) * float(up)) <= SIZES + 1e-3
        assert 1 / SQUEEZE - 2e-2 <= np.sqrt(float(across) / float(up)) <= SQUEEZE + 2e-2
        if b"Alpha" in style:
            assert FAINTEST <= float(style.split()[-1]) <= 1


@pytest.mark.parametrize("style", STYLES)
def test_they_take_a_scenario_s_places_and_have_a_box_however_they_are_drawn(
    style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def boxes(style: str) -> list[list[tuple[int, int, int, int]]]:
        monkeypatch.setattr(varied, "STYLES", {style: 1.0})
        game = game_of("defend_the_center", f"-file {VARIED}")
        own = (*MONSTERS, *OWN_MONSTERS["defend_the_center"])
        found = []
        with running(
            game,
            Settings(),
            "defend_the_center",
            lambda _, folder: write_monsters(folder / VARIED, own, np.random.default_rng(0)),
        ):
            for _ in range(60):
                game.make_action([12.0], 1)
                state = game.get_state()
                names = {label.object_name for label in state.labels if label.object_category == "Monster"}
                assert all(name.endswith(SUFFIX) for name in names)
                found.append([box for box, _, plain in visible(state.labels, state.labels_buffer) if plain])
        return found

    assert boxes(style) == boxes("")
    assert sum(map(len, boxes(style))) >= 30


def test_what_looks_like_monsters_is_put_about_and_is_none() -> None:
    game = game_of("defend_the_center")
    with running(game, Settings(), "defend_the_center"):
        game.make_action([0.0], 2)
        place = _position(game)
        _put_about(game, place, np.random.default_rng(1))
        game.make_action([0.0], 3)
        state = game.get_state()
        there = [thing for thing in state.objects if thing.name in GORE]
        assert len(there) >= 4, "the map is large enough for most"
        assert max(np.hypot(t.position_x - place[0], t.position_y - place[1]) for t in there) > 200
        assert np.allclose(_position(game), place, atol=1)
        seen = 0
        for _ in range(30):
            game.make_action([12.0], 1)
            state = game.get_state()
            seen += sum(label.object_name in GORE for label in state.labels)
            targets = [label for label in state.labels if label.object_name not in GORE]
            found = [box for box, _, _ in visible(state.labels, state.labels_buffer)]
            assert found == [box for box, _, _ in visible(targets, state.labels_buffer)]
        assert seen >= 10


def test_such_a_scene_is_the_same_each_time_and_another_than_the_plain_one() -> None:
    def played(varied: bool, gore: bool) -> list[bytes]:
        scene = _Scene("defend_the_center", None, 5, False, False, "aim", 1, 0, varied, gore)
        return [sample.pixels.tobytes() for sample in _play(scene, np.random.default_rng(1), 8)]

    both = played(True, True)
    assert both == played(True, True)
    assert both != played(False, True)
    assert both != played(True, False)
    name = _Scene("defend_the_center", None, 5, False, False, "aim", 1, 0, varied=True, gore=True).name
    assert name == "defend_the_center varied with gore"
