"""The house rules that a machine can check: who imports whom, what is named where, how long."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tinygen

ROOT = Path(__file__).parents[1]
PACKAGE = Path(tinygen.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

# From the top of the house to its foundation; a file may import from its own row and lower ones.
# `engine` is the one cycle: Tensor, Function, the walk and the ops call each other.
ROWS = [
    ("cli",),
    ("serving",),
    ("study", "measure", "testing"),
    ("recipes",),
    ("training",),
    ("evaluation",),
    ("models",),
    ("decoding",),
    ("nn", "optim", "data", "checkpoints"),
    ("leaves",),
    ("ops", "tensor", "function", "promotion", "autograd", "recompute"),
    ("trace", "random", "grad_mode"),
    ("backend",),
    ("arguments",),
    ("errors", "files"),
]
LEVEL = {part: len(ROWS) - i for i, row in enumerate(ROWS) for part in row}
ONLY_FOR = {
    "study": {"cli", "serving"},
    "measure": {"cli", "serving"},
    "testing": {"cli", "serving"},
}
DATA_MAY_USE = {"data", "random", "arguments", "errors", "files"}

BUDGETS = {"engine": 600, "ops": 2500, "nn": 1000, "a model file": 300, "a command": 150}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """The parts of tinygen that a file imports while it is loaded or later."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "tinygen":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tinygen."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("tinygen.")}
    return found & LEVEL.keys()


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    part = part_of(path)
    if part in ("__init__", "__main__"):
        return
    for used in imports_of(path):
        assert LEVEL[used] <= LEVEL[part], f"{part} imports {used}, which stands higher"
        assert part in ONLY_FOR.get(used, {part}) | {used}, f"nobody but cli and serving use {used}"
        if part == "data":
            assert used in DATA_MAY_USE, f"data imports {used}; it may use {DATA_MAY_USE}"


def module_name(path: Path) -> str:
    return ".".join(("tinygen", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    )


def test_no_import_goes_round_but_the_engines() -> None:
    """From no file outside the one cycle of `ROWS` do imports, whenever they run, lead back to
    it."""
    modules = {module_name(path): path for path in SOURCES}
    uses: dict[str, set[str]] = {name: set() for name in modules}
    for name, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                found = {f"{node.module}.{alias.name}" for alias in node.names} & modules.keys()
                uses[name] |= found or {node.module} & modules.keys()
    for start in modules:
        if LEVEL.get(start.split(".")[1] if "." in start else "") == LEVEL["ops"]:
            continue
        reached, waiting = set[str](), [*uses[start]]
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += uses[name]
        assert start not in reached, f"{start} imports itself, through others"


LONGEST = 400
WHOLE = {"tinygen/tensor.py"}  # see docs/decisions.md, "The engine is seven files"


def test_every_file_is_read_in_one_sitting() -> None:
    roots = [PACKAGE, ROOT / "tests", ROOT / "benchmarks"]  # the package may be installed elsewhere
    files = [(root, path) for root in roots for path in root.rglob("*.py")]
    for folder, path in files:
        lines, name = path.read_text().count("\n"), path.relative_to(folder.parent).as_posix()
        assert lines <= LONGEST or name in WHOLE, f"{name} has {lines} lines: split it by subject"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_what_no_file_may_do(path: Path) -> None:
    """No device outside the back ends, no pickle, no evaluated strings, no global random state."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            assert name.split(".")[0] not in {"pickle", "shelve", "marshal"}, f"{name}: no pickle"
            if part_of(path) != "backend":
                assert name.split(".")[0] != "cupy", "cupy is named in backend/ only"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec"}, "no evaluated strings"
        if isinstance(node, ast.keyword):
            assert node.arg != "allow_pickle" or getattr(node.value, "value", None) is False
        if isinstance(node, ast.Attribute) and node.attr in {"seed", "rand", "randn"}:
            value = node.value
            numpys = isinstance(value, ast.Attribute) and value.attr == "random"
            assert not numpys, "randomness is an argument, never global"


def test_import_is_light() -> None:
    """`import tinygen` loads NumPy and nothing else of weight."""
    code = "import sys, tinygen; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    heavy = {"safetensors", "rich", "PIL", "hypothesis", "pytest", "torch", "scipy", "cupy"}
    assert not loaded & heavy
    assert "numpy" in loaded
    # Parts of the standard library that bring others along (OpenSSL, a mail parser, sockets), which
    # neither NumPy nor a step needs.
    slow = {"hashlib", "email", "socket", "csv", "tempfile", "zipfile", "json", "random", "asyncio"}
    assert not loaded & slow


def code_lines(path: Path) -> int:
    """Lines that hold code: no blank lines, comments or docstrings."""
    text = path.read_text()
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str):
            docstrings |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return sum(
        1
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.strip().startswith("#") and number not in docstrings
    )


def test_line_budgets(record_property: Callable[[str, object], None]) -> None:
    """Small is a promise: the counts are printed, and a budget is passed by decision only."""
    core = ("tensor", "leaves", "function", "promotion", "grad_mode", "autograd", "recompute")
    engine = (*core, "trace")
    counts = {
        "engine": sum(code_lines(PACKAGE / f"{part}.py") for part in engine),
        "ops": sum(code_lines(p) for p in (PACKAGE / "ops").rglob("*.py")),
        "nn": sum(code_lines(p) for p in (PACKAGE / "nn").rglob("*.py")),
        "a model file": max(code_lines(p) for p in (PACKAGE / "models").rglob("*.py")),
        "a command": max(code_lines(p) for p in (PACKAGE / "cli").rglob("*.py")),
    }
    told = ", ".join(f"{part} {n} ({BUDGETS[part]})" for part, n in counts.items())
    record_property("lines of code (budget)", told)
    decided = (ROOT / "docs" / "decisions.md").read_text()
    for part, count in counts.items():
        allowed = count <= BUDGETS[part] or f"Budget: {part}" in decided
        assert allowed, f"{part} has {count} lines of {BUDGETS[part]}: shorten it, or decide it"
