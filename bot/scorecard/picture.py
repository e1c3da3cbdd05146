"""The picture of the scorecard: when the alert came, beside the third independent post and the first media post.

The style is that of ``classifiers/evaluation/pictures.py``. The same figures give the same file. Needs the extra
``train``.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bot.scorecard.figures import Scored

_BLUE, _ORANGE = "#0072B2", "#D55E00"
_INK, _GREY, _PALE, _LINE = "#222222", "#666666", "#aaaaaa", "#e4e4e4"
_WIDTH, _ROW, _HEAD, _FOOT = 9.0, 0.235, 0.85, 0.55  # inches; at 150 dots an inch 1,350 px
_LEFT, _RIGHT = 0.335, 0.84  # of the width
_TICKS_S = {
    0: "0", 60: "1 min", 120: "2", 300: "5", 600: "10", 1_200: "20", 1_800: "30", 3_600: "1 h", 7_200: "2", 14_400: "4",
    25_200: "7 h",
}  # fmt: skip
_THIRD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Seconds since the first relevant post of the window; None: it never came."""

    happening: str
    category: str
    third_s: float
    alert_s: float | None
    media_s: float | None


def rows(scored: Iterable[Scored]) -> list[Row]:
    """Of each stream with three independent relevant posts; the soonest alert first, the undetected last."""
    found = [row for each in scored if (row := _row(each)) is not None]
    never = float("inf")
    return sorted(found, key=lambda row: (never if row.alert_s is None else row.alert_s, row.third_s, row.happening))


def draw(some: Sequence[Row], path: Path) -> None:
    """One line a happening, on a scale that is linear up to a minute and logarithmic from there."""
    high = _HEAD + _ROW * max(1, len(some)) + _FOOT
    figure = Figure(figsize=(_WIDTH, high))
    axes = figure.add_axes((_LEFT, _FOOT / high, _RIGHT - _LEFT, _ROW * max(1, len(some)) / high))
    for at, row in enumerate(some):
        _line(axes, at, row)
    _scale(axes, some)
    _legend(figure, axes, grey=any(row.alert_s is None for row in some))
    found = sum(row.alert_s is not None for row in some)
    title = f"When the alert came: {found} of {len(some)} happenings detected"
    figure.text(0.015, 1 - 0.32 / high, title, fontsize=12.5, color=_INK)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=150, facecolor="white", metadata={"Software": None})


def _row(scored: Scored) -> Row | None:
    event = json.loads(scored.stream.truth.read_text(encoding="utf-8"))["events"][0]
    independent = event["independent_at"]
    if len(independent) < _THIRD:
        return None
    first = _time(event["relevant_at"][0])

    def since(text: str | None) -> float | None:
        return None if text is None else (_time(text) - first).total_seconds()

    return Row(
        happening=_named(event["event"], first.year),
        category=event["event_type"].replace("_", " "),
        third_s=since(independent[_THIRD - 1]) or 0.0,
        alert_s=since(scored.card["raised_at"]) if scored.card["detected"] else None,
        media_s=since(event["first_media"] and event["first_media"]["created_at"]),
    )


def _named(event: str, year: int) -> str:
    """ "Los Angeles airport shooting" → "Los Angeles airport shooting, 2013"; without what stands in parentheses."""
    name = event.split(" (")[0].replace("_", " ").strip()
    return name if str(year) in name else f"{name}, {year}"


def _line(axes: Axes, at: int, row: Row) -> None:
    seen = row.alert_s is not None
    times = [0.0, row.third_s, *(time for time in (row.alert_s, row.media_s) if time is not None)]
    axes.plot([0.0, max(times)], [at, at], color=_LINE, linewidth=1.2, zorder=1, solid_capstyle="butt")
    if row.alert_s is not None and row.alert_s > row.third_s:
        axes.plot([row.third_s, row.alert_s], [at, at], color=_BLUE, linewidth=2.2, alpha=0.45, zorder=2)
    axes.plot([0.0], [at], "|", color=_GREY if seen else _PALE, markersize=8, markeredgewidth=1.2, zorder=3)
    axes.plot(
        [row.third_s], [at], "o", markerfacecolor="white", markeredgecolor=_GREY if seen else _PALE, markersize=7.5,
        markeredgewidth=1.3, zorder=4,
    )  # fmt: skip
    if row.media_s is not None:
        axes.plot([row.media_s], [at], "D", color=_ORANGE, alpha=1.0 if seen else 0.35, markersize=4.8, zorder=5)
    if row.alert_s is not None:
        axes.plot([row.alert_s], [at], "o", color=_BLUE, markersize=4.6, zorder=6)
    axes.annotate(
        row.happening, (0, at), xycoords=("axes fraction", "data"), xytext=(-8, 0), textcoords="offset points",
        ha="right", va="center_baseline", fontsize=8.5, color=_INK if seen else _PALE, annotation_clip=False,
    )  # fmt: skip
    axes.annotate(
        row.category, (1, at), xycoords=("axes fraction", "data"), xytext=(8, 0), textcoords="offset points",
        ha="left", va="center_baseline", fontsize=8, color=_GREY if seen else _PALE, annotation_clip=False,
    )  # fmt: skip


def _scale(axes: Axes, some: Sequence[Row]) -> None:
    times = [time for row in some for time in (row.third_s, row.alert_s, row.media_s) if time is not None]
    most = max([3_600.0, *times])
    axes.set_xscale("symlog", linthresh=60.0, linscale=0.6)
    axes.set_xlim(-4.0, most * 1.25)
    ticks = [time for time in _TICKS_S if time <= most * 1.25]
    axes.set_xticks(ticks, [_TICKS_S[time] for time in ticks])
    axes.minorticks_off()
    axes.set_ylim(max(1, len(some)) - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)
    axes.tick_params(length=0, labelsize=8.5, colors=_GREY)
    axes.grid(axis="x", color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("since the first relevant post of the stream", fontsize=9, color=_GREY)


def _legend(figure: Figure, axes: Axes, *, grey: bool) -> None:
    high = figure.get_figheight()
    handles = [
        *axes.plot([], [], "|", color=_GREY, markersize=8, markeredgewidth=1.2, label="first relevant post"),
        *axes.plot(
            [], [], "o", markerfacecolor="white", markeredgecolor=_GREY, markersize=7.5, markeredgewidth=1.3,
            label="third independent post",
        ),
        *axes.plot([], [], "o", color=_BLUE, markersize=4.6, label="Tocsin's alert"),
        *axes.plot([], [], "D", color=_ORANGE, markersize=4.8, label="first post that names a news organisation"),
        *(axes.plot([], [], linestyle="none", label="grey: not detected") if grey else []),
    ]  # fmt: skip
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0.005, 1 - 0.78 / high), bbox_transform=figure.transFigure,
        ncols=5, frameon=False, fontsize=8.5, labelcolor=_GREY, handletextpad=0.2, columnspacing=1.4, borderaxespad=0.3,
    )  # fmt: skip


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
