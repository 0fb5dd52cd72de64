"""Public data sets for those who have a connection: fetched once, whole or not at all.

The cache is the folder itself. What a broken connection has left is continued; a file gets its name
only when all of it is there and its checksum, where one is known, is right.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tsforecast._checks import bad_parameter, choice, fail, positive_int
from tsforecast._progress import progress_bar

__all__ = ["download", "fetch_physionet2012", "fetch_physionet2019"]

_CHUNK = 1 << 16
_BROKEN = (ConnectionError, TimeoutError, http.client.HTTPException, urllib.error.URLError)

_2012 = "https://physionet.org/files/challenge-2012/1.0.0/"
_2019 = "https://archive.physionet.org/users/shared/challenge-2019/"
# of the archives none is recorded: they were never fetched here, only copies of what is in them
_KNOWN = {
    "Outcomes-a.txt": "2613ea60ccda29f87571a7d6b09ad130858a8ccd66325bd073365925026883c2",
}


def fetch_physionet2012(
    folder: str | Path,
    *,
    sets: Sequence[str] = ("a",),
    base_url: str = _2012,
    checksums: Mapping[str, str] | None = None,
    attempts: int = 5,
    timeout: float = 60.0,
    verbose: int = 1,
) -> Path:
    """Download the PhysioNet/CinC Challenge 2012, for `load_physionet2012`.

    Parameters
    ----------
    folder : str or Path
        Where to keep the archives; made if need be. What is there is not fetched again.
    sets : sequence of {"a", "b", "c"}
        4,000 stays each, about 8 MB, with their outcomes.
    base_url : str
        The folder on the server that holds ``set-a.tar.gz`` and ``Outcomes-a.txt``.
    checksums : mapping, optional
        File name to SHA-256, beside the one known (``Outcomes-a.txt``) and before it. Of the other
        files none is recorded here: what arrives is compared with its announced length alone.
    attempts : int
        How often to try a file; each goes on where the last one broke off, if the server can.
    timeout : float
        Seconds without a byte that count as broken.
    verbose : int
        1: a bar of progress, where there is a terminal or a notebook.

    Returns
    -------
    Path
        The folder: ``load_physionet2012(fetch_physionet2012("data"))``.

    Raises
    ------
    ConnectionError
        If the server cannot be reached, does not have the file, or breaks off again and again.
    DataError
        If a checksum is wrong; the file is removed.

    Notes
    -----
    The data are licensed under the Open Data Commons Attribution License 1.0: cite Silva and others
    (2012) and PhysioNet.

    Examples
    --------
    >>> panel = load_physionet2012(fetch_physionet2012("data/physionet2012"))  # doctest: +SKIP
    """
    names = []
    for letter in _sequence("sets", sets):
        choice("sets", letter, ("a", "b", "c"))
        names += [f"Outcomes-{letter}.txt", f"set-{letter}.tar.gz"]
    return _fetch(folder, names, base_url, checksums, attempts, timeout, verbose)


def fetch_physionet2019(
    folder: str | Path,
    *,
    sets: Sequence[str] = ("A", "B"),
    base_url: str = _2019,
    checksums: Mapping[str, str] | None = None,
    attempts: int = 5,
    timeout: float = 60.0,
    verbose: int = 1,
) -> Path:
    """Download the PhysioNet/CinC Challenge 2019, for `load_physionet2019`.

    Parameters
    ----------
    folder : str or Path
        Where to keep the archives; made if need be. What is there is not fetched again.
    sets : sequence of {"A", "B"}
        Hospitals: 20,336 and 20,000 stays.
    base_url : str
        The folder on the server that holds ``training_setA.zip``.
    checksums : mapping, optional
        File name to SHA-256. None is recorded here: without it what arrives is compared with its
        announced length alone.
    attempts : int
        How often to try a file; each goes on where the last one broke off, if the server can.
    timeout : float
        Seconds without a byte that count as broken.
    verbose : int
        1: a bar of progress, where there is a terminal or a notebook.

    Returns
    -------
    Path
        The folder: ``load_physionet2019(fetch_physionet2019("data"))``.

    Raises
    ------
    ConnectionError
        If the server cannot be reached, does not have the file, or breaks off again and again.
    DataError
        If a checksum is wrong; the file is removed.

    Notes
    -----
    The data are licensed under Creative Commons Attribution 4.0: cite Reyna and others (2020) and
    PhysioNet.

    Examples
    --------
    >>> panel = load_physionet2019(fetch_physionet2019("data/physionet2019"))  # doctest: +SKIP
    """
    names = []
    for letter in _sequence("sets", sets):
        choice("sets", letter, ("A", "B"))
        names.append(f"training_set{letter}.zip")
    return _fetch(folder, names, base_url, checksums, attempts, timeout, verbose)


def _sequence(name: str, given: Sequence[str]) -> list[str]:
    if isinstance(given, str) or not len(given):
        raise bad_parameter(name, expected="a list of letters, not empty", found=given)
    return list(given)


def _fetch(
    folder: str | Path,
    names: Sequence[str],
    base_url: str,
    checksums: Mapping[str, str] | None,
    attempts: int,
    timeout: float,
    verbose: int,
) -> Path:
    known = {**_KNOWN, **(checksums or {})}
    root = Path(folder).expanduser()
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        url = f"{base_url.rstrip('/')}/{name}"
        download(
            url,
            root / name,
            sha256=known.get(name),
            attempts=attempts,
            timeout=timeout,
            verbose=verbose,
        )
    return root


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    attempts: int = 5,
    timeout: float = 60.0,
    pause: float = 1.0,
    verbose: int = 1,
) -> Path:
    """Fetch a file, unless it is there, and give it its name when it is whole.

    Parameters
    ----------
    url : str
        http or https.
    target : Path
        The file. Until it is whole, what has come lies beside it, as ``<name>.part``.
    sha256 : str, optional
        Its checksum. A file that is there and has another one is fetched again.
    attempts : int
        How often to try.
    timeout : float
        Seconds without a byte that count as broken.
    pause : float
        Seconds before the second attempt; twice as many before each further one.
    verbose : int
        0: no bar of progress.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    ConnectionError
        If it could not be had. What has come stays, and the next call goes on from there.
    DataError
        If the checksum is wrong.
    ValueError
        If a parameter cannot be.
    """
    positive_int("attempts", attempts)
    if urlsplit(url).scheme not in ("http", "https"):
        raise bad_parameter("base_url", expected="an address of http or https", found=url)
    if target.is_file() and (sha256 is None or _sha256(target) == sha256.lower()):
        return target
    part = target.with_name(target.name + ".part")
    for attempt in range(attempts):
        try:
            _continue(url, part, timeout, verbose)
            break
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:
                raise ConnectionError(
                    f"download failed: expected a file at {url}, found HTTP {error.code} "
                    f"{error.reason}. Check base_url=."
                ) from error
            problem: Exception = error
        except _BROKEN as error:
            problem = error
        if attempt + 1 == attempts:
            size = part.stat().st_size if part.is_file() else 0
            raise ConnectionError(
                f"download failed: expected all of {url}, found {type(problem).__name__}: "
                f"{problem} after {attempts} attempts. {size:,} bytes are kept: call again "
                "to go on."
            ) from problem
        time.sleep(pause * 2**attempt)
    found = _sha256(part)
    if sha256 is not None and found != sha256.lower():
        _forget(part)
        raise fail(
            "checksum is wrong",
            expected=f"SHA-256 {sha256.lower()} of {target.name}",
            found=found,
            advice=f"Was it changed on the way, or replaced at {url}? It was removed.",
        )
    os.replace(part, target)
    _forget(part)
    return target


def _continue(url: str, part: Path, timeout: float, verbose: int) -> None:
    """Fetch what is missing of a file; raise one of `_BROKEN` if it ends early."""
    tag = part.with_name(part.name + ".tag")
    have = part.stat().st_size if part.is_file() else 0
    version = tag.read_text() if tag.is_file() else ""
    if not version:
        have = 0  # it cannot be known to be the beginning of the same file
    headers = {"User-Agent": "tsforecast", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    try:
        response: Any = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=timeout
        )
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # all of it was there, or it has become shorter
            if (error.headers.get("Content-Range") or "").endswith(f"/{have}"):
                return
            _forget(part)
            raise ConnectionError("the file has changed on the server") from error
        raise
    with response:
        ranged = response.headers.get("Content-Range") or ""
        if response.status == 206 and not ranged.startswith(f"bytes {have}-"):
            _forget(part)
            raise ConnectionError(f"the server sent another range than asked for: {ranged!r}")
        start = have if response.status == 206 else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        new = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        # a weak tag is of no use to If-Range
        tag.write_text("" if new.startswith("W/") else new)
        with part.open("ab" if start else "wb") as file:
            _copy(response, file, start, total, part.name.removesuffix(".part"), verbose)
            file.flush()
            os.fsync(file.fileno())
    size = part.stat().st_size
    if total is not None and size != total:
        raise ConnectionError(f"the connection broke off at {size:,} of {total:,} bytes")


def _copy(response: Any, file: Any, start: int, total: int | None, name: str, verbose: int) -> None:
    with progress_bar(total=total or 0, description=name, verbose=verbose) as bar:
        bar.update(start)
        while piece := response.read(_CHUNK):
            file.write(piece)
            bar.update(len(piece))


def _forget(part: Path) -> None:
    for path in (part, part.with_name(part.name + ".tag")):
        path.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
