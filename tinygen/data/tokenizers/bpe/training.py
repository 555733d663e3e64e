"""Learning merges (Sennrich et al. 2016, arXiv:1508.07909, algorithm 1): the most frequent pair of
neighbours within pieces becomes a token, again and again.

Of equally frequent pairs the one of the lowest ids is taken, as the `tokenizers` package does, so
that training is a function of the text. Every piece that occurs is looked at once, with its count;
which pieces hold a pair is kept, so that a merge looks at those alone; and a heap has the counts,
in which what is out of date is put right when it comes up.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

from tinygen.data.tokenizers.bpe.alphabet import BYTES
from tinygen.data.tokenizers.bpe.merging import Pair

Progress = Callable[[int, int], None]
"""Called with the merges made and wanted."""

ID_OF_BYTE = {token[0]: i for i, token in enumerate(BYTES)}


def learned(
    pieces: Mapping[bytes, int], wanted: int, least: int = 1, progress: Progress | None = None
) -> list[Pair]:
    """At most `wanted` merges of the `pieces` with their counts, in the order of their ids from 256
    on; fewer where no pair occurs `least` times any more."""
    words = [[ID_OF_BYTE[byte] for byte in piece] for piece in pieces]
    counts = list(pieces.values())
    occurrences: Counter[Pair] = Counter()
    holders: defaultdict[Pair, set[int]] = defaultdict(set)
    for number, (word, count) in enumerate(zip(words, counts, strict=True)):
        for pair in itertools.pairwise(word):
            occurrences[pair] += count
            holders[pair].add(number)
    heap = [(-count, pair) for pair, count in occurrences.items()]
    heapq.heapify(heap)
    merges: list[Pair] = []
    while heap and len(merges) < wanted:
        count, pair = heapq.heappop(heap)
        now = occurrences[pair]
        if -count != now:  # out of date; a pair that became more frequent stands higher up as well
            if now >= least:
                heapq.heappush(heap, (-now, pair))
            continue
        if now < least:
            break
        new = 256 + len(merges)
        merges.append(pair)
        changed: set[Pair] = set()
        for number in holders.pop(pair):
            old, word = words[number], _replaced(words[number], pair, new)
            words[number], times = word, counts[number]
            for gone in itertools.pairwise(old):
                occurrences[gone] -= times
            for come in itertools.pairwise(word):
                occurrences[come] += times
                if new in come:
                    holders[come].add(number)
                    changed.add(come)
        del occurrences[pair]
        for come in changed:
            heapq.heappush(heap, (-occurrences[come], come))
        if progress is not None:
            progress(len(merges), wanted)
    return merges


def _replaced(word: list[int], pair: Pair, new: int) -> list[int]:
    """`word` with `new` in place of every `pair`, from the left."""
    first, second = pair
    out: list[int] = []
    i, last = 0, len(word) - 1
    while i <= last:
        if i < last and word[i] == first and word[i + 1] == second:
            out.append(new)
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out
