"""Observer `summary-line`: at the end, says how the run's actions went."""

import logging

from reticle import Context, FrameEvent, NoSettings, ObserverFactory, hookimpl


class SummaryLine:
    """Counts on the observers' thread; the loop does not wait for it."""

    def __init__(self, settings: NoSettings, context: Context) -> None:
        self._frames = self._sent = self._vetoed = 0

    def observe(self, event: FrameEvent) -> None:
        """Count one frame."""
        self._frames += 1
        self._sent += event.sent
        self._vetoed += event.veto is not None

    def close(self) -> None:
        """Say it."""
        logging.getLogger("reticle").info(
            "%d frames, %d actions sent, %d vetoed", self._frames, self._sent, self._vetoed
        )


@hookimpl
def reticle_observer() -> ObserverFactory:
    """Offer `summary-line`."""
    return ObserverFactory("summary-line", SummaryLine, NoSettings, "a line at the end")
