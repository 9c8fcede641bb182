"""Model bundles: the folder that holds a network's Darknet files, its class names and what they hash to.

`models/NAME/` has `model.yaml`, `network.cfg` and `network.weights`; what conversion makes joins them.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.coco import COCO_NAMES
from engine.darknet import Network, read_cfg, read_weights
from engine.engine import Model
from engine.errors import ModelError

COMMAND = "uv run agent.py" if os.environ.get("UV") else "python agent.py"
"""How whoever reads a message started this, and can start the remedy."""

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
DARKNET_VARIABLE = "RETICLE_TEST_DATA"
"""Names a folder with cfg/NAME.cfg and weights/NAME.weights, in which models are looked for last."""

OFFICIAL = ("yolov4", "yolov4-tiny", "yolov3", "yolov3-tiny")
"""The models that `agent.py fetch` can get."""


class Card(BaseModel):
    """The contents of model.yaml."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    names: tuple[str, ...] = Field(min_length=1)
    size: tuple[int, int]
    source: str = ""
    sha256: dict[str, str]


@dataclass(frozen=True)
class ModelFiles:
    """Where a model's files are, and its class names (None: the cfg says how many)."""

    cfg: Path
    weights: Path
    names: tuple[str, ...] | None = None
    size: tuple[int, int] | None = None


def find(name: str, folder: Path | None = None) -> ModelFiles:
    """Return the files of a bundle, given by its folder or by its name in models/.

    :param folder: where relative paths count from.
    :raises ModelError: there is none, or one of its files is not the one it was made with.
    """
    candidates = [(folder or Path()) / name, MODELS / name, Path("models") / name]
    for candidate in candidates:
        if (candidate / "model.yaml").is_file():
            return _bundle(candidate)
    darknet = Path(os.environ.get(DARKNET_VARIABLE) or ROOT.parent / "shared" / "data")
    cfg, weights = darknet / "cfg" / f"{name}.cfg", darknet / "weights" / f"{name}.weights"
    if cfg.is_file() and weights.is_file():
        names = darknet / "cfg" / "coco.names"
        return ModelFiles(cfg, weights, read_names(names) if names.is_file() else None)
    if name in OFFICIAL:
        raise ModelError(f'the model {name} is not here yet: get it with "{COMMAND} fetch {name}"')
    raise ModelError(
        f"there is no bundle models/{name}: make one from your own Darknet files with "
        f'"{COMMAND} convert --cfg FILE --weights FILE --names FILE --out models/{name}"'
    )


def load(files: ModelFiles, size: tuple[int, int] | None = None) -> tuple[Model, tuple[str, ...]]:
    """Read a model's files; return it and its class names.

    :param size: width and height of the input in place of the files' own, pixels.
    :raises ModelError: a file is missing or wrong, or they do not belong together.
    """
    network = read_cfg(files.cfg, size or files.size)
    names = class_names(files, network)
    return Model(network, read_weights(files.weights, network)), names


def class_names(files: ModelFiles, network: Network) -> tuple[str, ...]:
    """Return the class names, COCO's for 80 classes without names.

    :raises ModelError: there are not as many names as classes.
    """
    if files.names is None:
        if network.classes == len(COCO_NAMES):
            return COCO_NAMES
        return tuple(f"class {i}" for i in range(network.classes))
    if len(files.names) != network.classes:
        raise ModelError(
            f"{files.cfg}: the network tells {network.classes} classes apart, and there are "
            f"{len(files.names)} names for them"
        )
    return files.names


def read_names(path: Path) -> tuple[str, ...]:
    """Read a .names file, one class a line.

    :raises ModelError: it cannot be read or is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ModelError(f"{path}: the class names cannot be read: {reason}") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise ModelError(f"{path}: there are no class names in this file")
    return names


def sha256(path: Path) -> str:
    """Return a file's sha256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bundle(folder: Path) -> ModelFiles:
    path = folder / "model.yaml"
    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        card = Card.model_validate(data)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise ModelError(f"{path}: the bundle's card cannot be read ({first}); make the bundle again") from error
    for name in ("network.cfg", "network.weights"):
        file = folder / name
        if not file.is_file():
            raise ModelError(f"{file}: the bundle lacks this file; make the bundle again")
        if name not in card.sha256 or sha256(file) != card.sha256[name]:
            raise ModelError(
                f"{file}: the file is not the one the bundle was made with (sha256 differs from model.yaml); "
                "make the bundle again"
            )
    return ModelFiles(folder / "network.cfg", folder / "network.weights", card.names, card.size)
