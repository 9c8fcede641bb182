"""Making a bundle: models/NAME with the model's own files, the class names, what conversion adds, and their hashes.

A bundle is made in a folder beside it, `.NAME.part`, and takes its place when it is complete. What an interrupted
conversion has finished is there for the next one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import yaml

from core.errors import UserError
from core.files import sha256, write_atomically
from core.text import read_yaml
from engine.darknet import Network, read_weights
from engine.models import Files, ModelFiles, check
from engine.onnx_network import OnnxNetwork

LEFT_BESIDE = (".cache", ".part")
"""What TensorRT for RTX compiles and keeps beside its engine, and what a write that was killed leaves."""
MADE = (".yaml", ".cfg", ".weights", ".onnx", ".json", ".engine", ".pb", ".keras")
"""What conversion makes, where a damaged manifest cannot tell."""


def check_out(out: Path) -> None:
    """Refuse a folder that is there and is no bundle.

    :raises UserError: it is so.
    """
    if out.exists() and not (out / "model.yaml").is_file():
        raise UserError(f"{out}: this exists and is no bundle; choose another folder")


def make_bundle(files: Files, out: Path, source: str = "") -> Path:
    """Copy a model's files into a bundle, after checking that they belong together.

    :param out: the bundle's folder; one that is there already is replaced when the new one is complete.
    :param source: where the files came from, for the bundle's manifest.
    :raises UserError: a file is missing or wrong, or `out` cannot be written.
    """
    with BundleBuilder(files, out, source) as builder:
        return builder.finish()


class BundleBuilder:
    """A bundle in the making.

    Files of the bundle at `out`, or of an interrupted conversion, are taken over where they were made of the same
    files and size. One conversion works on a bundle at a time; leaving the `with` lets the next one in.

    :raises UserError: the files do not belong together, nothing can be written beside `out`, or another conversion is
        at work on it.
    """

    def __init__(self, files: Files, out: Path, source: str = "") -> None:
        self.network, names = check(files)
        if isinstance(self.network, Network) and isinstance(files, ModelFiles):
            read_weights(files.weights, self.network)
        check_out(out)
        self.out = out = out.resolve()  # through a link, to the folder that is to be replaced
        if Path.cwd().is_relative_to(out):
            raise UserError(f"{out}: the bundle is replaced as a whole; start from outside of its folder")
        self._lock = _lock(out)
        self.folder = out.parent / f".{out.name}.part"
        base = {name: sha256(path) for name, path in files.base.items()}
        self.base = tuple(base)
        """The names of the files that all else is made from."""
        self._manifest: dict[str, Any] = {
            "names": list(names),
            "size": [self.network.width, self.network.height],
            **_about(self.network),
            "source": source or " and ".join(path.name for path in files.base.values()),
            "sha256": dict(base),
            "steps": {},
        }
        try:
            self._start(files, bool(source))
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> BundleBuilder:
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def _start(self, files: Files, named: bool) -> None:
        out = self.out
        with self._writing():
            out.parent.mkdir(parents=True, exist_ok=True)
            if self._old.exists() and not out.exists():  # killed between the two renames of `finish`
                self._old.rename(out)
            if not self._take_over(self.folder, named, move=True):
                if self.folder.exists():
                    shutil.rmtree(self.folder)
                self.folder.mkdir()
                self._take_over(out, named, move=False)
            for name, path in files.base.items():
                if not (self.folder / name).is_file():
                    shutil.copyfile(path, self.folder / name)
            self._write_manifest()

    @property
    def _old(self) -> Path:
        return self.out.parent / f".{self.out.name}.old"

    def digest(self, *parts: object) -> str:
        """Return a digest of what a step is made from."""
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def hash_of(self, name: str) -> str:
        """Return what a finished file hashes to."""
        return str(self._manifest["sha256"][name])

    def has(self, name: str, made_from: str | None = None) -> bool:
        """Say whether a file is finished, and was made from just this."""
        steps = self._manifest["steps"]
        return name in steps and (made_from is None or steps[name] == made_from) and (self.folder / name).is_file()

    def step(self, name: str, made_from: str, make: Callable[[], bytes]) -> Path:
        """Make a file of the bundle, unless it is there already and was made from the same.

        :raises UserError: what `make` raises, or the file cannot be written.
        """
        path = self.folder / name
        if not self.has(name, made_from):
            content = make()
            with self._writing():
                write_atomically(path, content)
                self._add(name, made_from)
        return path

    def step_folder(self, name: str, made_from: str, make: Callable[[Path], None]) -> Path:
        """Make a folder of the bundle, as `step` makes a file; `make` fills it."""
        path = self.folder / name
        marker = f"{name}/"
        if self._manifest["steps"].get(marker) == made_from and path.is_dir():
            return path
        temporary = self.folder / f".{name}"
        shutil.rmtree(temporary, ignore_errors=True)
        make(temporary)
        with self._writing():
            shutil.rmtree(path, ignore_errors=True)
            temporary.rename(path)
            for file in sorted(path.rglob("*")):
                if file.is_file():
                    self._manifest["sha256"][file.relative_to(self.folder).as_posix()] = sha256(file)
            self._manifest["steps"][marker] = made_from
            self._write_manifest()
        return path

    def note(self, key: str, value: Any) -> None:
        """Write something down in the bundle's manifest."""
        self._manifest[key] = value
        with self._writing():
            self._write_manifest()

    def finish(self) -> Path:
        """Put the bundle in its place and return it."""
        old = self._old
        with self._writing():
            _keep_only(self.folder, set(self._manifest["sha256"]))
            self._take_along()
            shutil.rmtree(old, ignore_errors=True)
            if self.out.exists():
                self.out.rename(old)
            try:
                self.folder.rename(self.out)
            except OSError:
                if old.exists():
                    old.rename(self.out)
                raise
        shutil.rmtree(old, ignore_errors=True)
        return self.out

    def _take_along(self) -> None:
        """Take the files that somebody put into the bundle that is replaced, such as a card."""
        for name in _theirs(self.out):
            # One that cannot be where a new file is, is in its way.
            if not (self.folder / name).exists():
                with contextlib.suppress(FileExistsError, NotADirectoryError):
                    (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                    _link(self.out / name, self.folder / name)

    def _add(self, name: str, made_from: str) -> None:
        self._manifest["sha256"][name] = sha256(self.folder / name)
        self._manifest["steps"][name] = made_from
        self._write_manifest()

    def _write_manifest(self) -> None:
        text = yaml.safe_dump(self._manifest, sort_keys=False, allow_unicode=True, default_flow_style=None)
        write_atomically(self.folder / "model.yaml", text.encode())

    def _take_over(self, folder: Path, named: bool, move: bool) -> bool:
        """Take the finished files of a bundle made of the same; say whether it was one.

        :param named: whether the source of the new bundle has a name of its own.
        """
        try:
            manifest = read_yaml(folder / "model.yaml", "the bundle's manifest")
            hashes, steps = dict(manifest["sha256"]), dict(manifest.get("steps") or {})
            same = manifest["size"] == self._manifest["size"] and manifest["names"] == self._manifest["names"]
            same = same and all(hashes[name] == self._manifest["sha256"][name] for name in self.base)
            same = same and all(manifest.get(key) == self._manifest.get(key) for key in ("layout", "preprocess"))
        except (UserError, AttributeError, KeyError, TypeError, ValueError):
            return False
        if not same:
            return False
        kept = {name for name in hashes if (folder / name).is_file() and sha256(folder / name) == hashes[name]}
        # A folder is finished only with every one of its files.
        broken = {name.partition("/")[0] for name in hashes if "/" in name and name not in kept}
        kept = {name for name in kept if name.partition("/")[0] not in broken}
        if not named:
            self._manifest["source"] = manifest.get("source") or self._manifest["source"]
        if move:
            _keep_only(folder, kept)
        else:
            for name in kept:
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                _link(folder / name, self.folder / name)
        self._manifest["sha256"] |= {name: hashes[name] for name in kept}
        self._manifest["steps"] = {
            name: step
            for name, step in steps.items()
            if name in kept or (name.endswith("/") and any(file.startswith(name) for file in kept))
        }
        self._manifest |= {key: value for key, value in manifest.items() if key not in self._manifest}
        return True

    @contextlib.contextmanager
    def _writing(self) -> Any:
        """Turn a full disk into a sentence, with nothing left behind; the old bundle stays as it is."""
        try:
            yield
        except (OSError, UserError) as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            if isinstance(error, UserError):
                raise
            raise UserError(f"{self.out}: the bundle cannot be written: {error.strerror or error}") from error


def _about(network: Network | OnnxNetwork) -> dict[str, Any]:
    """Return what a manifest says of a network, beside its names and size."""
    if isinstance(network, Network):
        return {"anchors": [[list(anchor) for anchor in head.anchors] for head in network.heads]}
    # As JSON has it: tuples would not be the lists that are read back.
    return {"layout": network.family.name, "preprocess": network.spec.model_dump(mode="json")}


def _lock(out: Path) -> filelock.FileLock:
    """Take the bundle's lock, which lies with the temporary files and not beside the bundle."""
    name = hashlib.sha256(str(out).encode()).hexdigest()[:16]
    lock = filelock.FileLock(Path(tempfile.gettempdir()) / f"reticle-{name}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UserError(f"{out}: another conversion of this bundle is at work; wait for it to end") from None
    except OSError as error:
        raise UserError(f"{lock.lock_file}: cannot be written: {error.strerror}") from error
    return lock


def _theirs(bundle: Path) -> list[str]:
    """Return the files of a bundle that conversion did not make, and that no use of the bundle left beside its own."""
    names = [path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()]
    names = [name for name in names if Path(name).suffix not in LEFT_BESIDE]
    try:
        made = {"model.yaml", *read_yaml(bundle / "model.yaml", "the bundle's manifest")["sha256"]}
    except (UserError, TypeError, KeyError):
        return [name for name in names if Path(name).suffix not in MADE]
    return [name for name in names if name not in made]


def _keep_only(folder: Path, names: set[str]) -> None:
    """Delete what an interrupted conversion left half-made."""
    for path in sorted(folder.rglob("*"), reverse=True):  # files before their folders
        if path.is_dir():
            with contextlib.suppress(OSError):
                path.rmdir()  # only an empty one goes
        elif path.relative_to(folder).as_posix() not in names | {"model.yaml"}:
            path.unlink()


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, which costs no space; copy it where that cannot be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
