"""What a profile says of OpenArena, and the game's configuration made of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from agent.factories import PluginSettings
from agent.types import Measure

PLAYER = "Reticle"
"""What the game calls whoever plays."""
NAMES = ("head", "body")
"""The classes: a head, and a whole player."""

BOTS = {
    "Assassin": "assassin",
    "Ayumi": "ayumi",
    "Beret": "beret",
    "Gargoyle": "gargoyle",
    "Grism": "sarge/classic",
    "Grunt": "smarine",
    "Kyonshi": "kyonshi",
    "Liz": "liz",
    "Major": "major",
    "Merman": "merman",
    "Penguin": "penguin",
    "Sarge": "sarge",
    "Sergei": "sergei",
    "Skelebot": "skelebot",
    "Sorceress": "sorceress/blue",
    "Tony": "tony",
    "Andriy": "sarge/indigo",
    "Broadklin": "gargoyle/stone",
    "Cyber-Garg": "gargoyle/tech",
    "Ghost": "assassin/ghost",
    "Headcrash": "beret/headcrash",
    "Jenna": "ayumi/blue",
    "Metalbot": "skelebot/metal",
    "Morgan": "beret/macho",
    "S_Marine": "smarine/orange",
}
"""The game's bots whose head is a part of their model by itself, and their models.

The others' (Angelyss, Arachna, Neko and those drawn as they are) is one with the torso, so that its pixels are unknown.
"""
OWN_MODEL = "angelyss"
"""No bot's, so that what the status bar shows of it is not taken for one."""

MEASURES = (
    Measure("kills", "Bots killed."),
    Measure("deaths", "How often one was killed.", lower_is_better=True),
    Measure("suicides", "Own deaths by oneself or by the map.", in_arena=False, lower_is_better=True),
    Measure("kills_per_min", "Bots killed a minute."),
    Measure("bot_kills_per_min", "Kills a minute of a bot, the mean of the episode's."),
    Measure(
        "rank", "The place by kills among all that play, 1 the best; equals share the better one.", lower_is_better=True
    ),
)
"""What an episode is scored by: all that the game's log knows."""

QUIET: dict[str, float | str] = {
    "cl_allowDownload": 0, "cl_motd": 0, "sv_pure": 0, "com_introplayed": 1, "com_hunkMegs": 256, "con_notifytime": 0,
    "s_initsound": 0, "com_ansiColor": 0, "bot_nochat": 1, "bot_minplayers": 0, "cg_drawTeamOverlay": 0,
    "cg_drawCrosshairNames": 0, "cg_draw3dIcons": 0, "cg_autoswitch": 0, "timelimit": 0, "fraglimit": 0,
    "g_doWarmup": 0, "g_logsync": 1, "g_log": "games.log", "g_forcerespawn": 1, "g_inactivity": 0, "g_gametype": 0,
    "com_blood": 1, "r_fullscreen": 0, "r_mode": -1, "r_swapInterval": 0, "cl_mouseAccel": 0, "m_filter": 0,
    "com_maxfpsUnfocused": 0, "com_maxfpsMinimized": 0,
}  # fmt: skip
"""No network, no sound, no chat, no end of a match before the episode's."""
LIGHT: dict[str, float | str] = {
    "cl_renderer": "opengl1", "r_picmip": 2, "r_vertexLight": 1, "r_fastsky": 1, "r_dynamiclight": 0,
    "cg_shadows": 0, "cg_marks": 0, "cg_simpleItems": 0, "r_gamma": 1, "r_overBrightBits": 0,
}  # fmt: skip
"""What lets a processor without a graphics card draw it."""


class Place(PluginSettings):
    """Where the game is installed."""

    folder: str | None = Field(
        None, description="The folder that holds `baseoa`, where it is not one of a package's; relative to the profile."
    )
    engine: str | None = Field(None, description="The game's program, where it is not found by itself.")


class Settings(Place):
    """Which game, against whom, and how it looks."""

    maps: tuple[str, ...] = Field(
        ("oa_minia",), min_length=1, max_length=64, description="The maps of the episodes, in turn."
    )
    bots: int = Field(4, ge=0, le=12, description="How many bots there are.")
    skill: int = Field(3, ge=1, le=5, description="How well the bots play.")
    weapons: Literal["instagib", "own", "all"] = Field(
        "instagib",
        description="`instagib`: a rail gun that kills by one hit, for all, so that aim decides; `own`: what the game "
        "gives, and lies about; `all`: you begin with everything.",
    )
    god: bool = Field(False, description="Whether you cannot be hurt.")
    seconds: float = Field(60.0, ge=1, le=3600, description="How long an episode is.")
    width: int = Field(640, ge=320, le=3840, description="The picture's width, pixels.")
    height: int = Field(480, ge=240, le=2160, description="The picture's height, pixels.")
    max_fps: int = Field(60, ge=10, le=250, description="The most pictures a second that it draws.")
    fov_deg: float = Field(90.0, ge=60, le=130, description="The horizontal field of view, degrees.")
    sensitivity: float = Field(5.0, gt=0, le=100, description="The mouse's sensitivity, as the game's menu has it.")
    yaw_deg: float = Field(
        0.022, ge=-1, le=1, description="What a count turns to the right at sensitivity 1, degrees (m_yaw)."
    )
    pitch_deg: float = Field(
        0.022, ge=-1, le=1, description="What a count turns down at sensitivity 1, degrees (m_pitch); inverted below 0."
    )
    acceleration: float = Field(0.0, ge=0, le=10, description="The game's mouse acceleration (cl_mouseAccel).")
    gun: bool = Field(True, description="Whether one's own weapon is drawn.")
    hud: bool = Field(True, description="Whether the status bar is drawn.")
    skins: Literal["own", "truth"] = Field(
        "own", description="`truth` colours each player's head and body, so that the picture itself tells the truth."
    )

    @field_validator("maps")
    @classmethod
    def _plain(cls, maps: tuple[str, ...]) -> tuple[str, ...]:
        for name in maps:
            if not name.replace("_", "").replace("-", "").isalnum():
                raise ValueError(f"{name!r} is no map's name")
        return maps


def configuration(settings: Settings, **more: float | str) -> str:
    """Return the game's configuration file.

    :param more: variables over these.
    """
    values: dict[str, float | str] = {
        **QUIET,
        **LIGHT,
        "name": PLAYER,
        "model": OWN_MODEL,
        "headmodel": OWN_MODEL,
        "r_customwidth": settings.width,
        "r_customheight": settings.height,
        "com_maxfps": settings.max_fps,
        "cg_fov": settings.fov_deg,
        "sensitivity": settings.sensitivity,
        "m_yaw": settings.yaw_deg,
        "m_pitch": settings.pitch_deg,
        "cl_mouseAccel": settings.acceleration,
        "cg_drawGun": int(settings.gun),
        "cg_draw2D": int(settings.hud),
        "g_instantgib": int(settings.weapons == "instagib"),
        "sv_maxclients": settings.bots + 1,
        **more,
    }
    return "".join(f'seta {name} "{value}"\n' for name, value in values.items())
