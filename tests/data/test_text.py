"""What the readers accept, what they skip and say, and what they refuse."""

import hashlib
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.data import embedded
from tinygen.data.corpus import Corpus
from tinygen.data.reading import read_file
from tinygen.data.sources import read_corpus
from tinygen.data.text import read_folder, read_json_lines, read_text
from tinygen.errors import InputError, UnavailableError

# ---- one file


def test_a_file_is_one_document_byte_for_byte(tmp_path):
    data = "naïve\ufeff\r\n\U0001f600".encode()
    (tmp_path / "a.txt").write_bytes(data)
    corpus = read_text(tmp_path / "a.txt")
    assert corpus.documents == (data,)
    assert corpus.name == "a.txt"
    assert corpus.sha256 == hashlib.sha256(data).hexdigest()
    assert corpus.text.encode() == data
    assert corpus.record()["bytes"] == len(data)


def test_a_byte_order_mark_is_left_out_wherever_text_is_read(tmp_path):
    marked = "\ufeffab".encode()
    (tmp_path / "a.txt").write_bytes(marked)
    (tmp_path / "a.jsonl").write_bytes("\ufeff".encode() + b'{"text": "ab"}')
    assert read_text(tmp_path / "a.txt").documents == (b"ab",)
    assert read_json_lines(tmp_path / "a.jsonl").documents == (b"ab",)
    assert read_folder(tmp_path, extensions=[".txt"]).documents == (b"ab",)
    assert read_text(tmp_path / "a.txt", raw=True).documents == (marked,)  # any bytes, as they are


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"\xef\xbb\xbfab\xffc", "0xff at offset 5"),
        (b"ab\0c", "NUL byte at offset 2"),
        (b"ab\xffc", "0xff at offset 2"),
        ("text".encode("utf-16"), "offset"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, data, message):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(InputError, match=message) as raised:
        read_text(tmp_path / "a")
    assert raised.value.exit_code == 3
    assert str(tmp_path / "a") in str(raised.value)


def test_for_the_byte_tokenizer_any_file_is_text_but_an_empty_one(tmp_path):
    (tmp_path / "a").write_bytes(b"\0\xff")
    assert read_text(tmp_path / "a", raw=True).documents == (b"\0\xff",)
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(InputError, match="empty"):
        read_text(tmp_path / "a", raw=True)


def test_what_cannot_be_read_at_all(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no such file"):
        read_file(tmp_path / "missing")
    with pytest.raises(InputError, match="a folder"):
        read_file(tmp_path)
    with pytest.raises(InputError, match="null"):
        read_file("a\0b")
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    with pytest.raises(InputError, match="no ordinary file"):
        read_file(tmp_path / "pipe")

    def denied(path):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a").touch()
    monkeypatch.setattr("pathlib.Path.read_bytes", denied)
    with pytest.raises(InputError, match="permission denied"):
        read_file(tmp_path / "a")


# ---- a folder


@pytest.fixture
def tree(tmp_path):
    files = {
        "b.txt": b"b",
        "a/z.md": b"z",
        "a.txt": b"a",
        "a/empty.txt": b"",
        "a/image.png": b"\x89PNG\0",
        ".hidden": b"h",
        ".git/config": b"g",
    }
    for name, data in files.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "tree"


def test_a_folder_is_read_in_the_order_of_names_and_says_what_it_skipped(tree):
    corpus = read_folder(tree)
    assert corpus.documents == (b"a", b"z", b"b")
    assert corpus.stream == b"a\nz\nb"
    assert [line.split(":")[0] for line in corpus.skipped] == ["a/empty.txt", "a/image.png"]
    assert "empty" in corpus.skipped[0]
    assert "binary" in corpus.skipped[1]


def test_only_the_extensions_asked_for(tree):
    corpus = read_folder(tree, extensions=[".md"])
    assert corpus.documents == (b"z",)
    assert "b.txt: not among .md" in corpus.skipped


def test_a_folder_of_raw_files(tree):
    assert read_folder(tree, raw=True).documents == (b"a", b"\x89PNG\0", b"z", b"b")


def test_links_to_folders_are_not_followed(tree):
    (tree / "loop").symlink_to(tree, target_is_directory=True)
    assert read_folder(tree).documents == (b"a", b"z", b"b")


def test_runs_in_a_folder_are_no_text(tmp_path):
    """Else a run on `.` would change its own data, and could never be resumed."""
    (tmp_path / "a.txt").write_text("text")
    before = read_folder(tmp_path)
    (tmp_path / "runs" / "first" / "checkpoints").mkdir(parents=True)
    for name in ("config.json", "metrics.jsonl"):
        (tmp_path / "runs" / "first" / name).write_text("{}")
    after = read_folder(tmp_path)
    assert after.sha256 == before.sha256
    assert after.skipped == ("runs/first: a run of tinygen",)
    (tmp_path / "runs" / "first" / "checkpoints").rmdir()  # now it is just a folder
    assert len(read_folder(tmp_path).documents) == 3


def test_a_folder_that_cannot_be_listed_is_mentioned(tree, monkeypatch):
    listed = os.scandir

    def scandir(path):
        if os.fspath(path).endswith("a"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return listed(path)

    monkeypatch.setattr("os.scandir", scandir)
    corpus = read_folder(tree)
    assert corpus.documents == (b"a", b"b")
    assert corpus.skipped == ("a: Permission denied",)


def test_a_folder_without_text(tmp_path):
    with pytest.raises(InputError, match="it is empty"):
        read_folder(tmp_path)
    (tmp_path / "a").write_bytes(b"\0")
    with pytest.raises(InputError, match=r"all 1 were skipped, first a: .*NUL"):
        read_folder(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_folder(tmp_path / "missing")


# ---- JSON lines


@given(st.lists(st.text(min_size=1), min_size=1), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_json_lines_round_trip(texts, newline):
    # U+2028 stands unescaped in the file, and ends no line.
    lines = newline.join(json.dumps({"text": text}, ensure_ascii=False) for text in texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinygen.data.text.read_file", lambda path: lines.encode())
        corpus = read_json_lines("a.jsonl")
    assert corpus.documents == tuple(text.encode() for text in texts)


def test_json_lines_with_a_mark_blanks_and_another_field(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes('\ufeff{"body": "one"}\n\n{"body": ""}\n{"body": "two"}'.encode())
    corpus = read_json_lines(path, field="body")
    assert corpus.documents == (b"one", b"two")
    assert corpus.skipped == ("line 3: empty",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a"', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("1" * 5000, "not JSON"),
        ('["a"]', "a JSON list"),
        ('{"txt": "a", "id": 1}', "no field 'text' .it has 'txt', 'id'."),
        ("{}", "it has none"),
        ('{"text": 1}', "int, where a string"),
        ('{"text": "\\ud800"}', "half a surrogate pair"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path, line, message):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "good"}\n' + line)
    with pytest.raises(InputError, match=message) as raised:
        read_json_lines(path)
    assert f"{path}, line 2:" in str(raised.value)


@pytest.mark.parametrize("content", ["", "\n\n", '{"text": ""}'])
def test_json_lines_without_documents(tmp_path, content):
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match="no documents"):
        read_json_lines(path)


# ---- a corpus


def test_the_hash_sees_order_and_boundaries():
    def hash_of(*documents):
        return Corpus("c", documents, "test").sha256

    hashes = {hash_of(b"ab", b"c"), hash_of(b"a", b"bc"), hash_of(b"c", b"ab"), hash_of(b"ab\nc")}
    assert len(hashes) == 4
    assert hash_of(b"ab", b"c") == hash_of(b"ab", b"c")


@pytest.mark.parametrize("documents", [(), (b"a", b"")])
def test_a_corpus_holds_no_emptiness(documents):
    with pytest.raises(InputError, match="leave out"):
        Corpus("c", documents, "test")


# ---- embedded corpora


def test_the_docs_are_the_topics_in_order():
    from pydoc_data.topics import topics

    corpus = embedded.docs()
    assert corpus.text == "".join(text for _, text in sorted(topics.items()))
    assert "PSF" in corpus.licence
    assert corpus.sha256 == read_corpus("docs").sha256


def test_the_standard_library_without_its_tests():
    corpus = embedded.stdlib()
    assert corpus.size > 1_000_000
    assert len(corpus.documents) > 300
    import ast
    import inspect

    assert inspect.getsource(ast).encode() in corpus.documents


def test_what_belongs_to_the_standard_library(tmp_path, monkeypatch):
    names = [
        "b.py",
        "a/c.py",
        "a/test/d.py",
        "site-packages/e.py",
        "config-3-x/f.py",
        "_sysconfigdata_x.py",
        "g.txt",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "odd.py").write_bytes(b"\xff")
    (tmp_path / "empty.py").touch()
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    corpus = embedded.stdlib()
    assert corpus.documents == (b"a/c.py", b"b.py")
    assert corpus.skipped == ("odd.py: not UTF-8",)


def test_a_python_without_them(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pydoc_data.topics", None)
    with pytest.raises(UnavailableError, match="install the full Python"):
        embedded.docs()
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(UnavailableError, match="install the full Python"):
        embedded.stdlib()


# ---- what --data means


def test_paths_by_what_they_are(tree):
    (tree / "j.jsonl").write_text('{"text": "one"}')
    assert read_corpus(tree / "b.txt").documents == (b"b",)
    assert read_corpus(tree / "j.jsonl").documents == (b"one",)
    assert len(read_corpus(tree).documents) == 4
    assert read_corpus(tree / "a" / "image.png", raw=True).size == 5


def test_a_name_that_is_nothing():
    with pytest.raises(InputError, match=r"'nothing'.*docs, stdlib, packages, tinyshakespeare"):
        read_corpus("nothing")
    with pytest.raises(InputError, match="empty"):
        read_corpus("")  # which as a path would be the folder that one stands in


def test_a_dataset_that_is_not_here(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYGEN_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(InputError, match="tinygen data fetch tinyshakespeare"):
        read_corpus("tinyshakespeare")


def test_tinyshakespeare_by_name(real_data, monkeypatch):
    path = real_data("tinyshakespeare.txt")
    monkeypatch.setenv("TINYGEN_DATA", str(path.parent))
    corpus = read_corpus("tinyshakespeare")
    assert corpus.documents == (path.read_bytes(),)
    assert "public domain" in corpus.licence
