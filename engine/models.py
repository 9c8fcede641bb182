"""Model bundles: the folder that holds a network's Darknet files, its class names and what they hash to.

`models/NAME/` has `model.yaml`, and `network.cfg` and `network.weights`, or `source.onnx` of another family; what
conversion makes joins them.
"""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from core.command import COMMAND
from core.errors import UserError
from core.files import is_clone, sha256, shipped
from core.precision import Precision
from core.provenance import files_digest
from core.text import class_names, read_text, read_yaml, validated
from engine.coco import COCO_NAMES
from engine.darknet import Network, check_weights, read_cfg
from engine.engine import Model
from engine.onnx_input import InputSpec

if TYPE_CHECKING:
    from engine.onnx_network import OnnxNetwork

MODELS = shipped("models")
"""The bundles that come with Reticle; in a clone, also where fetched ones go."""
TEST_DATA_VARIABLE = "RETICLE_TEST_DATA"
"""Where it is set, models are looked for last in that folder's cfg/NAME.cfg and weights/NAME.weights."""

GRAPH_FILES = {"fp32": "fp32.onnx", "fp16": "fp16.onnx", "int8": "int8.onnx", "int8-uint8": "int8-uint8.onnx"}
"""What conversion calls a bundle's graphs. `int8` is symmetric, for TensorRT; `int8-uint8` is for other runtimes."""

SOURCE = "source.onnx"
"""What a bundle calls the ONNX file of another family that it was made from."""
OTHER_FILES = {
    ".pt": "a PyTorch checkpoint holds code and is not loaded; export it to ONNX with the program that trained it",
    ".pth": "a PyTorch checkpoint holds code and is not loaded; export it to ONNX with the program that trained it",
    ".tflite": "TensorFlow Lite is not read; export the network to ONNX",
    ".engine": "a TensorRT engine runs on one GPU and version alone; give the ONNX file that it was built from",
    ".plan": "a TensorRT engine runs on one GPU and version alone; give the ONNX file that it was built from",
    ".weights": f"Darknet weights need their cfg: `{COMMAND} convert --cfg FILE --weights FILE --out models/NAME`",
    ".cfg": f"a Darknet cfg needs its weights: `{COMMAND} convert --cfg FILE --weights FILE --out models/NAME`",
    ".keras": f"a Keras file is made a bundle of first: `{COMMAND} convert --keras FILE --out models/NAME`",
}
"""What to do with a file that is no model here, by its suffix."""

OFFICIAL = ("yolov4", "yolov4-tiny", "yolov3", "yolov3-tiny")
"""The models that `agent.py fetch` can get."""

log = logging.getLogger("reticle")


class Manifest(BaseModel):
    """The contents of model.yaml."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    names: tuple[str, ...] = Field(min_length=1)
    size: tuple[Annotated[int, Field(ge=32, le=16384)], Annotated[int, Field(ge=32, le=16384)]]
    source: str = ""
    layout: str | None = None
    """Of a network of another family than Darknet's: how its outputs are read (`engine.layouts`)."""
    preprocess: InputSpec | None = None
    """Likewise: what it wants of its pixels."""
    sha256: dict[str, str]
    steps: dict[str, str] = Field(default_factory=dict)
    """What each file that conversion added was made from: a digest, by the file's name."""


@dataclass(frozen=True)
class ModelFiles:
    """Where a Darknet model's files are, and its class names (None: the cfg says how many)."""

    cfg: Path
    weights: Path
    names: tuple[str, ...] | None = None
    size: tuple[int, int] | None = None
    folder: Path | None = None
    """The bundle's."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """What the bundle's files hash to."""

    @property
    def base(self) -> dict[str, Path]:
        """The files that are the model's source of truth, by their names in a bundle."""
        return {"network.cfg": self.cfg, "network.weights": self.weights}

    def network(self, size: tuple[int, int] | None = None) -> Network:
        """Return the network.

        :param size: width and height of the input in place of the files' own, pixels.
        :raises UserError: a file is missing or wrong.
        """
        return read_cfg(self.cfg, size or self.size)


@dataclass(frozen=True)
class OnnxFiles:
    """Where an ONNX detector is, and what is known of it without looking at it."""

    onnx: Path
    names: tuple[str, ...] | None = None
    size: tuple[int, int] | None = None
    folder: Path | None = None
    """The bundle's."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """What the bundle's files hash to."""
    layout: str | None = None
    """A layout's name; None recognises it."""
    preprocess: str | InputSpec | None = None
    """Words of `--preprocess`, or the whole specification; None takes the family's own."""

    @property
    def base(self) -> dict[str, Path]:
        """The files that are the model's source of truth, by their names in a bundle."""
        return {SOURCE: self.onnx}

    def network(self, size: tuple[int, int] | None = None) -> OnnxNetwork:
        """Return the network; see `ModelFiles.network`."""
        from engine.onnx_network import open_onnx

        if self.folder is not None and size not in (None, self.size):
            assert self.size is not None
            assert size is not None
            raise UserError(
                f"{self.folder}: this bundle's input is {self.size[0]}x{self.size[1]}, not {size[0]}x{size[1]}; make "
                f"one of that size (`convert --onnx {self.onnx} --size`), where its axes are dynamic"
            )
        return open_onnx(self.onnx, size or self.size, self.names, self.layout, self.preprocess)


Files = ModelFiles | OnnxFiles


def find(name: str, folder: Path | None = None) -> Files:
    """Return the files of a bundle, given by its folder or by its name in models/, or an ONNX file.

    :param folder: where relative paths count from.
    :raises UserError: there is none, or one of its files is not the one it was made with.
    """
    suffix = Path(name).suffix.lower() if name else ""
    if suffix == ".onnx":
        return OnnxFiles((folder or Path()) / name)
    if suffix in OTHER_FILES:
        raise UserError(f"{name}: {OTHER_FILES[suffix]}")
    candidates = [(folder or Path()) / name, MODELS / name, Path("models") / name]
    for candidate in candidates:
        if (candidate / "model.yaml").is_file():
            return _bundle(candidate)
    test_data = os.environ.get(TEST_DATA_VARIABLE)
    if test_data:
        cfg, weights = Path(test_data, "cfg", f"{name}.cfg"), Path(test_data, "weights", f"{name}.weights")
        if cfg.is_file() and weights.is_file():
            names = cfg.with_name("coco.names")
            return ModelFiles(cfg, weights, read_names(names) if names.is_file() else None)
    if name in OFFICIAL:
        raise UserError(f'the model {name} is not here yet: get it with "{COMMAND} fetch {name}"')
    if Path(name).name != name:
        raise UserError(f"{name}: there is no bundle here (a folder with model.yaml); `convert --out` makes one")
    near = difflib.get_close_matches(name, [*_known(), *OFFICIAL], n=1)
    if near:
        get = f'; get it with "{COMMAND} fetch {near[0]}"' if near[0] in OFFICIAL and near[0] not in _known() else ""
        raise UserError(f'there is no bundle models/{name}; did you mean "{near[0]}"?{get}')
    raise UserError(
        f"there is no bundle models/{name}: make one from your own Darknet files with "
        f'"{COMMAND} convert --cfg FILE --weights FILE --names FILE --out models/{name}", or take one of '
        f"{', '.join(dict.fromkeys([*_known(), *OFFICIAL]))} (`fetch` gets the official ones)"
    )


def find_darknet(name: str) -> ModelFiles:
    """Return the files of a Darknet model; see `find`.

    :raises UserError: there is none, or it is of another family.
    """
    files = find(name)
    if not isinstance(files, ModelFiles):
        raise UserError(f"{name}: a network of another family is not trained here; begin with a Darknet model")
    return files


def _known() -> list[str]:
    """Return the names of the bundles in models/."""
    folders = {MODELS, Path("models").resolve()}
    return sorted({file.parent.name for folder in folders for file in folder.glob("*/model.yaml")})


def int8_file(precision: Precision) -> str | None:
    """Return the file that a bundle must have before a runtime that reads its graphs can run a precision."""
    return GRAPH_FILES["int8-uint8"] if precision == "int8" else None


def bundles_folder() -> Path:
    """Return where new bundles go by default: models/ of the clone, or of the working folder where it is installed."""
    return MODELS if is_clone() else Path("models")


def identity(files: Files) -> dict[str, str]:
    """Return the name and digest that reports know a model by.

    The digest is the sha256 of the sha256 of its cfg and of its weights, or that of its ONNX file.
    """
    first = next(iter(files.base.values()))
    name = files.folder.name if files.folder is not None else first.stem
    return {"name": name, "sha256": files_digest(list(files.base.values()))}


def load(files: Files, size: tuple[int, int] | None = None) -> tuple[Model, tuple[str, ...]]:
    """Read a model's files; return it and its class names.

    :param size: width and height of the input in place of the files' own, pixels.
    :raises UserError: a file is missing or wrong, or they do not belong together.
    """
    network, names = check(files, size)
    weights = files.weights if isinstance(files, ModelFiles) else files.onnx
    if files.folder is None and not isinstance(network, Network):  # nobody has seen yet what it was taken for
        log.info("%s: %s", network.path, "; ".join(network.how))
    return Model(network, weights, files.folder, files.sha256, files), names


def check(files: Files, size: tuple[int, int] | None = None) -> tuple[Network | OnnxNetwork, tuple[str, ...]]:
    """Return a model's network and class names, after a look at whether its files belong together.

    :raises UserError: as `load`.
    """
    network = files.network(size)
    names = names_of(files, network)
    if isinstance(files, ModelFiles) and isinstance(network, Network):
        check_weights(files.weights, network)
    return network, names


def names_of(files: Files, network: Network | OnnxNetwork) -> tuple[str, ...]:
    """Return the class names, COCO's for 80 classes without names.

    :raises UserError: there are not as many names as classes.
    """
    listed = files.names if isinstance(network, Network) else network.names
    if listed is None:
        if network.classes == len(COCO_NAMES):
            return COCO_NAMES
        return tuple(f"class {i}" for i in range(network.classes))
    if len(listed) != network.classes:
        raise UserError(
            f"{network.path}: the network tells {network.classes} classes apart, and there are "
            f"{len(listed)} names for them"
        )
    return listed


def read_names(path: Path) -> tuple[str, ...]:
    """Read a .names file, one class a line.

    :raises UserError: it cannot be read or is empty.
    """
    lines = read_text(path, "the file of class names").split("\n")
    names = class_names([line for line in lines if line.strip()], str(path))
    if not names:
        raise UserError(f"{path}: there are no class names in this file")
    return names


def read_manifest(folder: Path) -> Manifest:
    """Read a bundle's model.yaml.

    :raises UserError: it is not one.
    """
    path = folder / "model.yaml"
    what = "the bundle's manifest"
    manifest: Manifest = validated(Manifest, read_yaml(path, what), path, what)
    class_names(manifest.names, str(path))
    return manifest


def _bundle(folder: Path) -> Files:
    manifest = read_manifest(folder)
    for name in ("network.cfg", "network.weights") if manifest.layout is None else (SOURCE,):
        file = folder / name
        if not file.is_file():
            raise UserError(f"{file}: the bundle lacks this file; make the bundle again")
        if name not in manifest.sha256 or sha256(file) != manifest.sha256[name]:
            raise UserError(
                f"{file}: the file is not the one the bundle was made with (sha256 differs from model.yaml); "
                "make the bundle again"
            )
    if manifest.layout is not None:
        return OnnxFiles(
            folder / SOURCE,
            manifest.names,
            manifest.size,
            folder,
            manifest.sha256,
            manifest.layout,
            manifest.preprocess,
        )
    cfg, weights = folder / "network.cfg", folder / "network.weights"
    return ModelFiles(cfg, weights, manifest.names, manifest.size, folder, manifest.sha256)
