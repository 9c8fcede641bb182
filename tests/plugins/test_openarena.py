"""OpenArena: what can be told without the game, by made data; and the whole road with it, where it is installed."""

import contextlib
import json
import math
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import get_args

import numpy as np
import psutil
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agent.context import outside_a_run
from core.display import own_display
from core.errors import UserError
from plugins.openarena import footage, shaders, skins
from plugins.openarena.game_log import GameLog, Tally
from plugins.openarena.installation import Installation, find
from plugins.openarena.settings import BOTS, Settings, configuration
from plugins.openarena.window import scores
from tests.conftest import ROOT, RUN_MARK
from tests.desktop import until

LOG = r"""  0:00 InitGame: \g_gametype\0\mapname\aggressor
  0:00 ClientUserinfoChanged: 0 n\Sarge\t\0\model\sarge\skill\ 3.00
  0:00 ClientBegin: 0
  0:00 ClientUserinfoChanged: 1 n\Reticle\t\0\model\angelyss
  0:00 ClientBegin: 1
  0:04 Kill: 1 0 10: Reticle killed Sarge by MOD_RAILGUN
  0:05 PlayerScore: 1 1: Reticle now has 1 points
  0:09 Kill: 0 1 10: Sarge killed Reticle by MOD_RAILGUN
 10:12 Kill: 1022 1 22: <world> killed Reticle by MOD_TRIGGER_HURT
 10:15 Kill: 0 0 20: Sarge killed Sarge by MOD_SUICIDE
"""


def test_the_log_tells_kills_deaths_and_suicides() -> None:
    tally = Tally()
    tally.take(LOG.splitlines())
    own, bot = tally.named("Reticle"), tally.named("Sarge")
    assert own is not None
    assert bot is not None
    assert (own.kills, own.deaths, own.suicides) == (1, 2, 1)
    assert (bot.kills, bot.deaths, bot.suicides) == (1, 2, 1)
    tally.take(["  0:20 ClientDisconnect: 0"])
    assert tally.named("Sarge") is None
    tally.take(["  0:00 InitGame: another map"])
    assert tally.present() == []


def test_the_quiet_game_outlasts_a_calibration() -> None:
    from plugins.openarena.capture import reticle_capture

    quiet = Settings(**reticle_capture().still)
    assert quiet.bots == 0
    assert quiet.seconds >= 1800  # where an episode ends, the player is put elsewhere


@given(cuts=st.lists(st.integers(0, len(LOG)), max_size=6), junk=st.text(max_size=40))
def test_the_log_is_read_while_it_is_written_wherever_that_breaks_off(cuts: list[int], junk: str) -> None:
    text = LOG + junk.replace("Kill", "") + "\n"
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "games.log"
        log = GameLog(path)
        assert log.lines() == []
        written = text.encode()
        for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(written)], strict=True):
            with path.open("ab") as file:
                file.write(written[start:end])
            tally.take(log.lines())
    own = tally.named("Reticle")
    assert own is not None
    assert (own.kills, own.deaths) == (1, 2)


def test_a_log_that_is_gone_or_cut_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "games.log"
    path.write_text(LOG)
    log = GameLog(path)
    log.lines()
    path.write_text("")
    with pytest.raises(UserError, match="was cut while it played"):
        log.lines()
    path.unlink()
    with pytest.raises(UserError, match="cannot be read while it plays"):
        log.lines()


def test_the_score_ranks_by_kills_and_knows_nothing_of_shots() -> None:
    tally = Tally()
    tally.take(LOG.splitlines())
    own = tally.named("Reticle")
    assert own is not None
    assert scores(own, [tally.players[0]], 30.0) == {
        "kills": 1,
        "deaths": 2,
        "suicides": 1,
        "kills_per_min": 2.0,
        "bot_kills_per_min": 2.0,
        "rank": 1,
    }


SKIN = "h_head,models/players/x/skin.tga\ntag_torso,\n"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder that looks like an installed game's."""
    base = tmp_path / "oa" / "baseoa"
    base.mkdir(parents=True)
    with zipfile.ZipFile(base / "pak0.pk3", "w") as archive:
        for model in ("sarge", "gargoyle", "angelyss"):
            for part in ("head", "upper", "lower"):
                archive.writestr(f"models/players/{model}/{part}_default.skin", SKIN)
        archive.writestr("maps/aggressor.bsp", "")
    with zipfile.ZipFile(base / "pak6.pk3", "w") as archive:
        archive.writestr("maps/aggressor.aas", "")
        archive.writestr("models/players/sarge/head_default.skin", SKIN.replace("h_head", "h_face"))
    (tmp_path / "oa" / "openarena.x86_64").write_bytes(b"\x7fELF")
    return tmp_path / "oa"


def test_it_is_found_where_it_lies_and_what_is_missing_is_one_sentence(made: Path, tmp_path: Path) -> None:
    context = outside_a_run(tmp_path)
    found = find(Settings(folder="oa", maps=("aggressor",)), context)
    assert found.engine.name == "openarena.x86_64"
    assert found.maps() == {"aggressor"}
    with pytest.raises(UserError, match="no map 'nowhere' that bots can walk; there are: aggressor"):
        find(Settings(folder="oa", maps=("nowhere",)), context)
    with pytest.raises(UserError, match="there is no OpenArena here: no baseoa"):
        find(Settings(folder="elsewhere"), context)
    with pytest.raises(UserError, match=r"the game's program \(`engine`\) is not there"):
        find(Settings(folder="oa", engine="none"), context)
    (made / "baseoa" / "pak0.pk3").write_bytes(b"PK cut")
    with pytest.raises(UserError, match="the game's data cannot be read"):
        find(Settings(folder="oa", maps=("aggressor",)), context)


def test_a_map_is_a_name_and_no_command() -> None:
    for name in ("", "a;quit", "a b", "../x"):
        with pytest.raises(ValueError, match="is no map's name"):
            Settings(maps=(name,))


def test_every_surface_gets_its_players_colour_and_later_archives_win(made: Path, tmp_path: Path) -> None:
    installation = Installation(made / "openarena.x86_64", made)
    path = skins.write(installation, tmp_path / skins.ARCHIVE)
    number = skins.colours(installation).numbers["sarge/default"]
    with zipfile.ZipFile(path) as archive:
        head = archive.read("models/players/sarge/head_default.skin").decode()
        body = archive.read("models/players/sarge/lower_default.skin").decode()
        shaders = archive.read("scripts/reticle.shader").decode()
    assert head.splitlines() == [f"h_face,reticle/head{number}", "tag_torso,"]
    assert body.splitlines() == [f"h_head,reticle/body{number}", "tag_torso,"]
    drawn = {
        name: [255 * float(part) for part in constant.split()]
        for name, constant in re.findall(r"reticle/(\w+)\n.*?rgbGen const \( (.*?) \)", shaders, re.DOTALL)
    }
    # The game cuts off what is behind the point, as 32 bits have it; a renderer that rounds shall draw the same.
    assert drawn[f"head{number}"][1:] == [255, 0]
    for name, (red, *_) in drawn.items():
        assert name[4:] == str(int(np.float32(red))) == str(round(red)), name


def test_what_glows_is_not_drawn_where_the_truth_is_and_nothing_else_is_left_out(made: Path, tmp_path: Path) -> None:
    glowing = {
        "models/weapons2/railgun/railgun_flash.md3",
        "models/weapons2/bfg/bfg_flash_1.md3",
        "models/misc/telep.md3",
    }
    solid = {"models/weapons2/railgun/railgun.md3", "models/mapobjects/cosmoflash/torch1.md3", "models/misc/box.md3"}
    with zipfile.ZipFile(made / "baseoa" / "pak3.pk3", "w") as archive:
        for name in glowing | solid:
            archive.writestr(name, b"IDP3")
    installation = Installation(made / "openarena.x86_64", made)
    for drawn in get_args(skins.Drawn):
        with zipfile.ZipFile(skins.write(installation, tmp_path / "truth.pk3", drawn)) as archive:
            models = {name: archive.read(name) for name in archive.namelist() if name.endswith(".md3")}
        assert set(models) == (set() if drawn == "game" else glowing)
        for data in models.values():
            magic, version, _, _, frames, _, surfaces, _, first, _, _, end = struct.unpack_from("<4si64s9i", data)
            assert (magic, version, frames, surfaces) == (b"IDP3", 15, 1, 0)
            assert first + 56 == end == len(data)


@pytest.mark.parametrize("spelt", [skins.ICONS, skins.ICONS.upper()])
def test_the_crosshair_marks_the_living_and_nothing_else_lies_on_a_bare_picture(
    made: Path, tmp_path: Path, spelt: str
) -> None:
    old, new = (
        f"gfx/2d/Crosshairb\n{{ {{ map {n}.tga }} }}\nicons/iconr\n{{ {{ map r{n}.tga }} }}\nmenu/x {{ {n} }} // end"
        for n in "12"
    )
    for name, text in (("pak4.pk3", old), ("pak5.pk3", new)):
        with zipfile.ZipFile(made / "baseoa" / name, "w") as archive:
            archive.writestr(spelt, text)
            archive.writestr("gfx/2d/bigchars.tga", b"")
    installation = Installation(made / "openarena.x86_64", made)
    blocks = {}
    for drawn in get_args(skins.Drawn):
        with zipfile.ZipFile(skins.write(installation, tmp_path / "truth.pk3", drawn)) as archive:
            found = archive.read(skins.ICONS).decode() if skins.ICONS in archive.namelist() else ""
        blocks[drawn] = {name: found[start:end] for name, start, end in shaders.blocks(found)}
    assert blocks["game"] == {}, "whoever plays sees the game's own"
    for drawn in ("status bar", "bare"):
        assert blocks[drawn]["menu/x"] == "menu/x { 2 }"
        assert "rgbGen const ( 1 0 0 )" in blocks[drawn][skins.CROSSHAIR]
        assert "gfx/2d/Crosshairb" not in blocks[drawn]
    assert blocks["status bar"].keys() == {"menu/x", "icons/iconr", skins.CROSSHAIR}
    assert blocks["bare"].keys() == {"menu/x", "icons/iconr", "gfx/2d/bigchars", skins.CROSSHAIR}
    for name in ("icons/iconr", "gfx/2d/bigchars"):
        assert "GL_ZERO GL_ONE" in blocks["bare"][name]


def test_every_face_in_the_status_bar_is_ones_own(made: Path, tmp_path: Path) -> None:
    own, others = (
        "models/players/angelyss/icon_default.tga",
        [f"models/players/sarge/icon_{n}.tga" for n in ("default", "red")],
    )
    with zipfile.ZipFile(made / "baseoa" / "pak4.pk3", "w") as archive:
        for name in (own, *others, "models/players/sarge/skin.tga"):
            archive.writestr(name, name)
    path = skins.write_faces(Installation(made / "openarena.x86_64", made), tmp_path / "faces.pk3")
    with zipfile.ZipFile(path) as archive:
        assert {name: archive.read(name).decode() for name in archive.namelist()} == dict.fromkeys((own, *others), own)


def test_without_ones_own_face_the_others_stay(made: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(made / "baseoa" / "pak4.pk3", "w") as archive:
        archive.writestr("models/players/sarge/icon_default.tga", "sarge")
    path = skins.write_faces(Installation(made / "openarena.x86_64", made), tmp_path / "faces.pk3")
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == []


@pytest.mark.parametrize(("width", "height"), [(640, 480), (320, 240), (1366, 768), (1920, 1080)])
def test_who_is_alive_is_told_by_where_the_crosshair_is_drawn(width: int, height: int) -> None:
    """The game reckons in 640x480, from the picture's middle, and stretches that to the picture."""
    side = float(footage.MARKED["cg_crosshairSize"])
    left, top = (
        float(footage.MARKED[f"cg_crosshair{axis}"]) + (whole - side) / 2 for axis, whole in (("X", 640), ("Y", 480))
    )
    mark = np.zeros((height, width), bool)
    mark[
        math.ceil(top * height / 480) : math.floor((top + side) * height / 480),
        math.ceil(left * width / 640) : math.floor((left + side) * width / 640),
    ] = True
    pixels = np.where(mark[..., None], skins.MARK, 30).astype(np.uint8)
    assert skins.alive(pixels)
    pixels = np.where(mark[..., None], 30, skins.MARK).astype(np.uint8)
    assert not skins.alive(pixels)


shader_names = st.from_regex(r"[A-Za-z]{1,6}/[a-z0-9_]{1,8}|white", fullmatch=True)
shader_stages = st.lists(
    st.sampled_from(["\tnopicmip\n", "\t{\n\t\tmap a/b.tga\n\t}\n", "// } odd {\n", "/* { */", "\n", '"{"'])
)
shader_gaps = st.sampled_from(["\n", " ", "\n\n", " // x {\n", "/* c */", "\n// one\n// two }\n"])


@given(blocks=st.lists(st.tuples(shader_names, shader_stages, shader_gaps), max_size=6), data=st.data())
def test_a_script_without_some_shaders_is_that_of_the_others(blocks: list, data: st.DataObject) -> None:
    names = data.draw(st.sets(st.sampled_from(sorted({name.lower() for name, *_ in blocks})))) if blocks else set()

    def script(chosen: list) -> str:
        return "".join(f"{name}{gap}{{\n{''.join(stages)}}}\n" for name, stages, gap in chosen)

    left = shaders.without(script(blocks), names)
    assert left.split() == script([block for block in blocks if block[0].lower() not in names]).split()


@given(seed=st.integers(0, 2**31 - 1))
def test_whoever_plays_for_a_data_set_is_made_a_god_before_anything_else(seed: int) -> None:
    from plugins.openarena.samples import script

    lines = script(["Sarge", "Grism"], np.random.default_rng(seed))
    assert lines[0] == "god"
    assert "team spectator" in lines, "then it sees what the bots see"


def test_each_number_is_drawn_as_itself() -> None:
    for number in range(1, 256):
        drawn = np.float32(float(f"{skins.level(number):.6f}")) * np.float32(255)
        assert int(drawn) == round(float(drawn)) == number


@given(grey=st.integers(0, 200), strength=st.floats(0.75, 1), flash=st.integers(1, 100))
def test_players_behind_smoke_and_flashes_are_seen_whole(grey: int, strength: float, flash: int) -> None:
    colours = skins.Colours({"sarge/default": 85})
    picture = np.full((40, 60, 3), 60, np.float64)
    picture[10:30, 20:30] = (255, 0, 85)
    picture[10:15, 22:28] = (0, 255, 85)
    smoky = strength * picture + (1 - strength) * grey
    lit = picture.copy()
    lit[18:24, 16:34] += (0, 0, flash)  # red light alone, over the player and beside
    plain = np.full((40, 60, 3), 60, np.uint8)
    for shown in (smoky, lit):
        seen = colours.seen(np.clip(np.rint(shown), 0, 255).astype(np.uint8), plain)
        assert seen.xyxy.tolist() == [[22, 10, 28, 15], [20, 10, 30, 30]]


@given(number=st.integers(60, 200), brightness=st.integers(20, 55), x=st.integers(0, 18))
def test_light_makes_nobody_of_another(number: int, brightness: int, x: int) -> None:
    """A glow that fades makes bands of all numbers above a player's, another player's among them."""
    colours = skins.Colours({"sarge/default": number, "major/default": number + 10})
    picture = np.full((60, 90, 3), 60, np.float64)
    picture[10:50, 20:44] = (255, 0, number)
    picture[20:44, 60:72] = (255, 0, number + 10)
    plain = np.full((60, 90, 3), 60, np.uint8)
    before = colours.seen(picture.astype(np.uint8), plain)
    assert before.xyxy.tolist() == [[20, 10, 44, 50], [60, 20, 72, 44]]
    rows, columns = np.mgrid[:60, :90]
    picture[..., 2] += np.rint(brightness * np.clip(1 - np.hypot(rows - 30, columns - 23 - x) / 8, 0, 1))
    assert colours.seen(np.clip(picture, 0, 255).astype(np.uint8), plain).xyxy.tolist() == before.xyxy.tolist()


def test_a_small_player_beside_a_light_is_still_one() -> None:
    colours = skins.Colours({"sarge/default": 100, "major/default": 110})
    picture = np.full((120, 120, 3), 60, np.float64)
    picture[10:110, 20:70] = (255, 0, 100)
    picture[40:54, 70:80] = (255, 0, 110)  # far away, at the other's shoulder
    picture[44:50, 60:70, 2] += 35
    seen = colours.seen(np.clip(picture, 0, 255).astype(np.uint8), np.full((120, 120, 3), 60, np.uint8))
    assert seen.xyxy.tolist() == [[20, 10, 70, 110], [70, 40, 80, 54]]


def test_a_lamp_is_no_player() -> None:
    colours = skins.Colours({"sarge/default": 85})
    lamp = np.full((40, 60, 3), 60, np.uint8)
    lamp[10:30, 20:30] = (250, 11, 92)  # what a player behind smoke looks like
    assert len(colours.seen(lamp).xyxy) == len(colours.seen(lamp, lamp).xyxy) == 0


boxes = st.tuples(st.integers(0, 50), st.integers(0, 30), st.integers(3, 12), st.integers(3, 12))


@given(one=boxes, other=boxes, channels=st.sampled_from([3, 4]))
def test_what_is_seen_of_each_player_is_exact_to_the_pixel(one: tuple, other: tuple, channels: int) -> None:
    names = [model if "/" in model else f"{model}/default" for model in BOTS.values()]
    colours = skins.Colours({name: i + 7 for i, name in enumerate(names)} | {"angelyss/default": 3})
    picture = np.full((50, 70, channels), 90, np.uint8)
    picture[0:5, 60:66, :3] = (255, 0, 3)  # one's own, in the status bar
    for (x, y, w, h), number in ((one, 7), (other, 9)):
        picture[y : y + h, x : x + w, :3] = (255, 0, number)
        picture[y : y + 2, x : x + w, :3] = (0, 255, number)
    seen = colours.seen(picture)
    red, head = picture[..., 2], picture[..., 1] == 255
    expected = []
    for number in (7, 9):
        for kind, mask in ((skins.HEAD, (red == number) & head), (skins.BODY, red == number)):
            ys, xs = np.nonzero(mask)
            if len(ys) >= skins.FEWEST_PIXELS:
                expected.append((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1, kind, len(ys)))
    found = [(*box, kind, count) for box, kind, count in zip(seen.xyxy, seen.class_id, seen.pixels, strict=True)]
    assert found == expected


def test_a_video_as_the_game_writes_it_is_read_and_no_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 5, 7, 3), np.uint8)  # a row of 7 pixels is padded to a multiple of four bytes
    chunks = b""
    for frame in frames:
        rows = b"".join(row.tobytes() + b"\0" * (-21 % 4) for row in frame[::-1])
        chunks += b"00dc" + struct.pack("<I", len(rows)) + rows
    head = b"RIFF....AVI LIST....hdrl" + b"strf" + struct.pack("<Iiii", 40, 40, 7, 5) + b"\0" * 28 + b"LIST....movi"
    path = tmp_path / "v.avi"
    path.write_bytes(head + chunks)
    np.testing.assert_array_equal(np.stack(list(footage.pictures(path))), frames)
    path.write_bytes(head + chunks[:-20])  # the game was ended while it wrote
    assert len(list(footage.pictures(path))) == 2
    path.write_bytes(b"something else")
    with pytest.raises(UserError, match="no uncompressed AVI"):
        list(footage.pictures(path))


def test_the_configuration_says_what_the_settings_do() -> None:
    lines = configuration(Settings(weapons="own", fov_deg=100, pitch_deg=-0.03)).splitlines()
    for line in ('seta g_instantgib "0"', 'seta cg_fov "100.0"', 'seta m_pitch "-0.03"', 'seta sv_maxclients "5"'):
        assert line in lines


# With the game.


@pytest.fixture
def installed() -> None:
    reason = ""
    try:
        find(Settings(), outside_a_run(Path()))
    except UserError as error:
        reason = str(error)
    if not reason and shutil.which("Xvfb") is None:
        reason = "Xvfb is not installed (Debian's package xvfb)"
    if reason:
        if os.environ.get("RETICLE_REQUIRE_OPENARENA") == "1":
            pytest.fail(f"{reason}, and RETICLE_REQUIRE_OPENARENA is 1")
        pytest.skip(reason)


def left_over(folder: Path) -> list[str]:
    """The processes that a test in `folder` started, and the folders of games."""
    found = [str(path) for path in folder.glob("tmp/reticle-*")]
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error):
            if process.environ().get(RUN_MARK) == str(folder) and process.pid != os.getpid():
                found.append(process.info["name"] or "?")
    return found


def profile(folder: Path, **game: object) -> Path:
    text = yaml.safe_load((ROOT / "profiles" / "openarena.yaml").read_text())
    text["game"] |= {"seconds": 12, "skill": 1, **game}
    path = folder / "oa.yaml"
    path.write_text(yaml.safe_dump(text))
    return path


def playing(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    (folder / "tmp").mkdir(exist_ok=True)
    command = [sys.executable, str(ROOT / "agent.py"), *map(str, arguments)]
    environment = {**os.environ, RUN_MARK: str(folder), "TMPDIR": str(folder / "tmp")}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


PLAY = ("demo-window", "--profile", "oa.yaml", "--live", "--xvfb", "--who", "oracle")


@pytest.mark.slow
@pytest.mark.alone
def test_it_starts_looks_hits_and_ends(installed: None, tmp_path: Path) -> None:
    profile(tmp_path, bots=6, seconds=45)
    process = playing(tmp_path, *PLAY, "--json", "r.json")
    _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    report = json.loads((tmp_path / "r.json").read_text())
    (episode,) = report["episodes"]
    assert episode["kills"] >= 1
    assert set(episode) >= {"deaths", "suicides", "kills_per_min", "bot_kills_per_min", "rank"}
    assert not set(episode) & {"shots", "hits", "recall"}  # which the log does not know
    assert until(lambda: not left_over(tmp_path), 10), left_over(tmp_path)


@pytest.mark.slow
@pytest.mark.alone
def test_a_killed_agent_leaves_no_process_and_no_file(installed: None, tmp_path: Path) -> None:
    profile(tmp_path, seconds=600)
    process = playing(tmp_path, *PLAY)
    assert until(
        lambda: "ioquake3" in "".join(left_over(tmp_path)) and list(tmp_path.glob("tmp/*/baseoa/games.log")), 60
    )
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    assert until(lambda: not left_over(tmp_path), 20), left_over(tmp_path)


@pytest.mark.slow
@pytest.mark.alone
def test_a_game_that_dies_is_one_sentence(installed: None, tmp_path: Path) -> None:
    profile(tmp_path, seconds=600)
    process = playing(tmp_path, *PLAY)

    def engines() -> list[psutil.Process]:
        found = []
        for each in psutil.process_iter(["name"]):
            with contextlib.suppress(psutil.Error):
                if each.info["name"] == "ioquake3" and each.environ().get(RUN_MARK) == str(tmp_path):
                    found.append(each)
        return found

    assert until(lambda: list(tmp_path.glob("tmp/*/baseoa/games.log")), 60)
    for each in engines():
        each.kill()
    _, said = process.communicate(timeout=60)
    assert "OpenArena ended by itself" in said
    assert "Traceback" not in said
    assert until(lambda: not left_over(tmp_path), 10), left_over(tmp_path)


@pytest.mark.parametrize("display", ["", ":7345"])
def test_without_a_display_it_says_so_at_once(installed: None, agent, display: str) -> None:
    done = agent("game", "--profile", "openarena.yaml", env={"DISPLAY": display, "WAYLAND_DISPLAY": ""})
    assert done.returncode == 2
    assert "OpenArena needs a display, and " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_what_somebody_dead_sees_is_not_marked(installed: None, tmp_path: Path) -> None:
    settings = Settings(maps=("oa_minia",), bots=0, hud=False)
    installation = find(settings, outside_a_run(tmp_path))
    archive = skins.write(installation, tmp_path / "bare.pk3", "bare")
    with own_display(settings.width, settings.height):
        demo = footage.record(installation, settings, "oa_minia", {}, ["wait 150", "kill", "wait 250"], tmp_path)
        with footage.drawn(installation, settings, demo, 4, archive, truth=True) as video:
            alive = [skins.alive(picture) for picture in footage.pictures(video)]
    died = alive.index(False)
    back = alive.index(True, died)
    assert all(alive[1:died])
    assert 8 <= died <= 14, "three seconds, at four pictures a second"
    assert 4 <= back - died <= 20
    assert all(alive[back:])


@pytest.mark.slow
def test_frames_with_their_truth_are_collected(installed: None, tmp_path: Path) -> None:
    profile(tmp_path)
    process = playing(tmp_path, "collect", "--profile", "oa.yaml", "--frames", 40, "--validation", "--out", "data")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    data = json.loads((tmp_path / "data" / "instances.json").read_text())
    assert len(data["images"]) == 40
    assert {category["name"] for category in data["categories"]} == {"head", "body"}
    inside = [a for a in data["annotations"] if a["category_id"] == 1]
    bodies = {(a["image_id"]): [] for a in data["annotations"]}
    for a in data["annotations"]:
        if a["category_id"] == 2:
            bodies[a["image_id"]].append(a["bbox"])
    for a in inside:  # every head is a body's
        x, y, w, h = a["bbox"]
        assert any(
            bx <= x and by <= y and x + w <= bx + bw and y + h <= by + bh for bx, by, bw, bh in bodies[a["image_id"]]
        )
    assert not left_over(tmp_path)
