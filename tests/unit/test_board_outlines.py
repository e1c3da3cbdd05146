"""The outlines that the board's maps are drawn from: made from a TopoJSON file, shipped as a module of the page."""

import json
from pathlib import Path

from bot.web import board, outlining

# Two squares of ten degrees that share the middle border, which has a dent of a hundredth of a degree.
TOPOLOGY = {
    "transform": {"scale": [0.01, 0.01], "translate": [0, 0]},
    "arcs": [
        [[1000, 0], [0, 500], [1, 10], [-1, 490]],
        [[1000, 1000], [-1000, 0], [0, -1000], [1000, 0]],
        [[1000, 1000], [1000, 0], [0, -1000], [-1000, 0]],
    ],
    "objects": {
        "countries": {
            "geometries": [
                {"type": "Polygon", "arcs": [[0, 1]], "properties": {"name": "Westmark"}},
                {"type": "MultiPolygon", "arcs": [[[0, 2]]], "properties": {"name": "Ostmark"}},
                {"type": None, "properties": {"name": "Nowhere"}},
            ]
        }
    },
}


def test_neighbours_share_their_border_and_small_dents_go():
    arcs, countries = outlining.outlines(TOPOLOGY)
    assert arcs[0] == [1000, 0, 0, 1000]
    assert arcs[1] == [1000, 1000, -1000, 0, 0, -1000, 1000, 0]
    assert countries == [("Westmark", [[0, 1]]), ("Ostmark", [[0, 2]])]


def test_a_small_island_keeps_an_area():
    ring = [[5, 5], [1, 0], [0, 1], [-1, 0], [0, -1]]
    arcs, _ = outlining.outlines(TOPOLOGY | {"arcs": [ring]})
    assert len(arcs[0]) == 8


def test_what_is_shipped_has_every_continent_and_the_large_cities_first():
    text = (Path(board.__file__).parent / "static" / "outlines.js").read_text()
    parts = [
        json.loads(line.partition(" = ")[2].rstrip(";")) for line in text.splitlines() if line.startswith("export")
    ]
    arcs, countries, cities = parts
    assert {"Kenya", "Japan", "France", "Brazil", "Australia", "Canada", "Antarctica"} <= {
        name for name, _ in countries
    }
    assert all(0 <= (arc if arc >= 0 else ~arc) < len(arcs) for _, rings in countries for ring in rings for arc in ring)
    assert [people for *_, people in cities] == sorted((people for *_, people in cities), reverse=True)
