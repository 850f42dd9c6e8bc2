"""Pictures of numbers: one look, readable on a phone and on a dark page, with the same bytes for the same numbers."""

import io
import textwrap
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

BLUE, ORANGE, GREY = "#1f5fa8", "#c8500a", "#767068"
"""Told apart without colour vision, too, and dark enough for text on white."""

_WIDTH_INCHES, _DPI = 5.0, 160
"""800 pixels. On a phone's 320 pixels, text of 12 points is still 11 pixels tall."""
_TITLE_CHARACTERS = 40
_STYLE: dict[Any, Any] = {
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.labelsize": 12,
    "legend.fontsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure to draw on."""

    figure: Any
    axes: Any

    def png(self) -> bytes:
        """The picture as a PNG on white, which stays readable on a dark page."""
        content = io.BytesIO()
        # Without a version and a time in the metadata, the same numbers always produce the same file.
        self.figure.savefig(content, format="png", facecolor="white", metadata={"Software": None})
        return content.getvalue()


@contextmanager
def new_picture(height_inches: float, title: str = "") -> Generator[Picture]:
    """An empty picture, 5 inches wide. Draw inside the `with` block, where the text sizes hold."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_INCHES, height_inches), dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.set_title(textwrap.fill(title, _TITLE_CHARACTERS), loc="left")
        yield Picture(figure, axes)
