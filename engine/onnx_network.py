"""A detector of another family than Darknet's: what its ONNX file is, and how its outputs are read."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from core.errors import UserError, first_line
from core.geometry import Fit
from core.images import read_image
from core.text import class_names, shown
from engine.boxes import Rows, nms
from engine.layouts import BY_NAME, FAMILIES
from engine.layouts.layout import Family, Layout, Signature, Tensor
from engine.onnx_canonical import SIZES, at_input_size, canonical
from engine.onnx_file import read_onnx
from engine.onnx_input import InputSpec, with_words

LONGEST_SIDE = 4096
DEFAULT_SIDE = 640
"""Of a picture, where the file fixes none."""
OTHER_TASKS = {"classify": "classifies whole pictures", "obb": "finds boxes that are turned"}
SENSIBLE = 20
"""Boxes that are looked at, the most confident ones, to see whether a layout makes sense of outputs."""
SEEN = 1e-3
"""A network that gives no box a score above this says nothing about what its numbers mean."""


@dataclass(frozen=True)
class OnnxNetwork:
    """A network, its input in pixels, and what its numbers mean.

    :param how: sentences about what was recognised, and by what.
    """

    path: str
    width: int
    height: int
    family: Family
    layout: Layout
    spec: InputSpec
    names: tuple[str, ...] | None = None
    how: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """How many it tells apart."""
        return self.layout.classes

    @property
    def fit(self) -> Fit:
        """How a picture is fitted into its input."""
        return self.spec.fit

    def graph(self) -> onnx.ModelProto:
        """Return the graph that engines take, float32.

        :raises UserError: the file cannot be read.
        """
        return canonical(read_source(Path(self.path)), self.width, self.height, self.spec, self.layout.outputs)

    def decoder(self, threshold: float, iou: float) -> LayoutDecoder:
        """Return what makes rows of its outputs."""
        return LayoutDecoder(self.layout, threshold, iou if self.family.nms else None)


class LayoutDecoder:
    """Outputs in, rows out, best first, in pixels of the input; see `engine.boxes.Decoder`.

    :param iou: of NMS; None where the network needs none.
    """

    def __init__(self, layout: Layout, threshold: float, iou: float | None) -> None:
        self._decode = layout.decode
        self._threshold = threshold
        self._iou = iou

    def decode(self, outputs: Any) -> Rows:
        """Return the rows."""
        rows = self._decode(outputs, self._threshold)
        if self._iou is not None:
            return nms(rows, self._iou)
        boxes, scores, classes = rows
        order = np.argsort(-scores, kind="stable")
        return boxes[order], scores[order], classes[order]


def open_onnx(
    path: Path,
    size: tuple[int, int] | None = None,
    names: tuple[str, ...] | None = None,
    layout: str | None = None,
    preprocess: str | InputSpec | None = None,
) -> OnnxNetwork:
    """Read an ONNX detector and recognise its layout.

    Metadata, names and shapes decide; where they leave several layouts, the network is run once on a stored picture,
    and the one that makes sense of it is taken.

    :param size: width and height of the input, where the file leaves it open.
    :param layout: a family's name, in place of recognising it.
    :param preprocess: words of `--preprocess`, or the whole specification; the family's own by default.
    :raises UserError: it is no detector, or of no known layout, or which one cannot be told.
    """
    return _opened(path, _stamp(path), size, names, layout, preprocess)


@functools.lru_cache(maxsize=8)
def _opened(
    path: Path,
    stamp: tuple[int, int],
    size: tuple[int, int] | None,
    names: tuple[str, ...] | None,
    layout: str | None,
    preprocess: str | InputSpec | None,
) -> OnnxNetwork:
    """Open a file that is as it was: a run asks for its classes, checks it and creates it."""
    proto = _read(path, stamp)
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    width, height = _size(proto, path, metadata, size)
    own = _names(metadata, path, names is None)
    if names is not None and own is not None and len(names) != len(own):
        raise UserError(f"{path}: the network's metadata has {len(own)} class names, and {len(names)} are given")
    names = names or own
    signature = _signature(proto, path, metadata, (width, height), None if names is None else len(names))
    task = signature.task
    if task in OTHER_TASKS:
        raise UserError(f"{path}: this network {OTHER_TASKS[task]} (its task is {task}); a detector is needed")
    spec_of = functools.partial(_spec, preprocess)
    found = _candidates(signature, path, layout)
    how = [f"layout {found[0][0].name} ({found[0][0].title}), by names and shapes"]
    if layout is not None:
        how = [f"layout {layout}, as given"]
    elif len(found) > 1:
        found = _tried(proto, signature, found, spec_of, path)
        how = [f"layout {found[0][0].name} ({found[0][0].title}), by a run on a stored picture"]
    family, chosen = found[0]
    spec = spec_of(family)
    if not isinstance(preprocess, InputSpec):
        how.append(f"pixels {spec}, {'as given' if preprocess else 'as this family has them'}")
    if names is None and family.counts_by_names:
        how.append(
            f"its outputs do not say how many classes there are: {chosen.classes}, as COCO has; else give --names"
        )
    if task in ("segment", "pose"):
        how.append(f"its boxes are read; what it tells beside them ({task}) is left alone")
    if names is not None and len(names) != chosen.classes:
        raise UserError(
            f"{path}: the network tells {chosen.classes} classes apart, and there are {len(names)} names for them"
        )
    return OnnxNetwork(str(path), width, height, family, chosen, spec, names, tuple(how))


@functools.lru_cache(maxsize=2)
def _read(path: Path, stamp: tuple[int, int]) -> onnx.ModelProto:
    del stamp  # only a part of the key
    return read_onnx(path, remedy="export it again")


def read_source(path: Path) -> onnx.ModelProto:
    """Return an ONNX file's content, weights included that lie in a file beside it; do not change it.

    :raises UserError: it is missing or is none.
    """
    return _read(path, _stamp(path))


def _stamp(path: Path) -> tuple[int, int]:
    """Return a file's size and time, by which a change of it shows."""
    try:
        about = path.stat()
    except OSError as error:
        raise UserError(f"{path}: the network cannot be read: {error.strerror}") from error
    return about.st_size, about.st_mtime_ns


def _names(metadata: dict[str, str], path: Path, needed: bool) -> tuple[str, ...] | None:
    """Return the class names that an exporter wrote down, as a Python literal.

    :raises UserError: they cannot be read, and are needed.
    """
    if "names" not in metadata:
        return None
    try:
        found = ast.literal_eval(metadata["names"])
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        found = None
    if isinstance(found, dict) and sorted(found, key=str) == sorted(range(len(found)), key=str):
        found = [found[i] for i in range(len(found))]
    if not isinstance(found, list | tuple) or not found or not all(isinstance(name, str) for name in found):
        if not needed:
            return None
        raise UserError(
            f"{path}: its metadata has no class names that can be read ({shown(metadata['names'])}); give --names"
        )
    return class_names(found, f"{path}: names")


def _size(
    proto: onnx.ModelProto, path: Path, metadata: dict[str, str], wanted: tuple[int, int] | None
) -> tuple[int, int]:
    """Return width and height of the input.

    :raises UserError: it is not one picture of 3 channels, or has another size than is wanted.
    """
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in constants and value.name != SIZES]
    dims = [d.dim_value or None for d in inputs[0].type.tensor_type.shape.dim] if len(inputs) == 1 else []
    kind = inputs[0].type.tensor_type.elem_type if len(inputs) == 1 else 0
    if len(dims) != 4 or dims[1] not in (3, None) or kind not in (TensorProto.FLOAT, TensorProto.FLOAT16):
        listed = ", ".join(f"{value.name} {_shape(value)}" for value in inputs) or "none"
        raise UserError(
            f"{path}: a detector takes one picture, float (1, 3, height, width); this one's inputs: {listed}"
        )
    if dims[0] not in (1, None):
        raise UserError(f"{path}: the network takes {dims[0]} pictures at once; export it with batch 1")
    height, width = dims[2:]
    if width and height:
        if wanted not in (None, (width, height)):
            raise UserError(f"{path}: the network's input is fixed at {width}x{height}; export it with dynamic axes")
        return width, height
    size = wanted or _stated(metadata) or (width or DEFAULT_SIDE, height or DEFAULT_SIDE)
    if any(fixed is not None and fixed != side for fixed, side in zip((width, height), size, strict=True)):
        raise UserError(
            f"{path}: the network's input is fixed at {width or 'any'}x{height or 'any'}, not {size[0]}x{size[1]}"
        )
    if not all(32 <= side <= LONGEST_SIDE and side % 32 == 0 for side in size):
        raise UserError(
            f"{path}: its input would be {size[0]}x{size[1]}; give --size, sides that are multiples of 32, "
            f"{LONGEST_SIDE} at the most"
        )
    return size


def _stated(metadata: dict[str, str]) -> tuple[int, int] | None:
    """Return width and height that the metadata has, None where it has none."""
    try:
        sides = ast.literal_eval(metadata.get("imgsz", "None"))
        return (int(sides[1]), int(sides[0])) if isinstance(sides, list | tuple) else (int(sides), int(sides))
    except (ValueError, SyntaxError, TypeError, IndexError, OverflowError):
        return None


def _shape(value: Any) -> tuple[Any, ...]:
    return tuple(d.dim_value or d.dim_param or "?" for d in value.type.tensor_type.shape.dim)


def _signature(
    proto: onnx.ModelProto, path: Path, metadata: dict[str, str], size: tuple[int, int], names: int | None
) -> Signature:
    """Return what the network takes and gives at an input size."""
    from engine.runtimes.openvino import output_shapes

    fixed = at_input_size(proto, *size)
    try:
        shapes = output_shapes(fixed.SerializeToString(), [value.name for value in fixed.graph.output])
    except (RuntimeError, ValueError) as error:  # the second of names that are no text
        # What OpenVINO says begins with lines about where in its source it was.
        lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("Exception from")]
        said = " ".join(lines[-1].split())[:200] if lines else first_line(error)
        raise UserError(f"{path}: the network cannot be read at {size[0]}x{size[1]}: {said}") from error
    return Signature(tuple(Tensor(name, shape) for name, shape in shapes.items()), metadata, *size, names)


def _candidates(signature: Signature, path: Path, name: str | None) -> list[tuple[Family, Layout]]:
    """Return the families that a signature may be of.

    :raises UserError: there is none.
    """
    if name is not None and name not in BY_NAME:
        raise UserError(f'there is no layout "{name}"; choose one of: {", ".join(BY_NAME)}')
    some = FAMILIES if name is None else (BY_NAME[name],)
    found = [(family, layout) for family in some if (layout := family.recognise(signature)) is not None]
    if found:
        return found
    outputs = ", ".join(f"{t.name} {tuple('?' if n is None else n for n in t.shape)}" for t in signature.outputs)
    known = "; ".join(f"{family.name}: {family.form}" for family in some)
    what = "of no known layout" if name is None else f"not of the layout {name}"
    raise UserError(f"{path}: this network is {what}: its outputs are {outputs}, and the layouts are {known}")


def _spec(given: str | InputSpec | None, family: Family) -> InputSpec:
    if isinstance(given, InputSpec):
        return given
    return with_words(family.spec, given or "")


def _tried(
    proto: onnx.ModelProto,
    signature: Signature,
    found: list[tuple[Family, Layout]],
    spec_of: Callable[[Family], InputSpec],
    path: Path,
) -> list[tuple[Family, Layout]]:
    """Return the layout that makes sense of a stored picture.

    :raises UserError: none does, or several do.
    """
    good = [pair for pair in found if _makes_sense(proto, signature, pair[1], spec_of(pair[0]))]
    if len(good) == 1:
        return good
    listed = ", ".join(family.name for family, _ in good or found)
    raise UserError(
        f"{path}: what its outputs mean cannot be told from their shapes, nor from a run on a stored picture; say "
        f"which with --layout (in a profile, layout:): {listed}"
    )


def _makes_sense(proto: onnx.ModelProto, signature: Signature, layout: Layout, spec: InputSpec) -> bool:
    """Tell whether the most confident boxes look like boxes, and scores like probabilities."""
    from engine.choice import PICTURE
    from engine.preprocess import Preprocessor
    from engine.runtimes.openvino import OpenVinoEngine

    width, height = signature.width, signature.height
    graph = canonical(proto, width, height, spec, layout.outputs)
    engine = OpenVinoEngine(graph.SerializeToString())
    Preprocessor(engine.input, engine.layout, spec.fit).run(read_image(PICTURE))
    with np.errstate(all="ignore"):
        boxes, scores = layout.table(engine.infer())
    if not len(boxes) or not np.isfinite(scores).all() or scores.min() < 0 or not SEEN < scores.max() < 1.001:
        return False
    return _are_boxes(boxes[np.argsort(-scores.max(axis=1))[:SENSIBLE]], width, height)


def _are_boxes(boxes: NDArray[np.float32], width: int, height: int) -> bool:
    """Tell whether most of some boxes have their middle in the picture, and are neither dots nor far larger than it."""
    if not np.isfinite(boxes).all():
        return False
    middle, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    size = np.array((width, height))
    inside = ((middle >= 0) & (middle <= size)).all(axis=1)
    sized = ((sides >= 2) & (sides <= 2 * size)).all(axis=1)
    return bool((inside & sized).mean() > 0.5)
