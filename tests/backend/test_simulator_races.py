"""The race detector against an oracle: generated programs, and whether two accesses are unordered.

A kernel interprets a program, a table of what each thread does at each step: read or write half a
word of shared memory, an atomic operation on a word, or a barrier. The oracle keeps for each thread
the set of all accesses that happen before its next step. A program has a race if two accesses meet
in a byte, one of them writes (or one is atomic and the other is not), and neither is in the other's
set.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygen.backend.simulator import KernelFault, Module, empty, require_toolchain
from tinygen.errors import UnavailableError

THREADS, WARP, WORDS = 96, 32, 3
NOTHING, READ, WRITE, ATOMIC, BLOCK, LANES, SYNC, ARRIVE = range(8)
FENCE = BLOCK

SOURCE = f"""
enum {{ NOTHING, READ, WRITE, ATOMIC, BLOCK, LANES, SYNC, ARRIVE, FENCE = BLOCK }};

extern "C" __global__ void interpret(unsigned* out, const int* program, int steps) {{
  __shared__ unsigned words[{WORDS}];
  unsigned short* halves = reinterpret_cast<unsigned short*>(words);
  if (threadIdx.x == 0) {{
    for (int i = 0; i < {WORDS}; i++) words[i] = 0;
  }}
  __syncthreads();
  unsigned sum = 0;
  for (int step = 0; step < steps; step++) {{
    const int entry = program[step * blockDim.x + threadIdx.x], operand = entry / 8;
    switch (entry % 8) {{
      case READ: sum += halves[operand]; break;
      case WRITE: halves[operand] = 1; break;
      case ATOMIC: sum += atomicAdd(&words[operand], 1u); break;
      case BLOCK: __syncthreads(); break;
      case LANES: __syncwarp(); break;
      case SYNC: sim::named_barrier_sync(operand, 64); break;
      case ARRIVE: sim::named_barrier_arrive(operand, 64); break;
    }}
  }}
  out[threadIdx.x] = sum;
}}

extern "C" __global__ void interpret_blocks(unsigned* words, const int* program, int steps) {{
  unsigned short* halves = reinterpret_cast<unsigned short*>(words);
  unsigned sum = 0;
  for (int step = 0; step < steps; step++) {{
    const int entry = program[blockIdx.x * steps + step], operand = entry / 8;
    switch (entry % 8) {{
      case READ: sum += halves[operand]; break;
      case WRITE: halves[operand] = 1; break;
      case ATOMIC: sum += atomicAdd(&words[operand], 1u); break;
      case FENCE: __threadfence(); break;
    }}
  }}
  words[{WORDS} + blockIdx.x] = sum;
}}
"""


class Step(NamedTuple):
    """Accesses (thread -> kind and operand), or one barrier: of the block, of each warp, or of two
    warps, of which the first may be let go before the second has come."""

    accesses: dict[int, tuple[int, int]]
    barrier: int = NOTHING
    warps: tuple[int, int] = (0, 1)
    arrive: bool = False


accesses = st.dictionaries(
    st.sampled_from([0, 1, 2, 33, 34, 70]),  # of three warps
    st.one_of(
        st.tuples(st.sampled_from([READ, WRITE]), st.integers(0, 2 * WORDS - 1)),
        st.tuples(st.just(ATOMIC), st.integers(0, WORDS - 1)),
    ),
    max_size=3,
)
barriers = st.sampled_from([BLOCK, LANES, SYNC, SYNC])
pairs = st.permutations(range(3)).map(lambda order: (order[0], order[1]))
steps = st.one_of(
    st.builds(Step, accesses),
    st.builds(Step, st.just({}), barriers, pairs, st.booleans()),
)


def encode(program: list[Step]) -> np.ndarray[Any, Any]:
    table = empty((len(program), THREADS), np.int32)
    table[:] = NOTHING
    for number, (row, step) in enumerate(zip(table, program, strict=True), 1):
        for thread, (kind, operand) in step.accesses.items():
            row[thread] = kind + 8 * operand
        if step.barrier in (BLOCK, LANES):
            row[:] = step.barrier
        elif step.barrier == SYNC:
            first, second = (slice(WARP * w, WARP * (w + 1)) for w in step.warps)
            row[first] = (ARRIVE if step.arrive else SYNC) + 8 * number
            row[second] = SYNC + 8 * number
    return table


class Access(NamedTuple):
    who: int
    kind: int
    bytes: frozenset[int]

    def conflicts(self, other: Access) -> bool:
        agree = self.kind == other.kind and self.kind != WRITE
        return self.who != other.who and not agree and bool(self.bytes & other.bytes)


def access_of(who: int, kind: int, operand: int) -> Access:
    size = 4 if kind == ATOMIC else 2
    return Access(who, kind, frozenset(range(size * operand, size * operand + size)))


def has_race(program: list[Step]) -> bool:
    before: list[set[int]] = [set() for _ in range(THREADS)]
    done: list[Access] = []

    def join(threads: list[int], known: set[int]) -> None:
        for thread in threads:
            before[thread] = before[thread] | known

    def all_of(threads: list[int]) -> set[int]:
        return set().union(*(before[thread] for thread in threads))

    lanes = [list(range(WARP * w, WARP * (w + 1))) for w in range(THREADS // WARP)]
    everyone = list(range(THREADS))
    for step in program:
        for thread, (kind, operand) in step.accesses.items():
            access = access_of(thread, kind, operand)
            earlier = (i for i in range(len(done)) if i not in before[thread])
            if any(access.conflicts(done[i]) for i in earlier):
                return True
            before[thread] = before[thread] | {len(done)}
            done.append(access)
        if step.barrier == BLOCK:
            join(everyone, all_of(everyone))
        elif step.barrier == LANES:
            for warp in lanes:
                join(warp, all_of(warp))
        elif step.barrier == SYNC:
            first, second = (lanes[w] for w in step.warps)
            known = all_of(first + second)
            join(second if step.arrive else first + second, known)
    return False


@pytest.fixture(scope="module")
def interpreter() -> Module:
    try:
        require_toolchain()
    except UnavailableError as error:
        pytest.skip(str(error))
    return Module(SOURCE, checking=True)


@settings(max_examples=max(100, settings().max_examples))
@given(st.lists(steps, max_size=12), st.integers(0, 50))
def test_a_race_is_found_exactly_where_there_is_one(
    interpreter: Module, program: list[Step], seed: int
) -> None:
    """In whatever order the threads run."""
    table, out = encode(program), empty(THREADS, np.uint32)
    args = [out, table, np.int32(len(program))]
    for schedule in ("forward", "reverse", "random"):
        found = set()
        try:
            interpreter.launch("interpret", (1,), (THREADS,), args, schedule=schedule, seed=seed)
        except KernelFault as fault:
            found = {finding.kind for finding in fault.findings}
        assert found == ({"race"} if has_race(program) else set())


# ---- blocks --------------------------------------------------------------------------------------

data = st.tuples(st.sampled_from([READ, WRITE]), st.sampled_from([4, 5]))
word = st.tuples(st.just(ATOMIC), st.sampled_from([0, 0, 0, 0, 1, 2]))
fence = st.just((FENCE, 0))
messages = st.one_of(
    st.tuples(data, fence, word),  # tells
    st.tuples(word, fence, data),  # is told
    st.tuples(word, fence, data, fence, word),  # passes on
    st.tuples(st.one_of(data, word, fence), st.one_of(data, word, fence)),
)
blocks = st.lists(
    st.lists(messages, max_size=2).map(lambda told: [step for part in told for step in part]),
    min_size=2,
    max_size=4,
)


def have_race(program: list[list[tuple[int, int]]], order: list[int]) -> bool:
    """What a block did before a fence is told by its atomic operations after it; who meets them by
    one of their own knows it from the next fence on."""
    done: list[Access] = []
    told: list[set[int]] = [set() for _ in range(WORDS)]
    for block in order:
        before: set[int] = set()
        observed: set[int] = set()
        released: set[int] = set()
        for kind, operand in program[block]:
            if kind == FENCE:
                before |= observed
                released = set(before)
                continue
            access = access_of(block, kind, operand)
            if any(access.conflicts(done[i]) for i in range(len(done)) if i not in before):
                return True
            before.add(len(done))
            done.append(access)
            if kind == ATOMIC:
                observed |= told[operand]
                told[operand] |= released
    return False


@settings(max_examples=max(100, settings().max_examples))
@given(blocks)
def test_a_race_of_blocks_is_found_exactly_where_there_is_one(
    interpreter: Module, program: list[list[tuple[int, int]]]
) -> None:
    """Blocks run one after another, so the order of their atomic operations is known."""
    table = empty((len(program), max(map(len, program))), np.int32)
    table[...] = NOTHING
    for row, block in zip(table, program, strict=True):
        row[: len(block)] = [kind + 8 * operand for kind, operand in block]
    args = [empty(WORDS + 4, np.uint32), table, np.int32(table.shape[1])]
    turns = list(range(len(program)))
    for schedule, order in (("forward", turns), ("reverse", turns[::-1])):
        found = set()
        try:
            interpreter.launch("interpret_blocks", (len(program),), (1,), args, schedule=schedule)
        except KernelFault as fault:
            found = {finding.kind for finding in fault.findings}
        assert found == ({"block-race"} if have_race(program, order) else set())
