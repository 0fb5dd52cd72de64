"""A folder of files that is written as a whole or not at all, and read without trust."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from tsforecast._checks import DataError
from tsforecast.serving._codec import dumps, loads, refused
from tsforecast.serving._disk import alone, beside, sync_folder, write_synced

__all__ = ["MANIFEST", "read_folder", "write_folder"]

MANIFEST = "manifest.json"
MOST_OF_TEXT = 2**25  # bytes of a file of JSON: read, it takes many times that
MOST_OF_A_MANIFEST = 2**22
_TRIES = 100  # at a folder that is being replaced
_PATIENCE = 60.0  # seconds, with others who save at the same place
_MOST = 2**63


def write_folder(path: Path, about: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Write files and their manifest into a folder that is put in place when it is complete.

    A folder of such files that is there is replaced.  Whenever the process is killed,
    `read_folder` finds the old files or the new ones.  Others who save at the same place wait.

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
    path, here = Path(os.path.realpath(path)), Path(os.getcwd())
    if path in (here, *here.parents):
        raise FileExistsError(
            f"expected a folder of its own for the model, found the one that this process works "
            f"in, {path}. Give it a name there."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"expected a folder {path.parent}, found none. Make it first.")
    sums = {name: {"bytes": len(data), "sha256": _sha256(data)} for name, data in files.items()}
    manifest = {**about, "files": sums}
    manifest["sha256"] = _sha256(dumps(manifest))
    part, before = beside(path, "part"), beside(path, "before")
    with alone(beside(path, "lock"), patience=_PATIENCE):
        names = {MANIFEST, *files}
        for stale in (part, before):
            if stale.exists() and not _is_ours(stale, names):
                raise FileExistsError(
                    f"expected {stale} to be absent or left by an earlier save, found other files. "
                    "Move it away, or choose another name."
                )
        if not path.exists() and before.is_dir():  # a save was killed between its two renames
            os.rename(before, path)
        if path.exists() and not _may_be_replaced(path, names):
            raise FileExistsError(
                f"expected {path} to be absent, empty or a saved model and nothing else, found "
                "other files. Choose another name."
            )
        for stale in (part, before):
            shutil.rmtree(stale, ignore_errors=True)
        try:
            mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
            part.mkdir(mode=0o777 if mode is None else 0o700)
            for name, data in {**files, MANIFEST: dumps(manifest, indent=1)}.items():
                write_synced(part / name, data)
            if mode is not None:
                os.chmod(part, mode)
            sync_folder(part)
            if path.exists():
                os.rename(path, before)
            try:
                os.rename(part, path)
            except BaseException:
                if before.is_dir() and not path.exists():
                    os.rename(before, path)
                raise
            sync_folder(path.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)


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
    for trial in range(_TRIES):
        try:
            with _opened(path) as folder:
                try:
                    return _read(folder, names, most_bytes, check)
                except DataError:
                    if _is_in_place(folder, path):
                        raise
        except FileNotFoundError:
            if trial >= 3:
                raise
        time.sleep(0.001)  # it is being replaced: look again
    raise TimeoutError(f"{path} was replaced {_TRIES} times while it was read. Try again.")


def _may_be_replaced(path: Path, names: Collection[str]) -> bool:
    """Whether a folder is empty, or holds a saved model, whole or not, and nothing else."""
    if not _is_ours(path, names):
        return False
    there = {entry.name for entry in path.iterdir()}
    if there in (set(), set(names)):
        return True
    try:
        with _opened(path) as folder:
            about = loads(_bytes(folder, MANIFEST, MOST_OF_A_MANIFEST), MANIFEST)
    except DataError:
        return False
    return isinstance(about, dict) and {"class", "files"} <= set(about)


def _is_ours(path: Path, names: Collection[str]) -> bool:
    """Whether there is a folder with plain files of these names alone, or with none."""
    if not path.is_dir() or path.is_symlink():
        return False
    return all(
        entry.name in names and entry.is_file() and not entry.is_symlink()
        for entry in path.iterdir()
    )


# ---------------------------------------------------------------------------------------- reading


class _Folder:
    """A folder that is held open: its files are those of one moment, even if it is renamed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.handle: int | None = None
        if os.open in os.supports_dir_fd:
            self.handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def open(self, name: str) -> int:
        # a link is not followed, and a pipe is not waited for
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        flags |= getattr(os, "O_BINARY", 0)
        if self.handle is None:
            return os.open(self.path / name, flags)
        return os.open(name, flags, dir_fd=self.handle)

    def close(self) -> None:
        if self.handle is not None:
            os.close(self.handle)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[_Folder]:
    """Open a folder, or what a save has put aside that was killed, or is under way."""
    before = beside(path, "before")
    try:
        folder = _Folder(path if path.exists() or not before.is_dir() else before)
        if not folder.path.is_dir():
            raise FileNotFoundError
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"expected a folder {path} of a saved model, found none.") from None
    try:
        yield folder
    finally:
        folder.close()


def _is_in_place(folder: _Folder, path: Path) -> bool:
    """Whether an open folder is still where it was found."""
    if folder.handle is None:
        return True
    held = os.fstat(folder.handle)
    for place in (path, beside(path, "before")):
        with contextlib.suppress(OSError):
            about = os.stat(place)
            if (about.st_dev, about.st_ino) == (held.st_dev, held.st_ino):
                return place == path or not path.exists()
    return False


def _read(
    folder: _Folder,
    names: Collection[str],
    most_bytes: int,
    check: Callable[[dict[str, Any]], None],
) -> tuple[dict[str, Any], dict[str, bytes]]:
    manifest = loads(_bytes(folder, MANIFEST, MOST_OF_A_MANIFEST), MANIFEST)
    expected = "a manifest as tsforecast.save writes it"
    if not isinstance(manifest, dict):
        raise refused("manifest.json holds something else", expected=expected, found="no object")
    check(manifest)
    try:
        noted = manifest["sha256"]
        own = _sha256(dumps({name: tree for name, tree in manifest.items() if name != "sha256"}))
        files = {
            name: (_size(about["bytes"]), about["sha256"])
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
    if total > most_bytes:
        raise refused(
            "files are too large",
            expected=f"at most {most_bytes} bytes (see max_bytes)",
            found=f"{total}",
        )
    contents = {}
    for name, (size, digest) in files.items():
        if name.endswith(".json") and size > MOST_OF_TEXT:
            raise refused(
                f"{name} is too large", expected=f"at most {MOST_OF_TEXT} bytes", found=f"{size}"
            )
        data = _bytes(folder, name, size)
        if len(data) != size or _sha256(data) != digest:
            raise refused(
                f"{name} has changed",
                expected=f"{size} bytes with the check sum of the manifest",
                found=f"{len(data)} bytes" + ("" if len(data) != size else " with another one"),
            )
        contents[name] = data
    return manifest, contents


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _MOST:
        raise ValueError("no number of bytes")
    return value


def _bytes(folder: _Folder, name: str, most: int) -> bytes:
    """Read a plain file of at most so many bytes (one more shows that it is larger)."""
    try:
        handle = folder.open(name)
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
                f"{name} has grown",
                expected=f"at most {most} bytes",
                found=f"{about.st_size} bytes",
            )
        return file.read(most + 1)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
