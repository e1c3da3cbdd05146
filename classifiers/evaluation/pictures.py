"""The pictures of the model card: confusion matrix, precision–recall curves, reliability. PNG, 900 px wide.

One restrained style: one blue, one orange, greys, no frame where none is needed. Blue and orange (Okabe & Ito 2008) can
be told apart with any colour vision. The same figures give the same file. Needs the extra `train`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from classifiers.calibration import Booleans, Floats
from classifiers.evaluation import scoring

_BLUE, _ORANGE = "#0072B2", "#D55E00"
_INK, _GREY, _LINE = "#222222", "#666666", "#dddddd"
_SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#9ecae1", "#08519c"])
_WIDTH = 9.0  # inches; at 100 dots an inch the 900 px that a card shows


def confusion(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str], path: Path) -> None:
    """Of each gold label (row) the percentage given each label (column); the number of rows beside the name.

    `labels` in the order wanted; gold rows of other labels are left out. A label without a gold row has no row.
    """
    rows = [label for label in labels if label in set(gold)]
    counts = np.zeros((len(rows), len(labels)))
    for said, right in zip(predicted, gold, strict=True):
        if right in rows and said in labels:
            counts[rows.index(right), labels.index(said)] += 1
    totals = np.array([sum(label == right for right in gold) for label in rows])
    shares = counts / totals[:, None]

    figure = Figure(figsize=(_WIDTH, 1.7 + 0.33 * len(rows)))
    axes = figure.add_axes((0.235, 0.35 / figure.get_figheight(), 0.745, 1 - 1.6 / figure.get_figheight()))
    axes.imshow(shares, cmap=_SHADES, vmin=0.0, vmax=1.0, aspect="auto")
    for row, column in zip(*np.nonzero(shares >= 0.005), strict=True):
        colour = "white" if shares[row, column] > 0.72 else _INK
        axes.text(column, row, f"{100 * shares[row, column]:.0f}", ha="center", va="center", fontsize=8, color=colour)
    names = [_readable(label) for label in labels]
    axes.set_xticks(range(len(labels)), names, rotation=50, ha="left", rotation_mode="anchor", fontsize=8.5)
    axes.set_yticks(
        range(len(rows)), [f"{_readable(name)}  ({n:,})" for name, n in zip(rows, totals, strict=True)], fontsize=8.5
    )
    axes.xaxis.tick_top()
    axes.set_xticks(np.arange(len(labels) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=_LINE, linewidth=0.6)
    axes.tick_params(which="both", length=0, colors=_INK)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("rows: gold label (how many); columns: the label given, % of the row", fontsize=9, color=_GREY)
    _save(figure, path)


def precision_recall(
    gold: Sequence[str],
    p: Floats,
    categories: Sequence[str],
    path: Path,
) -> None:
    """One small panel a category, against the rest; a grey line at chance."""
    ap = scoring.average_precision(gold, p, categories)
    wide = min(4, len(categories))
    high = -(-len(categories) // wide)
    figure = Figure(figsize=(_WIDTH, 0.45 + 2.15 * high), layout="constrained")
    grid = figure.subplots(high, wide, squeeze=False, sharex=True, sharey=True)
    for number, axes in enumerate(grid.flat):
        if number >= len(categories):
            axes.set_visible(False)
            continue
        category = categories[number]
        found = scoring.category_cuts(gold, p, category)
        axes.axhline(found.n / max(1, len(gold)), color=_LINE, linewidth=1)
        axes.step([0.0, *found.recall], [1.0, *found.precision], where="pre", color=_BLUE, linewidth=1.4)
        axes.set_title(f"{_readable(category)}   AP {ap[category]:.2f}", fontsize=9, color=_INK, loc="left")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        axes.tick_params(labelbottom=number + wide >= len(categories))
        _plain(axes)
    figure.supxlabel("recall", fontsize=9, color=_GREY)
    figure.supylabel("precision", fontsize=9, color=_GREY)
    _save(figure, path)


def reliability(p_top: Floats, right: Booleans, weights: Floats, path: Path, *, bins: int = 15) -> None:
    """How often the top category is right at each p (bins of equal mass), above how often each p is given."""
    points = scoring.reliability(p_top, right, weights, bins)
    error = scoring.ece(p_top, right, weights, bins)
    figure = Figure(figsize=(_WIDTH, 6.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1.0])
    above.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle=(0, (4, 4)))
    x, y = [point.p for point in points], [point.rate for point in points]
    above.vlines(x, x, y, color=_ORANGE, linewidth=1.6, alpha=0.7)
    above.plot(x, y, "o-", color=_BLUE, linewidth=1.4, markersize=5)
    above.set(xlim=(-0.01, 1.01), ylim=(-0.02, 1.02))
    above.set_ylabel("share of rows that are right", fontsize=9, color=_GREY)
    above.text(
        0.02, 0.95, f"expected calibration error {error:.3f}", transform=above.transAxes, fontsize=11, color=_INK
    )
    above.text(
        0.02, 0.90, f"{len(points)} bins of equal mass; dashed: p means what it says", transform=above.transAxes,
        fontsize=9, color=_GREY,
    )  # fmt: skip
    share = 100 * weights / weights.sum()
    below.hist(p_top, bins=np.linspace(0, 1, 41).tolist(), weights=share, color=_BLUE, alpha=0.75, rwidth=0.9)
    below.set_ylabel("% of the weight", fontsize=9, color=_GREY)
    below.set_xlabel("p of the top category", fontsize=9, color=_GREY)
    _plain(above)
    _plain(below)
    _save(figure, path)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_LINE)
    axes.tick_params(length=0, labelsize=8.5, colors=_GREY)
    axes.grid(color=_LINE, linewidth=0.5, alpha=0.7)
    axes.set_axisbelow(True)


def _readable(label: str) -> str:
    return label.replace("_", " ")


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(w_pad=0.08, h_pad=0.08)
    figure.savefig(path, dpi=100, facecolor="white", metadata={"Software": None})
