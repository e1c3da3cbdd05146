"""The scorecard as Markdown."""

from typing import Any

from bot.scorecard.figures import Scored

_BARS = (
    ("streams", "replays", ""),
    ("detected", "replays detected", "≥ 90 %"),
    ("possible", "replays with three independent relevant posts in the window", ""),
    ("detected_of_possible", "… of these detected", ""),
    ("independent_before_alert", "independent relevant posts up to the alert, median", "≤ 3"),
    ("after_third_independent_s", "seconds after the third, median", "≤ 5"),
    ("false_urgent", "false alerts at urgent or above", "0"),
    ("false_per_50k", "false alerts per 50,000 background posts", "≤ 1"),
    ("ahead_of_media", "before the first media post, where five posts precede it", "≥ 80 %"),
    ("duplicates", "duplicate first alerts", "≤ 1"),
    ("category", "category right", "≥ 90 %"),
    ("country", "country right, where a place is named", "≥ 90 %"),
    ("place_error_km", "place error, median km", "≤ 50"),
    ("background", "background posts", ""),
)
PICTURE = "scorecard.png"
_SHARES = frozenset({"detected", "detected_of_possible", "ahead_of_media", "category", "country"})


def row(scored: Scored) -> dict[str, Any]:
    """One stream's figures, without its posts."""
    card = scored.card
    names = (
        "detected", "independent_before_alert", "after_third_independent_s", "before_first_media_s", "category",
        "category_correct", "place_error_km", "country_correct", "level_max", "duplicates", "headline",
    )  # fmt: skip
    return {"stream": scored.stream.name, "may_lead": scored.may_lead} | {name: card[name] for name in names}


def markdown(result: dict[str, Any]) -> str:
    """Everything, with the picture."""
    return f"{tables(result)}\n![When the alerts came]({PICTURE})\n\n{sections(result)}"


def tables(result: dict[str, Any]) -> str:
    """The bars over all streams, and a row for each stream."""
    together = result["together"]
    ablation = {"everything": together["Tocsin"]} | {
        f"without {name}": part for name, part in result["without"].items()
    }
    lines = [
        "Models and learned sum never saw what they are scored on; the screen and what was set by hand did.\n",
        *_table(together),
        "What the parts of detection bring:\n",
        *_table(ablation),
        "| stream | independent posts | s after the third | before media, s | category | km | country | duplicates |",
        "| --- | --: | --: | --: | --- | --: | --- | --: |",
        *(_line(each) for each in result["streams"]),
        "",
    ]
    return "\n".join(lines)


def sections(result: dict[str, Any]) -> str:
    """What stands beside the streams: clusterings, the unlabelled stream, speed."""
    parts = (*_clusterings(result["clusterings"]), *_unlabelled(result["unlabelled"]), _speed(result["speed"]), "")
    return "\n".join(parts)


def _clusterings(found: dict[str, Any]) -> list[str]:
    """A row for each set, and the mean over those of the fold groups; adjusted mutual information and Rand index."""
    methods = list(found["mean"])
    mean = [f"{found['mean'][method][score]:.3f}" for method in methods for score in ("ami", "ari")]
    return [
        "Posts told apart by happening (AMI, ARI: 0 for chance, 1 for the truth); every relevant post counts:\n",
        "| set | posts | happenings | " + " | ".join(f"{method}: AMI | ARI" for method in methods) + " |",
        "| --- |" + " --: |" * (2 + len(mean)),
        *(
            f"| {each['set']} | {each['posts']} | {each['happenings']} | "
            + " | ".join(f"{each['scores'][method][score]:.3f}" for method in methods for score in ("ami", "ari"))
            + " |"
            for each in found["sets"]
        ),
        "| groups, mean weighted with posts | | | " + " | ".join(mean) + " |",
        "",
    ]


def _unlabelled(found: dict[str, Any]) -> list[str]:
    lines = [f"{found['stream']} (not labelled): {found['alerts']} alerts over {found['posts']:,} posts, "]
    lines[0] += f"{found['per_10k']:.4g} in 10,000.\n" if found["per_10k"] is not None else "none.\n"
    if found["listed"]:
        lines += ["| level | category | headline | posts |", "| --- | --- | --- | --: |"]
        lines += [
            f"| {each['level']} | {each['category']} | {each['headline'].replace('|', '/')} | {each['posts']} |"
            for each in found["listed"]
        ]
        lines.append("")
    return lines


def _speed(found: dict[str, Any]) -> str:
    return (
        f"Speed: {found['per_second']:,.0f} posts a second through screen, transformer and detection in one process "
        f"({found['posts']:,} posts at {found['rate']} a second, {found['classified']:,} of them past the screen, "
        f"in {found['seconds']:.0f} s)."
    )


def _table(columns: dict[str, dict[str, Any]]) -> list[str]:
    return [
        "| | " + " | ".join(columns) + " | bar |",
        "| --- |" + " --: |" * (len(columns) + 1),
        *(
            f"| {said} | " + " | ".join(_cell(name, part[name]) for part in columns.values()) + f" | {bar} |"
            for name, said, bar in _BARS
        ),
        "",
    ]


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0%}" if name in _SHARES else f"{value:.4g}"


def _line(each: dict[str, Any]) -> str:
    if not each["detected"]:
        return f"| {each['stream']} | not detected | | | | | | |"
    right = {True: "right", False: "wrong", None: "–"}
    values = (
        each["stream"],
        each["independent_before_alert"],
        *(
            "–" if each[name] is None else f"{each[name]:.0f}"
            for name in ("after_third_independent_s", "before_first_media_s")
        ),
        f"{each['category']} ({right[each['category_correct']]})",
        "–" if each["place_error_km"] is None else f"{each['place_error_km']:.0f}",
        right[each["country_correct"]],
        each["duplicates"],
    )
    return "| " + " | ".join(str(value) for value in values) + " |"
