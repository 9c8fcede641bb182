"""Calibration: what range each activation has on real pictures, in one pass and constant memory.

Each tensor that a convolution reads is given out by the float network, and counted in a histogram; thresholds are
chosen from the histograms afterwards, by any method, without looking at the pictures again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from conversion.histogram import Histogram
from conversion.pictures import UNFIT_SHARE, Pictures, unfit
from conversion.quantization import (
    SCHEMES,
    Range,
    Scheme,
    TensorGroup,
    tensor_groups,
)
from conversion.thresholds import METHODS, Method, choose
from core.errors import UserError
from core.geometry import Fit
from core.progress import Progress, silent
from engine.onnx_graph import IMAGE
from engine.preprocess import Preprocessor
from engine.runtimes.openvino import OpenVinoEngine

WHOLE_IMAGE = Range(0.0, 1.0)
"""The image's range is known: uint8 codes from 0 to 1 are the very pixels."""


@dataclass
class Calibration:
    """What was counted, and in what."""

    groups: list[TensorGroup]
    histograms: dict[str, Histogram]
    pictures: int = 0
    left_out: list[str] = field(default_factory=list)
    digest: str = ""
    """Of the pictures' pixels."""

    def ranges(self, method: Method, scheme: Scheme) -> dict[str, Range]:
        """Return every group's range by a method."""
        chosen = {}
        for group in self.groups:
            merged = Histogram.sum([self.histograms[tensor] for tensor in group.observed if tensor != IMAGE])
            chosen[group.name] = WHOLE_IMAGE if IMAGE in group.tensors else choose(merged, method, scheme)
        return chosen

    def to_json(self, made_from: Mapping[str, Any]) -> str:
        """Return every threshold and what they were made from, as calibration.json keeps them."""
        rows: dict[str, Any] = {
            group.name: {"tensors": group.tensors, "observed": group.observed} for group in self.groups
        }
        for scheme in SCHEMES:
            for method in METHODS:
                for name, span in self.ranges(method, scheme).items():
                    rows[name].setdefault(scheme, {})[method] = [span.low, span.high]
        made = {**made_from, "pictures": self.pictures, "left_out": self.left_out, "pictures_sha256": self.digest}
        return json.dumps({"made_from": made, "groups": rows}, indent=1) + "\n"


def calibrate(
    model: onnx.ModelProto, pictures: Pictures, fit: Fit, progress: Progress = silent, allow_unfit: bool = False
) -> Calibration:
    """Run the float network on pictures and count its activations.

    :param allow_unfit: take pictures that show nothing, or noise, all the same: to see what that does.
    :raises UserError: a picture cannot be read, or too many of them are unfit.
    """
    found = tensor_groups(model)
    observed = [tensor for group in found for tensor in group.observed if tensor != IMAGE]
    result = Calibration(found, {tensor: Histogram() for tensor in observed})
    digest = hashlib.sha256()
    for pixels, values in activations(model, observed, _fit(pictures, result, allow_unfit), fit):
        digest.update(pixels.tobytes())
        for tensor, value in values.items():
            result.histograms[tensor].add(value)
        result.pictures += 1
        progress("calibration", result.pictures + len(result.left_out), len(pictures))
    result.digest = digest.hexdigest()
    return result


def _fit(pictures: Pictures, result: Calibration, allow_unfit: bool) -> Iterator[NDArray[np.uint8]]:
    """Yield the pictures that calibration can use; give up when too many cannot."""
    for name, picture in pictures.each():
        reason = "" if allow_unfit else unfit(picture)
        if not reason:
            yield picture
            continue
        result.left_out.append(name)
        if len(result.left_out) > UNFIT_SHARE * len(pictures):
            raise UserError(
                f"{pictures.source}: {name} {reason}, as do {len(result.left_out) - 1} before it: thresholds made on "
                "such pictures cost accuracy; give pictures of the kind that the agent will see"
            )


def activations(
    model: onnx.ModelProto, tensors: list[str], pictures: Iterator[NDArray[np.uint8]], fit: Fit
) -> Iterator[tuple[NDArray[np.uint8], dict[str, NDArray[np.float32]]]]:
    """Yield each picture and what the float network's tensors are for it, (channels, height, width)."""
    given = [tensor for tensor in tensors if tensor != IMAGE]
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    if given:  # else its own outputs, which nobody looks at
        del tapped.graph.output[:]
    tapped.graph.output.extend(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None) for tensor in given)
    engine = OpenVinoEngine(tapped.SerializeToString())
    preprocessor = Preprocessor(engine.input, engine.layout, fit)
    for picture in pictures:
        preprocessor.run(picture)
        outputs = engine.infer()
        values = {t: output.transpose(2, 0, 1) for t, output in zip(given, outputs, strict=False)}
        if IMAGE in tensors:
            values[IMAGE] = engine.input[0]
        yield picture, values


def source_of(pictures: Pictures) -> dict[str, Any]:
    """Return where pictures came from, for calibration.json; a folder's or video's name alone, since paths differ."""
    return {"source": Path(pictures.source).name, "kind": "video" if pictures.frames else "folder"}
