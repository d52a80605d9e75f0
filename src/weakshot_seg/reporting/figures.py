"""Charts of a report with matplotlib: lines over steps, horizontal bars and confusion matrices, as SVG."""

import base64
import inspect
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from weakshot_seg.reporting.curves import Line

COLOURS = [to_hex(colour) for colour in matplotlib.color_sequences["tab10"]]
BASE, NOVEL, INK = to_hex(matplotlib.color_sequences["Paired"][0]), COLOURS[6], "#222630"
STYLE: dict[Any, Any] = {
    "axes.edgecolor": "#b5bac4",
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "font.size": 9.5,
    "grid.color": "#e6e8ec",
    "svg.fonttype": "none",  # text stays text: it is small, and the browser has letters for any language
    "svg.hashsalt": "weakshot",  # the same picture every time
    "text.parse_math": False,  # a $ in a name is a $
}
P = ParamSpec("P")


class Picture(NamedTuple):
    """A picture within a page: its data URI and what it shows."""

    source: str
    title: str


class Bar(NamedTuple):
    """A horizontal bar of length ``value`` 0..100 (None: no bar) between ``label`` and ``text``.

    ``deviation`` is half the length of a whisker at its end, ``mark`` the position of a line across. Base and novel
    classes differ in colour.
    """

    label: str
    value: float | None
    novel: bool
    text: str
    deviation: float | None = None
    mark: float | None = None


def jpeg(image: Image.Image, title: str) -> Picture:
    """A photo."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=88)
    return Picture(_data_uri("image/jpeg", file.getvalue()), title)


def chart(draw: Callable[P, Figure]) -> Callable[P, Picture]:
    """Decorator: a function that draws a figure with a title gives it as SVG."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Picture:
        file = io.BytesIO()
        with _style():
            figure = draw(*args, **kwargs)
            figure.savefig(file, format="svg", facecolor="none", metadata={"Date": None})
        return Picture(_data_uri("image/svg+xml", file.getvalue()), str(figure.get_label()))

    return drawn


def rastered(chart: Callable[P, Picture], *args: P.args, **kwargs: P.kwargs) -> NDArray[np.uint8]:
    """One of the charts below as pixels, RGB uint8 ``[h, w, 3]``."""
    with _style():
        canvas = FigureCanvasAgg(inspect.unwrap(chart)(*args, **kwargs))
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


@chart
def line_chart(title: str, lines: Sequence[tuple[Line, str]]) -> Figure:
    """Lines over steps, each with its colour; logarithmic if all are positive and span more than a factor of 50."""
    figure, axes = _figure(title, 5, 3)
    axes.set_title(clean(title))
    for line, colour in lines:
        marker = "o" if len(line.steps) <= 12 else ""
        axes.plot(line.steps, line.mean, color=colour, linewidth=1.4, marker=marker, markersize=3)
        if (line.high > line.low).any():
            axes.fill_between(line.steps, line.low, line.high, color=colour, alpha=0.15, linewidth=0)
    values = [value for line, _ in lines for part in (line.low, line.high) for value in part.tolist()]
    if values and min(values) > 0 and max(values) > 50 * min(values):
        axes.set_yscale("log")
    elif not any(values):
        axes.set_ylim(0, 1)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    return figure


@chart
def bar_chart(title: str, bars: Sequence[Bar], width: float = 7.5) -> Figure:
    """Horizontal bars from 0 to 100, one below the other; their values are in the title too, for those who hear it."""
    values = ", ".join(f"{bar.label} {bar.text}".strip() for bar in bars)
    figure, axes = _figure(f"{title}: {values}", width, 0.35 + 0.26 * len(bars))
    axes.grid(axis="y", visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    rows = np.arange(len(bars))
    lengths, deviations = np.array([(bar.value or 0, bar.deviation or 0) for bar in bars], dtype=float).T
    marks = np.array([np.nan if bar.mark is None else bar.mark for bar in bars])
    axes.barh(rows, lengths, height=0.68, color=[NOVEL if bar.novel else BASE for bar in bars])
    spread = deviations > 0
    axes.hlines(rows[spread], (lengths - deviations)[spread], (lengths + deviations)[spread], color=INK, linewidth=1)
    axes.vlines(marks, rows - 0.42, rows + 0.42, color=INK, linewidth=1.8)
    ends = np.fmin(np.fmax(lengths + deviations, marks), 100) + 1.2
    for row, (bar, end) in enumerate(zip(bars, ends, strict=True)):
        axes.text(end, row, clean(bar.text), va="center", color="#6b7280")
    axes.set(xlim=(0, 112), ylim=(len(bars) - 0.45, -0.55), xticks=range(0, 101, 25))
    axes.set_yticks(rows, [clean(bar.label, 48) for bar in bars])
    axes.xaxis.tick_top()
    return figure


@chart
def confusion_chart(title: str, counts: NDArray[np.int64], names: Sequence[str], novel: frozenset[str]) -> Figure:
    """Pixels of each true class (row) by predicted class (column), in percent of the row; novel classes are starred.

    Rows without ground truth are grey. ``counts`` is int ``[K, K]``, ``names`` are its ``K`` classes.
    """
    size = min(2.5 + 0.22 * len(names), 16)
    figure, axes = _figure(title, size + 0.6, size)
    axes.grid(visible=False)
    axes.set_facecolor("#e6e8ec")
    with np.errstate(invalid="ignore"):
        shares = 100 * counts / counts.sum(1, keepdims=True)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="none")
    figure.colorbar(image, label="% of the true class", shrink=0.6)
    labels = [clean(f"{name} ★" if name in novel else name, 24) for name in names]
    size = min(8.5, 640 / len(names))
    axes.set_xticks(range(len(names)), labels, rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), labels, fontsize=size)
    for label, name in zip(axes.get_xticklabels() + axes.get_yticklabels(), [*names, *names], strict=True):
        label.set_color(NOVEL if name in novel else INK)
    axes.set(xlabel="predicted", ylabel="true")
    axes.tick_params(length=0)
    return figure


def clean(text: str, longest: int = 200) -> str:
    """A text as an SVG picture can hold it: shortened, without control characters and what is no Unicode."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of letters that matplotlib's font lacks
        yield


def _figure(title: str, width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure((width, height), layout="constrained", label=title)
    axes = figure.subplots()
    axes.set_axisbelow(True)
    return figure, axes


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
