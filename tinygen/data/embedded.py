"""Two corpora that every Python has: its language reference, and its own source.

Both are good English and good code, are there without internet, and differ from one Python version
to the next: a figure measured on one of them means something only beside its content hash.
"""

import platform
import sysconfig
from pathlib import Path

from tinygen.data.corpus import Corpus
from tinygen.errors import UnavailableError

# Tests are left out for their odd bytes, and `_sysconfigdata…`, `config-…` because they hold the
# paths of the machine that built this Python: the hash would differ between equal versions.
_LEFT_OUT_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
)
_LEFT_OUT_PREFIXES = ("config-", "_sysconfigdata")


def docs() -> Corpus:
    """The topics of the language reference that `help()` shows, in the order of their names."""
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise UnavailableError(
            "this Python comes without pydoc_data.topics, which the corpus 'docs' is made of; "
            "install the full Python, or give a text file"
        ) from error
    text = "".join(topics[name] for name in sorted(topics))
    return Corpus(
        "docs",
        (text.encode("utf-8"),),
        f"pydoc_data.topics of Python {platform.python_version()}",
        licence="PSF-2.0 (code examples also 0BSD)",
    )


def stdlib() -> Corpus:
    """The standard library's own modules, each a document, in the order of their paths."""
    root = Path(sysconfig.get_path("stdlib"))
    modules = sorted(
        relative.as_posix()
        for relative in (path.relative_to(root) for path in root.rglob("*.py"))
        if _belongs(relative)
    )
    sources = [(name, (root / name).read_bytes()) for name in modules]
    documents = tuple(source for _, source in sources if source and _is_utf8(source))
    if not documents:
        raise UnavailableError(
            f"this Python comes without the source of its standard library (none in {root}), "
            "which the corpus 'stdlib' is made of; install the full Python, or give a text file"
        )
    return Corpus(
        "stdlib",
        documents,
        f"standard library source of Python {platform.python_version()}",
        licence="PSF-2.0",
        skipped=tuple(f"{name}: not UTF-8" for name, source in sources if not _is_utf8(source)),
    )


def _belongs(relative: Path) -> bool:
    return _LEFT_OUT_FOLDERS.isdisjoint(relative.parts) and not any(
        part.startswith(_LEFT_OUT_PREFIXES) for part in relative.parts
    )


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
