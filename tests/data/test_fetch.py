"""Fetching against a server on this machine, which misbehaves as real ones do."""

import gzip
import hashlib
import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tinygen.data import fetch as fetching
from tinygen.data.datasets import DATASETS, Dataset, RemoteFile
from tinygen.data.fetch import data_folder, fetch, find
from tinygen.errors import InputError, OutputError, UnavailableError, UsageError

CONTENT = bytes(range(256)) * 40


class Server(ThreadingHTTPServer):
    """Serves `content`; `ranges` may be off, `cut` ends every answer after so many bytes."""

    content = CONTENT
    ranges = True
    cut: int | None = None
    status = 200

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []  # the Range header of each request


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        wanted = self.headers["Range"]
        self.server.asked.append(wanted)
        content = self.server.content
        start = 0
        if wanted and self.server.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.server.cut])

    def log_message(self, *args):
        pass


@contextmanager
def running():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def server():
    with running() as server:
        yield server


@pytest.fixture
def mirror():
    with running() as server:
        yield server


def serve_from(monkeypatch, *servers):
    """The dataset "numbers", with these servers (or ports) as its mirrors."""
    ports = [s if isinstance(s, int) else s.server_port for s in servers]
    file = RemoteFile(
        "sub/numbers.bin",
        tuple(f"http://127.0.0.1:{port}/numbers" for port in ports),
        hashlib.sha256(CONTENT).hexdigest(),
        len(CONTENT),
    )
    dataset = Dataset("numbers", (file,), "text", licence="none", origin="test")
    monkeypatch.setitem(DATASETS, "numbers", dataset)


@pytest.fixture
def folder(server, tmp_path, monkeypatch):
    """An empty data folder and cache, and a dataset "numbers" that `server` has."""
    serve_from(monkeypatch, server)
    monkeypatch.setenv("TINYGEN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "data"


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_once_fetched_it_is_read_from_disk(server, folder):
    path = fetch("numbers")
    assert path == folder / "sub" / "numbers.bin"
    assert files_of(folder) == {"numbers.bin": CONTENT}
    assert fetch("numbers") == fetch("numbers", offline=True) == find("numbers") == path
    assert fetch("numbers", folder) == path
    assert server.asked == [None]


def test_progress_is_reported(folder, monkeypatch):
    monkeypatch.setattr(fetching, "_CHUNK", 4096)
    seen: list[tuple[int, int]] = []
    fetch("numbers", progress=lambda have, size: seen.append((have, size)))
    assert seen == [(4096, 10240), (8192, 10240), (10240, 10240)]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_download_is_continued(server, folder, ranges):
    server.cut = 1000
    with pytest.raises(UnavailableError, match="after 1,000 of 10,240 bytes") as raised:
        fetch("numbers")
    assert raised.value.exit_code == 4
    assert files_of(folder) == {"numbers.bin.part": CONTENT[:1000]}
    assert find("numbers") is None
    server.cut, server.ranges = None, ranges
    fetch("numbers")
    assert server.asked == [None, "bytes=1000-"]
    assert files_of(folder) == {"numbers.bin": CONTENT}


@pytest.mark.parametrize(
    ("part", "asked"),
    [(CONTENT, []), (b"", [None]), (CONTENT + b"more", [None])],
)
def test_a_part_that_is_whole_empty_or_too_long(server, folder, part, asked):
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "numbers.bin.part").write_bytes(part)
    fetch("numbers")
    assert server.asked == asked
    assert files_of(folder) == {"numbers.bin": CONTENT}


@pytest.mark.parametrize("content", [CONTENT[::-1], CONTENT + b"more", CONTENT[:-1] + b"x"])
def test_a_wrong_content_is_not_kept(server, folder, content):
    server.content = content
    with pytest.raises(InputError, match="nothing was kept") as raised:
        fetch("numbers")
    assert hashlib.sha256(content).hexdigest() in str(raised.value)
    assert files_of(folder) == {}


def test_a_wrong_part_is_thrown_away_and_the_next_try_succeeds(server, folder):
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "numbers.bin.part").write_bytes(b"other")
    with pytest.raises(InputError, match="nothing was kept"):
        fetch("numbers")
    fetch("numbers")
    assert files_of(folder) == {"numbers.bin": CONTENT}


def test_offline_says_how_to_get_it_by_hand(server, folder):
    with pytest.raises(UnavailableError, match="by hand") as raised:
        fetch("numbers", offline=True)
    for part in (
        DATASETS["numbers"].files[0].urls[0],
        str(folder / "sub" / "numbers.bin"),
        "sha256",
    ):
        assert part in str(raised.value)
    assert server.asked == []
    assert not folder.exists()


def test_a_server_that_refuses(server, folder):
    server.status = 404
    with pytest.raises(UnavailableError, match="404"):
        fetch("numbers")


def test_no_server_at_all(folder, monkeypatch):
    serve_from(monkeypatch, 1)
    with pytest.raises(UnavailableError, match=r"connection failed.*by hand"):
        fetch("numbers")


def test_a_connection_that_breaks_while_reading(folder, monkeypatch):
    def reset(self, *args):
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr("http.client.HTTPResponse.read", reset)
    with pytest.raises(UnavailableError, match="reset by peer"):
        fetch("numbers")


def test_a_folder_that_cannot_be_made(folder):
    folder.write_bytes(b"a file stands here")
    with pytest.raises(OutputError, match="a part of it is a file"):
        fetch("numbers")


def test_a_changed_file_is_neither_used_nor_overwritten(folder):
    (folder / "sub").mkdir(parents=True)
    path = folder / "sub" / "numbers.bin"
    path.write_bytes(b"mine")
    for call in (
        lambda: find("numbers"),
        lambda: fetch("numbers"),
        lambda: fetch("numbers", folder),
    ):
        with pytest.raises(InputError, match="remove it and fetch it again"):
            call()
    assert path.read_bytes() == b"mine"


def test_the_cache_serves_where_the_data_folder_has_nothing(server, folder, tmp_path, monkeypatch):
    monkeypatch.delenv("TINYGEN_DATA")
    path = fetch("numbers")
    assert path == tmp_path / "cache" / "tinygen" / "sub" / "numbers.bin"
    monkeypatch.setenv("TINYGEN_DATA", str(folder))
    assert find("numbers") == fetch("numbers") == path
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("platform", "ending"),
    [
        ("linux", ".cache/tinygen"),
        ("darwin", "Library/Caches/tinygen"),
        ("win32", "AppData/Local/tinygen"),
    ],
)
def test_the_cache_folder_of_each_platform(monkeypatch, platform, ending):
    for name in ("TINYGEN_DATA", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", platform)
    assert data_folder().as_posix().endswith(ending)


# ---- mirrors


def test_a_mirror_continues_what_another_began(server, mirror, folder, monkeypatch):
    serve_from(monkeypatch, server, mirror)
    server.cut = 3000
    fetch("numbers")
    assert (server.asked, mirror.asked) == ([None], ["bytes=3000-"])
    assert files_of(folder) == {"numbers.bin": CONTENT}


@pytest.mark.parametrize("fault", ["refuses", "lies", "is away"])
def test_a_mirror_serves_where_another_fails(server, mirror, folder, monkeypatch, fault):
    serve_from(monkeypatch, 1 if fault == "is away" else server, mirror)
    if fault == "refuses":
        server.status = 404
    elif fault == "lies":
        server.content = CONTENT[::-1]
    fetch("numbers")
    assert mirror.asked == [None]
    assert files_of(folder) == {"numbers.bin": CONTENT}


def test_a_part_that_a_lying_mirror_began_is_fetched_again(server, mirror, folder, monkeypatch):
    """The first sends a wrong half and breaks off; with its half the second's is wrong too."""
    serve_from(monkeypatch, server, mirror, mirror)
    server.content, server.cut = CONTENT[::-1], 5000
    fetch("numbers")
    assert mirror.asked == ["bytes=5000-", None]
    assert files_of(folder) == {"numbers.bin": CONTENT}


def test_when_all_mirrors_fail_each_is_told(server, mirror, folder, monkeypatch):
    serve_from(monkeypatch, server, mirror)
    server.content, mirror.status = CONTENT[::-1], 503
    with pytest.raises(UnavailableError, match="by hand") as raised:
        fetch("numbers")
    for words in ("nothing was kept", "503", *DATASETS["numbers"].files[0].urls):
        assert words in str(raised.value)
    mirror.content, mirror.status = b"short" * 4000, 200
    with pytest.raises(InputError) as raised:
        fetch("numbers")
    assert str(raised.value).count("nothing was kept") == 2
    assert files_of(folder) == {}


# ---- sets of several files


@pytest.fixture
def parts(server, folder, monkeypatch):
    """Two gzipped files of one content, the second known by its content too."""
    server.content = gzip.compress(CONTENT, 9, mtime=0)
    url = (f"http://127.0.0.1:{server.server_port}/part",)
    packed, content = (hashlib.sha256(c).hexdigest() for c in (server.content, CONTENT))
    files = (
        RemoteFile("set/a.gz", url, packed, len(server.content)),
        RemoteFile("set/b.gz", url, packed, len(server.content), content),
    )
    dataset = Dataset("parts", files, "images", licence="none", origin="test")
    monkeypatch.setitem(DATASETS, "parts", dataset)
    return dataset


def test_of_several_files_only_those_that_lack_are_fetched(server, folder, parts):
    assert find("parts") is None
    seen: list[tuple[int, int]] = []
    assert fetch("parts", progress=lambda *at: seen.append(at)) == folder / "set"
    size = len(server.content)
    assert seen == [(size, 2 * size), (2 * size, 2 * size)]
    assert find("parts") == folder / "set"
    (folder / "set" / "a.gz").unlink()
    assert find("parts") is None
    with pytest.raises(UnavailableError, match=r"a\.gz: it is not here, and offline"):
        fetch("parts", offline=True)
    fetch("parts")
    assert len(server.asked) == 3


def test_a_file_that_was_packed_again_is_known_by_its_content(server, folder, parts):
    fetch("parts")
    again = gzip.compress(CONTENT, 1, mtime=7)
    assert again != server.content
    (folder / "set" / "b.gz").write_bytes(again)
    assert find("parts") == folder / "set"
    for wrong in (gzip.compress(CONTENT + b"x"), again[:-1], CONTENT, b""):
        (folder / "set" / "b.gz").write_bytes(wrong)
        with pytest.raises(InputError, match="is not the original"):
            find("parts")
    (folder / "set" / "b.gz").write_bytes(again)
    (folder / "set" / "a.gz").write_bytes(again)  # for this one no content is known
    with pytest.raises(InputError, match=r"a\.gz is not the original"):
        find("parts")


def test_every_dataset_is_described_in_full():
    for dataset in DATASETS.values():
        assert all((dataset.licence, dataset.origin, dataset.files))
        for file in dataset.files:
            assert file.size > 0
            for sha256 in (file.sha256, file.content_sha256 or "0" * 64):
                assert len(bytes.fromhex(sha256)) == 32
            assert all(url.startswith(("https://", "http://")) for url in file.urls)
            assert os.path.dirname(file.filename) == os.path.dirname(dataset.files[0].filename)
    for name in ("mnist", "fashion-mnist", "cifar10"):
        assert all(len(file.urls) > 1 for file in DATASETS[name].files)


def test_mnist_is_the_original(real_data, monkeypatch):
    path = real_data("mnist")
    monkeypatch.setenv("TINYGEN_DATA", os.fspath(path.parent))
    assert find("mnist") == path


def test_an_unknown_name():
    with pytest.raises(UsageError, match=r"'mnisst'.*tinyshakespeare"):
        fetch("mnisst")


def test_tinyshakespeare_is_the_original(real_data, monkeypatch):
    path = real_data("tinyshakespeare.txt")
    monkeypatch.setenv("TINYGEN_DATA", os.fspath(path.parent))
    assert find("tinyshakespeare") == path
    assert path.stat().st_size == DATASETS["tinyshakespeare"].size
