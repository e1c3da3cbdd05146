"""The centroids of many clusters in one matrix, to find the few that are worth a closer look."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bot.detection.clusters import Cluster
from bot.detection.members import Vector

_SIZE = 384
_FIRST = 256  # rows
_ALL_COMPARED = 4_096  # clusters; of more, those whose signs agree most
_SHORTLIST = 384
_SLACK = 0.0002  # more than a product's last digits and the rounding of ``cosines`` together

Rows = np.ndarray[Any, np.dtype[np.float32]]


def cosines(one: Vector, others: Sequence[Vector]) -> list[float]:
    """Summed in float64 in a fixed order, each row alone, and rounded, so that none depends on what else is in
    memory."""
    if not others:
        return []
    products = one.astype(np.float64) * np.stack(others)
    return [round(cosine, 4) for cosine in products.sum(axis=1).tolist()]


class Vectors:
    """A row for each cluster that has a centroid, in any order: what is found depends on the clusters alone, not on
    those that were there before. The last digit of a product depends on what else is in the matrix, so that products
    choose what is looked at and ``cosines`` decide. ``without``: the clusters that were placed and have no centroid,
    by number."""

    def __init__(self) -> None:
        self._matrix: Rows = np.zeros((_FIRST, _SIZE), dtype=np.float32)
        self._signs = np.zeros((_SIZE // 64, _FIRST), dtype=np.uint64)
        self._clusters: list[Cluster] = []  # of each row that is in use
        self._row_of: dict[int, int] = {}
        self.without: dict[int, Cluster] = {}

    def place(self, cluster: Cluster) -> None:
        """Take it in, or note that it has moved."""
        centroid = cluster.centroid
        if centroid is None:
            self.leave(cluster)
            self.without[cluster.number] = cluster
            return
        self.without.pop(cluster.number, None)
        row = self._row_of.get(cluster.number)
        if row is None:
            row = self._row_of[cluster.number] = len(self._clusters)
            self._clusters.append(cluster)
            if row == len(self._matrix):
                self._grow()
        self._matrix[row] = centroid
        self._signs[:, row] = _signs(centroid)

    def leave(self, cluster: Cluster) -> None:
        """The last row moves to where it was."""
        self.without.pop(cluster.number, None)
        row = self._row_of.pop(cluster.number, None)
        if row is None:
            return
        last = self._clusters.pop()
        end = len(self._clusters)
        if row < end:
            self._clusters[row], self._row_of[last.number] = last, row
            self._matrix[row], self._signs[:, row] = self._matrix[end], self._signs[:, end]

    def nearest(self, vector: Vector, count: int) -> list[Cluster]:
        """The ``count`` clusters of the highest cosine with it, of equal ones the oldest, in any order."""
        likely = self._likely(vector)
        about = (self._matrix[: len(self._clusters)] if likely is None else self._matrix[likely]) @ vector
        least = np.partition(about, -count)[-count] if len(about) > count else -np.inf
        first = np.flatnonzero(about >= least - _SLACK)
        rows = first if likely is None else likely[first]
        found = self._held(rows)
        if len(found) <= count:
            return found
        exact = zip(cosines(vector, list(self._matrix[rows])), found, strict=True)
        return [cluster for _, cluster in sorted(exact, key=lambda each: (-each[0], each[1].number))[:count]]

    def at_least(self, vector: Vector, cosine: float) -> list[Cluster]:
        """All clusters whose cosine is this or more, and hardly any other."""
        about = self._matrix[: len(self._clusters)] @ vector
        return self._held(np.flatnonzero(about >= cosine - _SLACK))

    def _held(self, rows: Any) -> list[Cluster]:
        return [self._clusters[row] for row in rows.tolist()]

    def _likely(self, vector: Vector) -> Any:
        """The rows to compare with it where comparing with all would take too long, else None: those whose signs agree
        most, and all that agree as much as the last of them. Hardly any of a high cosine is missing among them
        (Charikar 2002, "Similarity estimation techniques from rounding algorithms")."""
        live = len(self._clusters)
        if live <= _ALL_COMPARED:
            return None
        counts = np.bitwise_count(self._signs[:, :live] ^ _signs(vector)[:, None])
        half = len(counts) // 2  # so many counts of 64 fit into a byte
        differing = counts[:half].sum(axis=0, dtype=np.uint8).astype(np.uint16)
        differing += counts[half:].sum(axis=0, dtype=np.uint8)
        most = int(np.searchsorted(np.bincount(differing).cumsum(), _SHORTLIST))
        return np.flatnonzero(differing <= most)

    def _grow(self) -> None:
        self._matrix = np.concatenate([self._matrix, np.zeros_like(self._matrix)])
        self._signs = np.concatenate([self._signs, np.zeros_like(self._signs)], axis=1)


def _signs(vector: Vector) -> Any:
    return np.packbits(vector > 0).view(np.uint64)
