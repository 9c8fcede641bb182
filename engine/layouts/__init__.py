"""The layouts of detectors' outputs that are known: one file a family, listed here."""

from __future__ import annotations

from engine.layouts import detr, end_to_end, yolov5, yolov8, yolox
from engine.layouts.layout import Family

FAMILIES: tuple[Family, ...] = (
    yolov8.FAMILY,
    end_to_end.FAMILY,
    yolov5.FAMILY,
    yolox.RAW,
    yolox.DECODED,
    detr.DEPLOYED,
    detr.RAW,
    detr.RF,
    detr.RANKED,
    detr.QUERIES,
)
BY_NAME = {family.name: family for family in FAMILIES}
