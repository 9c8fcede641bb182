"""Selection `highest`: the target that is about to leave at the top."""

from pydantic import Field

from reticle import Context, Detections, Frame, PluginSettings, SelectionFactory, Target, hookimpl


class Settings(PluginSettings):
    """What a profile can set."""

    margin_px: float = Field(10.0, ge=0, description="Boxes that reach nearer to the top edge than this are let go.")


class Highest:
    """Aims at the middle of the highest box."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._margin_px = settings.margin_px
        self._crosshair = context.crosshair

    def select(self, detections: Detections, frame: Frame) -> Target | None:
        """Return the highest box below the margin."""
        rows = [i for i, top in enumerate(detections.xyxy[:, 1].tolist()) if top >= self._margin_px]
        if not rows:
            return None
        best = min(rows, key=lambda i: float(detections.xyxy[i, 1]))
        left, top, right, bottom = detections.xyxy[best].tolist()
        x, y = (left + right) / 2, (top + bottom) / 2
        return Target(
            (left, top, right, bottom),
            int(detections.class_id[best]),
            float(detections.confidence[best]),
            x,
            y,
            x - self._crosshair[0] * frame.width,
            y - self._crosshair[1] * frame.height,
            detections.at_ns,
        )


@hookimpl
def reticle_selection() -> SelectionFactory:
    """Offer `highest`."""
    return SelectionFactory("highest", Highest, Settings, "the target that is highest in the picture")
