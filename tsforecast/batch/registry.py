"""Models of a job, each version in a folder of its own, and who among them is champion."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import pandas as pd

from tsforecast._checks import DataError, first, positive_int
from tsforecast.batch.exits import ModelError
from tsforecast.batch.files import (
    make_folder,
    replace_file,
    safe_name,
    sweep_temp,
    sync_folder,
    temp_place,
)
from tsforecast.serving.persist import load, save

__all__ = ["Registry"]

_ABOUT, _ALIASES, _MANIFEST = "about.json", "aliases.json", "manifest.json"
_VERSION = re.compile(r"[0-9]{4,9}")
_ROLES = ("champion", "challenger")
_LIBRARIES = ("numpy", "pandas", "scikit-learn", "torch", "tsforecast")
_MOST = 2**25  # bytes of a file of JSON
Versions = list[str]


class Registry:
    """Versions of one model: ``<folder>/<name>/<version>/``, and ``aliases.json`` beside them.

    A version is a saved model (`tsforecast.save`) with ``about.json`` beside its files: what it
    was fitted on, and what its inputs looked like. It is put in place as a whole and never written
    again. ``aliases.json`` says who is *champion* (forecasts are made with it), who *challenger*,
    who was champion before, and what has happened; it is replaced as a whole.

    Who writes holds the lock of the job: a registry has none of its own.

    Parameters
    ----------
    folder : path
        Of all models; made when the first version is added.
    name : str
        Of this model. Any text: on disk it has a safe name.

    Examples
    --------
    >>> import tempfile
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(2, 50, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     models = Registry(folder, "prices")
    ...     for horizon in (1, 5):
    ...         model = tsf.Naive(target="close", horizon=horizon).fit(panel)
    ...         version = models.promote(models.add(model, {"run_date": "2024-06-28"}))
    ...     version, models.rollback()
    ...     champion = models.load("champion")
    ('0002', '0001')
    >>> champion.horizon
    1
    """

    def __init__(self, folder: str | os.PathLike[str], name: str) -> None:
        self.folder = Path(folder) / safe_name(name)
        self.name = name

    # ------------------------------------------------------------------------------------- reading

    def versions(self) -> list[str]:
        """Give all versions in order of their making."""
        if not self.folder.is_dir():
            return []
        found = (entry.name for entry in os.scandir(self.folder) if entry.is_dir())
        return sorted((name for name in found if _VERSION.fullmatch(name)), key=int)

    def find(self, which: str) -> str:
        """Give the version of an alias, or the version itself if there is one.

        Raises
        ------
        ModelError
            If there is none.
        """
        if which in _ROLES:
            version = self.aliases()[which]
            if version is None:
                raise ModelError.of(
                    f"model {self.name!r} has no {which}",
                    expected="a version with this alias",
                    found=f"{len(self.versions())} versions, none of them {which}",
                    advice="Fit one, or promote one by hand.",
                )
            return str(version)
        if which not in self.versions():
            raise ModelError.of(
                f"model {self.name!r} has no version {which!r}",
                expected="'champion', 'challenger' or a version",
                found=first(self.versions()) or "no version at all",
                advice="Fit one, or look at the list of models.",
            )
        return which

    def load(self, which: str = "champion") -> Any:
        """Load the estimator of an alias or a version.

        Raises
        ------
        ModelError
            If there is none, or its files are not those that were written.
        """
        version = self.find(which)
        about = self.show(version)
        try:
            found = _sha256((self.folder / version / _MANIFEST).read_bytes())
            if found != about["manifest"]:
                raise DataError("manifest.json is not the one that was written")
            return load(self.folder / version)
        except (DataError, OSError) as error:
            raise _broken(self.name, version, error) from error

    def show(self, which: str = "champion") -> dict[str, Any]:
        """Give what is known of an alias or a version: its ``about.json``.

        Raises
        ------
        ModelError
            If there is none, or the file is not the one that was written.
        """
        version = self.find(which)
        try:
            about = _read(self.folder / version / _ABOUT)
            if about.pop("sha256") != _sha256(_bytes(about)) or about["version"] != version:
                raise DataError(f"{_ABOUT} is not the one that was written")
        except (DataError, OSError, ValueError, KeyError) as error:
            raise _broken(self.name, version, error) from error
        return about

    def aliases(self) -> dict[str, Any]:
        """Give ``champion``, ``challenger`` (versions, or None), ``champions`` and ``history``.

        ``champions`` are those who are or were champion, and were not rolled back, the present
        one last. ``history`` is what has happened, the latest last.

        Raises
        ------
        ModelError
            If the file cannot be read, or names versions that are not there.
        """
        path = self.folder / _ALIASES
        if not path.exists():
            return {"champion": None, "challenger": None, "champions": [], "history": []}
        try:
            tree = _read(path)
            champions, challenger = tree["champions"], tree["challenger"]
            history = tree["history"]
            named = {*champions, *([] if challenger is None else [challenger])}
            known = isinstance(history, list) and all("version" in event for event in history)
            if not known or len(set(champions)) < len(champions):
                raise DataError("it is not one that was written here")
            if lost := sorted(named - set(self.versions())):
                raise DataError(f"it names versions that are not there, {first(lost)}")
        except (DataError, OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError.of(
                f"{_ALIASES} of model {self.name!r} cannot be used",
                expected="the file as it was written",
                found=f"{type(error).__name__}: {str(error)[:200]}",
                advice="Bring the folder of models back from a copy, or move it away and fit anew.",
            ) from error
        champion = champions[-1] if champions else None
        return {
            "champion": champion,
            "challenger": challenger,
            "champions": champions,
            "history": history,
        }

    def champion_where(self, usable: Callable[[Mapping[str, Any]], bool]) -> str | None:
        """Give the latest champion that may be used, the present one first; None if none may.

        Parameters
        ----------
        usable : callable
            Of what `show` gives.

        Raises
        ------
        ModelError
            If what is known of a champion cannot be read: an older one is not taken in silence.
        """
        for version in reversed(self.aliases()["champions"]):
            if usable(self.show(version)):
                return str(version)
        return None

    def list(self) -> pd.DataFrame:
        """List all versions, the newest last.

        Returns
        -------
        DataFrame
            Index ``version``; columns ``role`` (``champion``, ``challenger``, ``former`` champion
            or none), ``estimator``, ``run_date``, ``cutoff`` (the latest row it has seen),
            ``series``, ``rows``, ``created``, ``model_id``. Of a version that cannot be read the
            role is followed by ``, broken``.
        """
        aliases = self.aliases()
        rows = []
        for version in self.versions():
            role = "former" if version in aliases["champions"] else ""
            for name in _ROLES:
                role = name if aliases[name] == version else role
            try:
                about = self.show(version)
            except ModelError:
                about, role = {}, f"{role}, broken" if role else "broken"
            span = about.get("span") or {}
            rows.append(
                {
                    "version": version,
                    "role": role,
                    **{name: about.get(name) for name in ("estimator", "run_date", "cutoff")},
                    **{name: span.get(name) for name in ("series", "rows")},
                    **{name: about.get(name) for name in ("created", "model_id")},
                }
            )
        columns = ["version", "role", "estimator", "run_date", "cutoff", "series", "rows"]
        table = pd.DataFrame(rows, columns=[*columns, "created", "model_id"])
        return table.set_index("version")

    # ------------------------------------------------------------------------------------- writing

    def add(self, estimator: Any, about: Mapping[str, Any]) -> str:
        """Add a version; it is no alias's yet.

        Parameters
        ----------
        estimator : object
            Fitted, of a kind that `tsforecast.save` takes. Its rows are not kept.
        about : mapping
            What JSON can hold. Added are ``version``, ``model``, ``model_id`` (name, version and
            the check sum of the content), ``estimator`` (class), ``created`` and ``libraries``.

        Returns
        -------
        str
            The version.

        Raises
        ------
        TypeError
            If it cannot be saved.
        OSError
            Where the file system refuses.
        """
        room = temp_place(make_folder(self.folder), "version")
        part = room / "model"  # what `save` puts beside it goes with the room
        try:
            room.mkdir()
            save(estimator, part)
            manifest = _sha256((part / _MANIFEST).read_bytes())
            while True:
                version = f"{int(max(self.versions(), key=int, default='0')) + 1:04d}"
                known = {
                    **about,
                    "version": version,
                    "model": self.name,
                    "model_id": f"{self.name}/{version}-{manifest[:8]}",
                    "estimator": type(estimator).__name__,
                    "created": _now(),
                    "libraries": {name: version_of(name) for name in _LIBRARIES},
                    "manifest": manifest,
                }
                known = json.loads(_bytes(known))  # what is read is what was summed
                tree = {**known, "sha256": _sha256(_bytes(known))}
                replace_file(part / _ABOUT, _bytes(tree, indent=1))
                try:
                    os.rename(part, self.folder / version)
                except OSError:
                    if not (self.folder / version).exists():
                        raise
                    continue  # somebody was faster
                sync_folder(self.folder)
                return version
        finally:
            shutil.rmtree(room, ignore_errors=True)

    def promote(self, which: str = "challenger", *, why: str = "by hand") -> str:
        """Make a version champion; a challenger is one no longer.

        It goes before all others, also at dates for which another one was fitted after it.

        Parameters
        ----------
        which : str
            An alias or a version.
        why : str
            For the history.

        Returns
        -------
        str
            The version.

        Raises
        ------
        ModelError
            If there is none, or it cannot be loaded.
        """
        return self._crown(which, why, len)

    def succeed(self, which: str, *, why: str) -> str:
        """Make a version champion of the dates from its own ``run_date`` on.

        As `promote`, but champions that were fitted for later dates stay before it: a model that
        was fitted for a date in the past is none for today.
        """
        own = str(self.show(which).get("run_date", ""))

        def place(champions: Versions) -> int:
            later = (
                at
                for at, other in enumerate(champions)
                if str(self.show(other).get("run_date", "")) > own
            )
            return next(later, len(champions))

        return self._crown(which, why, place)

    def challenge(self, which: str, *, why: str) -> str:
        """Make a version challenger, in place of another one that may be there."""
        version = self.find(which)
        aliases = self.aliases()
        self._write(aliases["champions"], version, aliases["history"], "challenge", version, why)
        return version

    def rollback(self, *, why: str = "by hand") -> str:
        """Make the champion before the present one champion again.

        Returns
        -------
        str
            The version that is champion now. The one that was is used for no date any more, unless
            it is promoted again.

        Raises
        ------
        ModelError
            If there was none before, or it cannot be loaded.
        """
        aliases = self.aliases()
        champions = aliases["champions"]
        if len(champions) < 2:
            raise ModelError.of(
                f"model {self.name!r} cannot be rolled back",
                expected="a champion before the present one",
                found=f"{len(champions)} champions in all",
                advice="Promote another version by hand.",
            )
        self.load(champions[-2])
        history = aliases["history"]
        self._write(champions[:-1], aliases["challenger"], history, "rollback", champions[-1], why)
        return str(champions[-2])

    def prune(self, keep: int, *, needed: Sequence[str] = (), why: str = "by hand") -> Versions:
        """Remove all versions but the newest ones and those that are needed.

        Champion, challenger and the champion before the present one, to whom `rollback` goes back,
        are needed in any case. Earlier champions that are removed are champion of no date any more.

        Parameters
        ----------
        keep : int
            How many of the newest versions stay, at least 1.
        needed : sequence of str
            Further versions that stay.
        why : str
            For the history.

        Returns
        -------
        list of str
            The versions that were removed.

        Raises
        ------
        ValueError
            If `keep` is none.
        ModelError
            If the aliases cannot be read.
        """
        positive_int("keep", keep)
        aliases, versions = self.aliases(), self.versions()
        champions = aliases["champions"]
        stay = {*versions[-keep:], *needed, *champions[-2:], aliases["challenger"]}
        gone = [version for version in versions if version not in stay]
        if not gone:
            return []
        champions = [version for version in champions if version in stay]
        history = [
            *aliases["history"],
            *({"at": _now(), "action": "prune", "version": v, "why": why} for v in gone),
        ]
        # the aliases first: they name nothing that is not there, whenever a process is killed
        self._write_aliases(champions, aliases["challenger"], history)
        for version in gone:
            room = temp_place(self.folder, "pruned")
            os.rename(self.folder / version, room)  # at once: no half of a version is seen
            shutil.rmtree(room, ignore_errors=True)
        sync_folder(self.folder)
        return gone

    def sweep(self) -> int:
        """Remove what killed processes have left half-written; give how many there were."""
        return sweep_temp(self.folder)

    def _crown(self, which: str, why: str, place: Callable[[Versions], int]) -> str:
        version = self.find(which)
        self.load(version)
        aliases = self.aliases()
        champions = [other for other in aliases["champions"] if other != version]
        champions.insert(place(champions), version)
        challenger = None if aliases["challenger"] == version else aliases["challenger"]
        self._write(champions, challenger, aliases["history"], "promote", version, why)
        return version

    def _write(
        self,
        champions: Versions,
        challenger: str | None,
        history: Sequence[Mapping[str, Any]],
        action: str,
        version: str,
        why: str,
    ) -> None:
        event = {"at": _now(), "action": action, "version": version, "why": why}
        self._write_aliases(champions, challenger, [*history, event])

    def _write_aliases(
        self, champions: Versions, challenger: str | None, history: Sequence[Mapping[str, Any]]
    ) -> None:
        tree = {"champions": champions, "challenger": challenger, "history": history}
        replace_file(self.folder / _ALIASES, _bytes(tree, indent=1))


def _broken(name: str, version: str, error: Exception) -> ModelError:
    return ModelError.of(
        f"model {name!r}, version {version}, cannot be loaded",
        expected="the files as they were written",
        found=f"{type(error).__name__}: {str(error)[:300].rstrip('.')}",
        advice="Roll back or promote another version, or bring the folder back from a copy.",
    )


def _read(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MOST:
        raise DataError(f"{path.name} is larger than {_MOST} bytes")
    tree = json.loads(path.read_bytes())
    if not isinstance(tree, dict):
        raise DataError(f"{path.name} holds no object")
    return tree


def _bytes(tree: Any, *, indent: int | None = None) -> bytes:
    return json.dumps(tree, indent=indent, sort_keys=True, allow_nan=False).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
