"""Find what is in a picture, and time it."""

import time
from pathlib import Path

import reticle

PICTURE = Path(__file__).with_name("doom.jpg")

detector = reticle.Detector("doom-yolov4-tiny")
found = detector(PICTURE)
print(f"{len(found)} in {PICTURE.name}, by {detector.describe()['engine']} at {detector.describe()['precision']}")
for row in found.to_dict()["detections"]:
    print(f"  {row['class']} {row['score']:.2f} at {[round(x) for x in row['box']]}")

start = time.perf_counter()
for _ in range(20):
    detector(PICTURE)
print(f"{(time.perf_counter() - start) / 20 * 1e3:.1f} ms a picture, reading the file included")
