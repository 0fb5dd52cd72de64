"""Downloads from a server on this machine that breaks off, lies, or does not know ranges."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tsforecast as tsf
from tsforecast.data.download import download

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files`; what it does wrong is in the other attributes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"data.bin": CONTENT}
        self.asked: list[tuple[str, str | None]] = []  # file and range of every request
        self.break_after: list[int] = []  # bytes after which the next answers break off
        self.errors: list[int] = []  # codes of the next answers
        self.ranges = True
        self.tag: str | None = '"v1"'
        self.length = True
        self.shift = 0  # starts a range this many bytes late

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        wanted = self.headers.get("Range")
        self.server.asked.append((name, wanted))
        if self.server.errors:
            return self.send_error(self.server.errors.pop(0))
        if name not in self.server.files:
            return self.send_error(404)
        content, begin = self.server.files[name], 0
        same = self.headers.get("If-Range") in (None, self.server.tag)
        if wanted and self.server.ranges and same:
            begin = int(wanted.removeprefix("bytes=").rstrip("-")) + self.server.shift
            if begin >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                return self.end_headers()
            self.send_response(206)
            last = f"{begin}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", f"bytes {last}")
        else:
            self.send_response(200)
        if self.server.tag:
            self.send_header("ETag", self.server.tag)
        if self.server.length:
            self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        body = content[begin:]
        if self.server.break_after:
            body = body[: self.server.break_after.pop(0)]
        self.wfile.write(body)
        return None

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


def get(server: Server, folder: Path, **options: Any) -> Path:
    options = {"sha256": SHA, "pause": 0.0, "timeout": 5.0} | options
    return download(f"{server.url}/data.bin", folder / "data.bin", **options)


def test_file_arrives_and_nothing_else_is_left(server: Server, tmp_path: Path) -> None:
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["data.bin"]


@pytest.mark.parametrize("sha256", [SHA, SHA.upper(), None])
def test_file_that_is_there_is_not_fetched_again(
    server: Server, tmp_path: Path, sha256: str | None
) -> None:
    (tmp_path / "data.bin").write_bytes(CONTENT)
    get(server, tmp_path, sha256=sha256)
    assert server.asked == []


def test_file_that_is_there_with_another_checksum_is_fetched(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "data.bin").write_bytes(b"something else")
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_broken_connection_goes_on_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.break_after = [100_000, 50_000]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [
        ("data.bin", None),
        ("data.bin", "bytes=100000-"),
        ("data.bin", "bytes=150000-"),
    ]


def test_what_has_come_is_kept_for_the_next_call(server: Server, tmp_path: Path) -> None:
    server.break_after = [100_000]
    with pytest.raises(ConnectionError, match="after 1 attempts. 100,000 bytes are kept: call"):
        get(server, tmp_path, attempts=1)
    assert not (tmp_path / "data.bin").exists()
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == ("data.bin", "bytes=100000-")


def test_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.ranges, server.break_after = False, [100_000]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_file_that_has_changed_meanwhile_is_not_mixed(server: Server, tmp_path: Path) -> None:
    server.break_after = [100_000]
    with pytest.raises(ConnectionError):
        get(server, tmp_path, attempts=1)
    server.files["data.bin"], server.tag = CONTENT[::-1], '"v2"'
    assert get(server, tmp_path, sha256=None).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
def test_what_cannot_be_known_to_be_the_same_file_starts_over(
    server: Server, tmp_path: Path, tag: str | None
) -> None:
    server.tag, server.break_after = tag, [100_000]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, None]


def test_part_that_is_whole_already_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    (tmp_path / "data.bin.part.tag").write_text('"v1"')
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["data.bin"]


def test_part_that_is_longer_than_the_file_starts_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT + b"more")
    (tmp_path / "data.bin.part.tag").write_text('"v1"')
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_range_that_was_not_asked_for_starts_over(server: Server, tmp_path: Path) -> None:
    server.break_after, server.shift = [100_000], 7
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=100000-", None]


def test_wrong_checksum_removes_the_file(server: Server, tmp_path: Path) -> None:
    with pytest.raises(
        tsf.DataError, match=f"checksum is wrong: expected SHA-256 {'0' * 64}.*{SHA}"
    ):
        get(server, tmp_path, sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_old_file_stays_until_the_new_one_is_whole(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"old")
    server.files["data.bin"] = b"damaged"
    with pytest.raises(tsf.DataError, match="checksum is wrong"):
        get(server, tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == b"old"


def test_errors_that_pass_are_tried_again_and_others_are_not(
    server: Server, tmp_path: Path
) -> None:
    server.errors = [503, 429]
    assert get(server, tmp_path).read_bytes() == CONTENT
    server.asked.clear()
    with pytest.raises(ConnectionError, match=r"found HTTP 404 Not Found. Check base_url="):
        download(f"{server.url}/none.bin", tmp_path / "none.bin", pause=0.0)
    assert len(server.asked) == 1
    server.errors = [500] * 3
    with pytest.raises(ConnectionError, match="HTTPError.*after 3 attempts. 0 bytes"):
        download(f"{server.url}/data.bin", tmp_path / "other.bin", attempts=3, pause=0.0)


def test_server_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="download failed: expected all of http.*URLError"):
        download("http://127.0.0.1:9/x", tmp_path / "x", attempts=2, pause=0.0, timeout=2.0)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "set-a.tar.gz"])
def test_only_the_web_is_a_source(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="expected an address of http or https"):
        download(url, tmp_path / "x")


def test_file_without_announced_length_arrives(server: Server, tmp_path: Path) -> None:
    server.length = False
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_attempts_are_a_whole_number(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'attempts': expected a whole number of at least 1"):
        get(server, tmp_path, attempts=0)


# ------------------------------------------------------------------------------------- challenges

RECORD = b"Time,Parameter,Value\n00:00,RecordID,132539\n00:00,Age,54\n00:07,HR,73\n"
OUTCOME = b"RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n132539,6,1,5,-1,0\n"


def packed(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_challenge_of_2012_is_fetched_checked_and_loaded(server: Server, tmp_path: Path) -> None:
    server.files = {
        "c/Outcomes-a.txt": OUTCOME,
        "c/set-a.tar.gz": packed("set-a/132539.txt", RECORD),
    }
    own = {"Outcomes-a.txt": hashlib.sha256(OUTCOME).hexdigest()}
    folder = tsf.fetch_physionet2012(
        tmp_path / "new" / "physionet2012", base_url=f"{server.url}/c", checksums=own
    )
    panel = tsf.load_physionet2012(folder)
    assert panel["HR"].dropna().tolist() == [73]
    assert panel["In-hospital_death"].tolist() == [0, 0]
    assert len(server.asked) == 2
    tsf.fetch_physionet2012(folder, base_url=f"{server.url}/c/", checksums=own)
    assert len(server.asked) == 2


def test_outcomes_that_are_not_the_published_ones_are_refused(
    server: Server, tmp_path: Path
) -> None:
    server.files = {"Outcomes-a.txt": OUTCOME}
    with pytest.raises(tsf.DataError, match="expected SHA-256 2613ea60.* of Outcomes-a.txt"):
        tsf.fetch_physionet2012(tmp_path, base_url=server.url)


@pytest.mark.skipif(
    not os.environ.get("TSFORECAST_DATA"),
    reason="the optional data files are looked for in TSFORECAST_DATA, which is not set",
)
def test_the_checksum_known_is_that_of_the_local_file(server: Server, tmp_path: Path) -> None:
    original = Path(os.environ["TSFORECAST_DATA"]) / "health" / "physionet2012" / "Outcomes-a.txt"
    server.files = {"Outcomes-a.txt": original.read_bytes()}
    with pytest.raises(ConnectionError, match="set-a.tar.gz, found HTTP 404"):
        tsf.fetch_physionet2012(tmp_path, base_url=server.url)
    assert (tmp_path / "Outcomes-a.txt").is_file()


def test_challenge_of_2019_is_fetched_by_hospital(server: Server, tmp_path: Path) -> None:
    server.files = {"training_setA.zip": b"a", "training_setB.zip": b"b"}
    tsf.fetch_physionet2019(tmp_path, base_url=server.url, sets=["B"])
    assert [path.name for path in tmp_path.iterdir()] == ["training_setB.zip"]
    tsf.fetch_physionet2019(tmp_path, base_url=server.url)
    assert [name for name, _ in server.asked] == ["training_setB.zip", "training_setA.zip"]


@pytest.mark.parametrize("sets", ["A", [], ["C"], ["a", "z"]])
def test_sets_that_there_are_not_are_named(tmp_path: Path, sets: Any) -> None:
    for fetch in (tsf.fetch_physionet2012, tsf.fetch_physionet2019):
        if sets != ["C"] or fetch is tsf.fetch_physionet2019:
            with pytest.raises(ValueError, match="'sets': expected"):
                fetch(tmp_path, sets=sets, base_url="http://127.0.0.1:9")


def test_folder_of_a_download_begun_is_no_set(tmp_path: Path) -> None:
    (tmp_path / "set-a.tar.gz.part").write_bytes(b"half")
    with pytest.raises(FileNotFoundError, match="no records"):
        tsf.load_physionet2012(tmp_path)
