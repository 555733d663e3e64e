"""Mistakes planted in the text of kernels, one a copy: what `tests/kernels/mutants.py` tries.

    mutants_of("softmax.cu", text)[0].text      the whole file, with one of its lines wrong

An operator is a regular expression over the code alone (comments, strings, preprocessor lines and
what stands behind TINYGEN_SIM are blanks there), and what it makes of a match. Some mistakes cannot
be compiled; whoever runs them finds out. Mutation analysis: DeMillo, Lipton and Sayward 1978.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One mistake: which operator made it, in which function, and the lines before and after."""

    file: str
    function: str
    body: range
    """The lines of the function, or of the file where it is in none."""
    operator: str
    line: int
    before: str
    after: str
    text: str

    @property
    def place(self) -> tuple[str, str, str, str]:
        """What stays the same when lines move: file, function, and the lines, whose spaces count
        as one."""
        return self.file, self.function, self.before, self.after

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.function}: {self.before}  ->  {self.after}"


def code_of(text: str) -> str:
    """`text` with blanks, as many, for all that is no code of kernels."""

    def blank(found: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", found[0])

    text = re.sub(r"//.*|/\*[\s\S]*?\*/|\"(?:\\.|[^\"\\\n])*\"", blank, text)
    text = re.sub(r"__launch_bounds__\([^)]*\)|registers_\w+<\d+>\(\);", blank, text)
    lines, skipped, continued = text.split("\n"), 0, False  # skipped: conditionals that are open
    for i, line in enumerate(lines):
        directive = re.match(r"\s*#\s*(\w+)", line)
        if directive and directive[1].startswith("if") and (skipped or "TINYGEN_SIM" in line):
            skipped += 1
        if skipped or directive or continued:
            lines[i] = " " * len(line)
        if directive and directive[1] == "endif" and skipped:
            skipped -= 1
        continued = bool(directive or continued) and line.endswith("\\")
    return "\n".join(lines)


# ---- operators -----------------------------------------------------------------------------------

Edits = Iterator[tuple[int, int, str]]
"""Begin and end of what is replaced, and by what."""

EXCHANGED = {
    "comparison": {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="},
    "arithmetic": {"+": "-", "-": "+", "*": "+", "/": "*", "%": "/"},
    "assignment": {"+=": "-=", "-=": "+=", "*=": "=", "/=": "*=", "^=": "|=", "|=": "=", "&=": "="},
    "bits": {"&": "|", "|": "&", "^": "|", "<<": ">>", ">>": "<<"},
    "logic": {"&&": "||", "||": "&&"},
    "choice": {"?": "|| true ?"},
    "no choice": {"?": "&& false ?"},
}
OPPOSITES = ["fmaxf fminf", "max min", "sinf cosf", "true false"]
NAMES = {a: b for pair in OPPOSITES for a, b in (pair.split(), pair.split()[::-1])}
NAMES["__syncthreads"] = "__syncwarp"
WAIT = (
    r"(?:__syncthreads|__syncwarp|barrier_wait|named_barrier_sync|fence_async_proxy|wgmma_fence"
    r"|barrier_init_fence|(?:copy_async|tma_store|wgmma)_wait<[^;]+>)\([^;]*\);"
)
DECLARES = r"(?:const|constexpr|using|template|struct|extern|static|static_assert|__shared__)\b"
HEAD = re.compile(r"\s*(?:else\b\s*)?(?:(?:if|for|while)\s*(?:constexpr\s*)?(?=\()|else\b|do\b)?")


def _closing(code: str, start: int) -> int:
    """The place behind the bracket that closes the one at `start`."""
    depth = 0
    for i in range(start, len(code)):
        depth += (code[i] in "([{") - (code[i] in ")]}")
        if depth == 0:
            return i + 1
    return len(code)


def _operand(code: str, start: int, product: bool) -> int:
    """The end of the right operand that begins at `start`."""
    ends = re.compile(
        r"[;,?:)\]}=]| [-+<>|^&%*/]+=* " if product else r"[;,?:)\]}=]| [-+<>|^&]+=* "
    )
    i = start
    while i < len(code):
        if code[i] in "([{":
            i = _closing(code, i)
        elif ends.match(code, i):
            return i
        else:
            i += 1
    return i


def _statements(code: str) -> Iterator[tuple[int, int]]:
    """Begin and end of expression statements, without the conditions that they hang on."""
    begin, depth = 0, 0
    for i, letter in enumerate(code):
        depth += (letter in "([") - (letter in ")]")
        if depth or letter not in ";{}":
            continue
        if letter == ";":
            at = begin
            while (head := HEAD.match(code, at)) and head.end() > at:
                at = head.end()
                if code[at] == "(" and re.search(r"\w\s*$", head[0]):
                    at = _closing(code, at)
            words = code[at : i + 1]
            declaration = re.match(r"[\w:]+(?:<[^;=(]*>)?(?:\s*[*&]\s*|\s+)\w+\s*[;=({\[,]", words)
            other = declaration or re.match(DECLARES + r"|return\s+\S", words)
            if re.match(r"\w", words) and not other:
                yield at, i + 1
        begin = i + 1


def _exchanged(table: dict[str, str]) -> Callable[[str], Edits]:
    pattern = re.compile("(?<= )(?:" + "|".join(map(re.escape, table)) + ")(?= )")

    def edits(code: str) -> Edits:
        for found in pattern.finditer(code):
            yield *found.span(), table[found[0]]

    return edits


def _dropped_operands(code: str) -> Edits:
    """a + b -> a, and the like; a guard loses its second half."""
    for found in re.finditer(r" ([-+*/%]|&&|\|\|) (?=\S)", code):
        if found[1] in "-+*/%":
            end = _operand(code, found.end(), found[1] in "*/%")
        else:
            end = min(_operand(code, found.end(), False), *_ends_of_guard(code, found.end()))
        yield found.start(), end, ""


def _ends_of_guard(code: str, start: int) -> tuple[int, int]:
    end = re.compile(r" && | \|\| ").search(code, start)
    line = code.find(";", start)
    return (end.start() if end else len(code)), line if line >= 0 else len(code)


def _dropped_statements(code: str) -> Edits:
    for begin, end in _statements(code):
        if not re.match(WAIT, code[begin:end]):
            yield begin, end, ";"


def _dropped_waits(code: str) -> Edits:
    for begin, end in _statements(code):
        if re.match(WAIT, code[begin:end]):
            yield begin, end, ";"


def _rounded_sums(code: str) -> Edits:
    """An accumulator of a 16-bit type."""
    for begin, end in _statements(code):
        found = re.match(r"([^=;]+) \+= ([\s\S]+);", code[begin:end])
        name = found and re.match(r"\w+", found[1])
        other = rf"(?:\b(?:u?int\w*|size_t)\b[^;()]*|\*[^;(),]*)\b{name and name[0]}\b"
        if found and name and not re.search(other, code):
            sum_ = f"to_float(from_float<bf16>({found[1]} + ({found[2]})))"
            yield begin, end, f"{found[1]} = {sum_};"


def _guards(code: str) -> Edits:
    for found in re.finditer(r"\b(?:if|while) (?:constexpr )?(?=\()", code):
        end = _closing(code, found.end())
        for always in ("true", "false"):
            yield found.end(), end, f"({always})"


def _integers(code: str) -> Edits:
    for found in re.finditer(r"(?<![\w.])(0x[0-9a-f]+|\d+)(u?)(?![\w.])", code):
        value = int(found[1], 0)
        statement = code[max(code.rfind(c, 0, found.start()) for c in ";{}") + 1 : found.start()]
        length_of_array = re.match(r"\s*(?:[\w:<>]+\s+)+[^=()]*\[[^=()]*$", statement)
        if not length_of_array:
            yield *found.span(), f"{value + 1}{found[2]}"
        if value:
            yield *found.span(), f"{value - 1}{found[2]}"


def _floats(code: str) -> Edits:
    for found in re.finditer(r"(?<![\w.])(\d+\.\d*(?:e-?\d+)?)f\b", code):
        value = float(found[1])
        yield *found.span(), f"{float(f'{value * 1.01:.8g}') or 1.0!r}f"


def _indices(code: str) -> Edits:
    for found in re.finditer(r"(?<=[\w\]])\[(?=[^\]\s])", code):
        begin = max(code.rfind(c, 0, found.start()) for c in ";{}(") + 1
        before = code[begin : found.start()]
        declares = re.match(r"\s*(?:[\w:<>]+[\s*&]+)+\w+(?:\[[^\]]*\])*$", before)
        if not declares or re.match(r"\s*(?:return|else)\b", before):
            end = _closing(code, found.start()) - 1
            yield end, end, " + 1"


def _signs(code: str) -> Edits:
    for found in re.finditer(
        r"(?:(?<=[(\[])|(?<=[=,?:<>&|*/+-] )|(?<=return ))[-!](?=[\w(])", code
    ):
        yield *found.span(), ""


def _names(code: str) -> Edits:
    for found in re.finditer(r"(?<![\w.:])(" + "|".join(NAMES) + r")(?=[(>,);])", code):
        yield *found.span(), NAMES[found[1]]


def _swapped_arguments(code: str) -> Edits:
    """f(a, b) -> f(b, a), where the two are one type to the compiler."""
    for found in re.finditer(r"(?<=\w)\(([^(),;]+), ([^(),;]+)(?=[,)])", code):
        called = re.search(r"\w+$", code[: found.start()])
        declares = re.search(r"\w[*&]* [*&]*\w+\s*$", found[1])  # parameters
        if called and called[0] not in {*NAMES, "__umul64hi"} and not declares:
            yield found.start() + 1, found.end(), f"{found[2]}, {found[1]}"


OPERATORS: dict[str, Callable[[str], Edits]] = {
    **{name: _exchanged(table) for name, table in EXCHANGED.items()},
    "wait dropped": _dropped_waits,
    "statement dropped": _dropped_statements,
    "operand dropped": _dropped_operands,
    "sum in 16 bits": _rounded_sums,
    "guard": _guards,
    "integer": _integers,
    "float": _floats,
    "index": _indices,
    "sign": _signs,
    "name": _names,
    "arguments swapped": _swapped_arguments,
}


# ---- mutants -------------------------------------------------------------------------------------


def functions_of(code: str) -> Iterator[tuple[int, int, str]]:
    """Begin, end and name of what has a body at the outermost level: functions and types."""
    begin, depth, head = 0, 0, ""
    for i, letter in enumerate(code):
        if letter == "{" and depth == 0:
            head = re.sub(r"__\w+__|\b(?:alignas|explicit)\b", "", code[begin:i])
        depth += (letter == "{") - (letter == "}")
        if depth == 0 and letter in ";}":
            name = re.search(r"\bstruct\s+[^\w]*(\w+)", head) or re.search(r"(\w+)\s*\(", head)
            if letter == "}" and name:
                yield begin, i + 1, name[1]
            begin, head = i + 1, ""


def mutants_of(file: str, text: str) -> list[Mutant]:
    """All of a file, in the order of its text; each result once."""
    code = code_of(text)
    functions = list(functions_of(code))
    found: dict[str, tuple[int, Mutant]] = {}
    for operator, edits in OPERATORS.items():
        for begin, end, instead in edits(code):
            first, last = text.rfind("\n", 0, begin) + 1, text.find("\n", end - 1)
            lines = text[first:last], text[first:begin] + instead + text[end:last]
            before, after = (" ".join(line.split()) for line in lines)
            if before == after:
                continue
            within = (f for f in functions if f[0] <= begin < f[1])
            start, stop, name = next(within, (0, len(text), ""))
            body = range(text.count("\n", 0, start) + 1, text.count("\n", 0, stop) + 2)
            mutated = text[:begin] + instead + text[end:]
            line = text.count("\n", 0, begin) + 1
            mutant = Mutant(file, name, body, operator, line, before, after, mutated)
            found.setdefault(mutated, (begin, mutant))
    return [mutant for _, mutant in sorted(found.values(), key=lambda pair: pair[0])]
