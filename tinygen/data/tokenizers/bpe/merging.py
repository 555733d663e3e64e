"""Applying merges to one piece (Sennrich et al. 2016, arXiv:1508.07909, algorithm 1, backwards).

`merges` gives, for a pair of neighbouring ids, (rank, id of both together). The pair of the lowest
rank is merged first, the leftmost of equals, until no pair of neighbours has a rank.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

Pair = tuple[int, int]
Merges = Mapping[Pair, tuple[int, int]]

NEVER = 1 << 62
"""The rank of a pair that is not merged."""

SHORT = 64
"""Ids up to which looking at all pairs again after each merge is faster than a heap."""


def merged(ids: list[int], merges: Merges) -> list[int]:
    """The ids of one piece after all of its merges. `ids` may be changed."""
    return _by_looking(ids, merges) if len(ids) <= SHORT else _by_heap(ids, merges)


def _by_looking(ids: list[int], merges: Merges) -> list[int]:
    """O(n^2), with the small constant of a list's own search: most pieces are words."""
    ranks = [_rank(ids, i, merges) for i in range(len(ids) - 1)]
    while ranks:
        best = min(ranks)
        if best == NEVER:
            break
        i = ranks.index(best)
        ids[i] = merges[ids[i], ids[i + 1]][1]
        del ids[i + 1], ranks[i]
        if i:
            ranks[i - 1] = _rank(ids, i - 1, merges)
        if i < len(ranks):
            ranks[i] = _rank(ids, i, merges)
    return ids


def _rank(ids: list[int], i: int, merges: Merges) -> int:
    merge = merges.get((ids[i], ids[i + 1]))
    return NEVER if merge is None else merge[0]


def _by_heap(ids: list[int], merges: Merges) -> list[int]:
    """O(n log n): the ids are a linked list, and a heap holds the pairs that have a rank. What a
    merge has made stale is recognised when it comes up."""
    n = len(ids)
    before, after = list(range(-1, n - 1)), list(range(1, n + 1))
    alive = [True] * n
    heap: list[tuple[int, int, int, int]] = []  # rank, place, and the pair that stood there

    def offer(i: int) -> None:
        j = after[i]
        if j < n:
            merge = merges.get((ids[i], ids[j]))
            if merge is not None:
                heapq.heappush(heap, (merge[0], i, ids[i], ids[j]))

    for i in range(n - 1):
        offer(i)
    while heap:
        _, i, left, right = heapq.heappop(heap)
        j = after[i]
        if not alive[i] or j >= n or (ids[i], ids[j]) != (left, right):
            continue
        ids[i] = merges[left, right][1]
        alive[j] = False
        after[i] = after[j]
        if after[i] < n:
            before[after[i]] = i
        if before[i] >= 0:
            offer(before[i])
        offer(i)
    return [token for token, living in zip(ids, alive, strict=True) if living]
