"""A folder of files that is written as a whole or not at all, and read without trust."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from tsforecast.serving._codec import dumps, loads, refused

__all__ = ["MANIFEST", "read_folder", "write_folder"]

MANIFEST = "manifest.json"
_MOST_OF_A_MANIFEST = 2**24  # bytes


def write_folder(path: Path, about: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Write files and their manifest into a folder that is put in place when it is complete.

    A folder that is there is replaced, if it has a manifest.  Whenever the process is killed,
    `read_folder` finds the old files or the new ones.

    Parameters
    ----------
    path : Path
    about : mapping
        The manifest, to which sizes and check sums are added.
    files : mapping of str to bytes

    Raises
    ------
    FileNotFoundError
        If the folder that `path` lies in does not exist.
    FileExistsError
        If there is something else at `path`.
    """
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"expected a folder {path.parent}, found none. Make it first.")
    there = path.exists()
    if there and not (path / MANIFEST).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(
            f"expected {path} to be absent, empty or a saved model, found something else. Choose "
            "another name."
        )
    sums = {name: {"bytes": len(data), "sha256": _sha256(data)} for name, data in files.items()}
    manifest = {**about, "files": sums}
    manifest["sha256"] = _sha256(dumps(manifest))
    part, before = (path.with_name(f".{path.name}.{os.getpid()}.{end}") for end in _ENDS)
    for stale in (part, before):
        shutil.rmtree(stale, ignore_errors=True)
    try:
        part.mkdir()
        for name, data in {**files, MANIFEST: dumps(manifest, indent=1)}.items():
            with open(part / name, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        _sync(part)
        if there:
            os.rename(path, before)
        try:
            os.rename(part, path)
        except BaseException:
            if there:
                os.rename(before, path)
            raise
        _sync(path.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    for stale in _leftovers(path, "before", "part"):
        shutil.rmtree(stale, ignore_errors=True)


def read_folder(
    path: Path,
    names: Collection[str],
    *,
    most_bytes: int,
    check: Callable[[dict[str, Any]], None],
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read a manifest and the files it names, which are these, and compare all check sums.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    DataError
        If a file is missing, is no plain file, or is not the one that was written.
    """
    path = Path(os.path.realpath(path))
    while True:
        found = path
        if not path.exists():  # a save was killed between two renames, or is there just now
            found = next(iter(_leftovers(path, "before", alive=True)), path)
        seen = _identity(found)
        try:
            return _read(found, names, most_bytes, check)
        except Exception:
            if _identity(found) == seen:
                raise
            # replaced while it was read: look again


_ENDS = ("part", "before")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


def _read(
    path: Path, names: Collection[str], most_bytes: int, check: Callable[[dict[str, Any]], None]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    if not path.is_dir():
        raise FileNotFoundError(f"expected a folder {path} of a saved model, found none.")
    raw = _bytes(path, MANIFEST, _MOST_OF_A_MANIFEST)
    manifest = loads(raw, MANIFEST)
    expected = "a manifest as tsforecast.save writes it"
    if not isinstance(manifest, dict):
        raise refused("manifest.json holds something else", expected=expected, found="no object")
    check(manifest)
    try:
        noted = manifest["sha256"]
        own = _sha256(dumps({name: tree for name, tree in manifest.items() if name != "sha256"}))
        files = {
            str(name): (int(about["bytes"]), str(about["sha256"]))
            for name, about in manifest["files"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise refused(
            "manifest.json is incomplete", expected=expected, found=type(error).__name__
        ) from None
    if own != noted:
        raise refused(
            "manifest.json has changed", expected="its own check sum", found="another one"
        )
    if set(files) != set(names):
        raise refused("other files are named", expected=f"{sorted(names)}", found=f"{len(files)}")
    total = sum(size for size, _ in files.values())
    if total > most_bytes or any(size < 0 for size, _ in files.values()):
        raise refused(
            "files are too large",
            expected=f"at most {most_bytes} bytes (see max_bytes)",
            found=f"{total}",
        )
    contents = {}
    for name, (size, digest) in files.items():
        data = _bytes(path, name, size)
        if len(data) != size or _sha256(data) != digest:
            raise refused(
                f"{name} has changed",
                expected=f"{size} bytes with the check sum of the manifest",
                found=f"{len(data)} bytes" + ("" if len(data) != size else " with another one"),
            )
        contents[name] = data
    return manifest, contents


def _bytes(folder: Path, name: str, most: int) -> bytes:
    """Read a plain file of at most so many bytes (one more shows that it is larger)."""
    try:
        # a link is not followed, and a pipe is not waited for
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        handle = os.open(folder / name, flags | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        raise refused(
            f"{name} cannot be opened",
            expected="a plain file, no link",
            found=getattr(error, "strerror", None) or type(error).__name__,
        ) from None
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode):
        os.close(handle)
        raise refused(f"{name} is no file", expected="a plain file", found="something else")
    with os.fdopen(handle, "rb") as file:
        if about.st_size > most:
            raise refused(
                f"{name} has grown", expected=f"{most} bytes", found=f"{about.st_size} bytes"
            )
        return file.read(most + 1)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sync(folder: Path) -> None:
    """Write down which files a folder holds, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _leftovers(path: Path, *ends: str, alive: bool = False) -> list[Path]:
    """Folders that savers of `path` have left, of processes that have ended (or of all)."""
    found = []
    for stale in path.parent.glob(f".{_escaped(path.name)}.*"):
        owner, _, end = stale.name[len(path.name) + 2 :].partition(".")
        if end in ends and owner.isdigit() and (alive or not _runs(int(owner))):
            found.append(stale)
    return sorted(found, key=lambda stale: stale.stat().st_mtime, reverse=True)


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _runs(process: int) -> bool:
    if process == os.getpid():
        return False  # its own are done with
    if os.name == "nt":  # where a signal 0 is no question
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
