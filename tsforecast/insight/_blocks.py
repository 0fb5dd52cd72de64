"""What a report is made of: sections of sentences, facts, tables and pictures."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

__all__ = [
    "Block",
    "Facts",
    "Part",
    "Picture",
    "Section",
    "Sentences",
    "Table",
    "attempt",
    "noting",
    "picture",
]

_DPI = 120
_STYLE: Any = {
    "font.size": 10,
    "text.parse_math": True,  # by which an escaped dollar is one
    "text.usetex": False,
}


@dataclass(frozen=True)
class Sentences:
    """Sentences, each a paragraph, or an item of a list."""

    lines: tuple[str, ...]
    listed: bool = False
    kind: str = "sentences"


@dataclass(frozen=True)
class Facts:
    """Names and what they are, in words."""

    pairs: Mapping[str, str]
    kind: str = "facts"


@dataclass(frozen=True, eq=False)
class Table:
    """A frame; `note` says how to read it. A sortable one can be filtered, too."""

    frame: pd.DataFrame
    caption: str
    note: str = ""
    sortable: bool = False
    kind: str = "table"


@dataclass(frozen=True)
class Picture:
    """A PNG in base64; `alt` says what it shows to who cannot see it."""

    data: str
    alt: str
    caption: str
    width: int
    height: int
    kind: str = "picture"


Block = Sentences | Facts | Table | Picture


@dataclass(frozen=True, eq=False)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, eq=False)
class Part:
    """What a report says of one result.

    Attributes
    ----------
    title : str
        What it is, in a few words.
    subject : str
        The same in a sentence.
    verdicts : tuple of str
        What the evidence allows to say.
    sections : tuple of Section
    settings : dict of str to str
        What the run was started with.
    """

    title: str
    subject: str
    verdicts: tuple[str, ...]
    sections: tuple[Section, ...]
    settings: Mapping[str, str] = field(default_factory=dict)


def attempt(make: Callable[[], list[Block]]) -> list[Block]:
    """Make blocks, or a sentence on why there are none."""
    try:
        return make()
    except ValueError as error:  # data errors among them
        return [Sentences((f"Not judged: {error}",))]


@contextmanager
def noting(notes: list[str]) -> Iterator[None]:
    """Keep what our own functions warn of as notes, which the page then says."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    notes += dict.fromkeys(str(each.message) for each in caught)


def picture(
    draw: Callable[[Any], Any], *, alt: str, caption: str, size: tuple[float, float] = (8.0, 3.6)
) -> Picture | Sentences:
    """Draw on a figure of its own; a sentence where the data cannot be drawn.

    Parameters
    ----------
    draw : callable
        Gets the figure.
    alt, caption : str
        What it shows, and what it says.
    size : (float, float)
        Inches.

    Returns
    -------
    Picture or Sentences
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            "a report needs matplotlib: expected it to be installed, found it missing. Run pip "
            'install "tsforecast[report]".'
        ) from None
    buffer = io.BytesIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of glyphs that a font lacks
        figure = Figure(figsize=size, layout="constrained", dpi=_DPI, facecolor="white")
        try:
            draw(figure)
        except ValueError as error:  # data errors among them
            return Sentences((f"{caption} Not drawn: {error}",))
        figure.savefig(buffer, format="png", pil_kwargs={"optimize": True})
    width, height = (round(_DPI * side) for side in size)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(data, alt, caption, width, height)
