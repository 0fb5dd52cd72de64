"""Save what was fitted to a folder of numbers and text, and load it without trusting it."""

from __future__ import annotations

import os
import platform
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tsforecast._checks import bad_parameter, fail
from tsforecast.serving._classes import class_name
from tsforecast.serving._codec import (
    Arrays,
    Decoder,
    Encoder,
    UnsaveableError,
    dumps,
    loads,
    refused,
)
from tsforecast.serving._folder import (
    MANIFEST,
    MOST_OF_A_MANIFEST,
    MOST_OF_TEXT,
    read_folder,
    write_folder,
)
from tsforecast.serving._recipes import Recipes

__all__ = ["load", "save"]

FORMAT = 1
_STATE, _ARRAYS = "state.json", "weights.safetensors"
_LIBRARIES = ("numpy", "pandas", "scikit-learn", "torch", "tsforecast")


def save(model: Any, folder: str | os.PathLike[str], *, tail: bool = False) -> None:
    """Save an estimator, a transform, a chain of them, or a stream.

    The folder holds ``manifest.json`` (format, versions, class, parameters, columns, training
    span, and a check sum of every file), ``state.json`` (what transforms and baselines have
    learned) and ``weights.safetensors`` (weights and longer arrays): numbers and text, no code.
    It is written beside its place, synced, and put there by renaming: whenever the process is
    killed, `load` finds what was there before or what is new.

    Parameters
    ----------
    model : object
        Fitted or not. Of this package any; of scikit-learn ``Pipeline``, ``FrozenEstimator``, the
        plain scalers, ``SimpleImputer``, linear regressors, ``LogisticRegression``,
        ``HistGradientBoostingRegressor`` in a `LagRegressor` and ``HistGradientBoostingClassifier``
        in an event estimator.
    folder : str or path
        Replaced as a whole if it is a saved model; anything else there is refused.
    tail : bool
        Whether to keep the rows (or the state after them) that ``predict()`` without a panel goes
        on from. They may be those of patients. Without them a loaded model wants
        ``predict(panel)``. A stream is its rows, and the names of its series: they are kept.
        Event estimators have no rows of their own.

    Raises
    ------
    TypeError
        If something in it cannot be saved without running code when it is loaded, such as a class
        of one's own; the message names it. Pickle or joblib can: load such files only from those
        whom you would let run a program.
    FileExistsError, FileNotFoundError
        If there is something else at `folder` (or the process works in it), or nowhere to put it.
    TimeoutError
        If somebody else saves there all the time.
    OSError
        Where the file system refuses.

    Notes
    -----
    Without `tail` no row of the training panel and no name of a series is written. The names of
    series, and the values of static categories, are known again by check sums; whoever can try
    all names that there may be can find out which are among them. What transforms and baselines
    have learned of a series (a mean, a spread, quantiles of errors) is written; a median, a
    minimum or a maximum, as of ``SeriesScaler("robust")`` or scikit-learn's ``MinMaxScaler``, may
    be one of its values, and so may the mean of one value alone. What scalers of scikit-learn need
    to transform is kept, not what ``partial_fit`` would go on from.

    A loaded model forecasts the same, bit for bit (names of series of a nullable type come back as
    plain ones), but for ``context="history"`` without `tail`:
    there a forecast from rows that begin with those of `fit` goes on from the state that `fit` has
    left, which a loaded model has not, and agrees to rounding.

    Examples
    --------
    >>> import tempfile
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(2, 100, random_state=0)
    >>> model = tsf.EWMA(target="close").fit(panel)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tsf.save(model, f"{folder}/ewma")
    ...     again = tsf.load(f"{folder}/ewma")
    >>> bool((again.predict(panel) == model.predict(panel)).all(axis=None))
    True
    """
    from safetensors.numpy import save as to_bytes

    name = class_name(model)
    if name is None:
        raise TypeError(
            f"cannot save an object of {type(model).__module__}.{type(model).__qualname__}: "
            "expected an estimator, transform or stream of this package. " + _WAY_OUT
        )
    recipes = Recipes(tail=tail)
    encoder = Encoder(recipes.encode)
    try:
        fields = recipes.fields(model, encoder, name)
    except UnsaveableError as error:
        raise TypeError(f"{error} {_WAY_OUT}") from None
    about = {
        "format": FORMAT,
        "libraries": {
            "python": platform.python_version(),
            **{library: version(library) for library in _LIBRARIES},
        },
        "class": name,
        "parameters": fields.pop("parameters", {}),
        "schema": encoder(_schema(model), "schema"),
        "training": encoder(getattr(model, "_span", None), "training"),
    }
    files = {_STATE: dumps(fields, indent=1), _ARRAYS: to_bytes(encoder.arrays)}
    try:
        # what cannot be loaded again is not saved
        _decoded(about["class"], about["parameters"], loads(files[_STATE], _STATE), encoder.arrays)
    except Exception as error:
        raise TypeError(
            f"cannot save {name}: {type(error).__name__}: {str(error)[:200]} {_WAY_OUT}"
        ) from None
    if len(files[_STATE]) > MOST_OF_TEXT or len(dumps(about)) > MOST_OF_A_MANIFEST // 2:
        raise TypeError(f"cannot save {name}: more than {MOST_OF_TEXT} bytes of text. {_WAY_OUT}")
    write_folder(Path(folder), about, files)


def load(folder: str | os.PathLike[str], *, max_bytes: int = 2**32) -> Any:
    """Load what `save` has written.  Nothing in the folder is executed.

    No pickle, no class or import by a name from the file but those of a table in this package;
    check sums before anything else, strict JSON, sizes before memory, weights finite and of the
    shapes that the parameters say, no link followed.  A later `fit` obeys the parameters, as any
    fit does: look at ``get_params()`` of a model of unknown origin first
    (``training__trainer_options`` may name places to write to).

    Parameters
    ----------
    folder : str or path
    max_bytes : int
        Most that its files may have together.

    Returns
    -------
    object
        As it was saved.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    DataError
        If the folder is not one that `save` has written, byte by byte, or of a newer format.
    OSError
        Where the file system refuses.
    """
    from safetensors.numpy import load as from_bytes

    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 1:
        raise bad_parameter("max_bytes", expected="a number of bytes", found=max_bytes)
    manifest, files = read_folder(
        Path(folder), (_STATE, _ARRAYS), most_bytes=max_bytes, check=_check_format
    )
    state = loads(files[_STATE], _STATE)
    try:
        arrays = from_bytes(files[_ARRAYS])
    except Exception as error:
        raise refused(
            f"{_ARRAYS} cannot be read", expected="safetensors", found=type(error).__name__
        ) from None
    try:
        return _decoded(manifest.get("class"), manifest.get("parameters"), state, arrays)
    except Exception as error:  # whatever parts that do not fit may raise in pandas or torch
        raise refused(
            "the model cannot be put together",
            expected="parts that fit its class and parameters",
            found=f"{type(error).__name__}: {str(error)[:200]}",
        ) from None


def _decoded(name: Any, parameters: Any, state: Any, arrays: Arrays) -> Any:
    """Put an object together; raises any error where the parts do not fit."""
    if not isinstance(state, dict):
        raise TypeError("no fields where they are expected")
    decoder = Decoder(Recipes().decode, arrays)
    fields = {"parameters": parameters, **state}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = decoder({"$": "object", "class": name, "fields": fields})
    decoder.close()
    return made


_WAY_OUT = (
    "Leave a parameter out (set_params(...=None)), convert names before fit, or use pickle or "
    "joblib, and load such files only from those whom you would let run a program."
)


def _check_format(manifest: dict[str, Any]) -> None:
    found = manifest.get("format")
    if type(found) is int and FORMAT < found < 10**6:
        raise fail(
            "a newer format",
            expected=f"format {FORMAT}, the newest that this version knows",
            found=f"{found}",
            advice="Update tsforecast, or save the model with this version.",
        )
    if found != FORMAT:
        raise refused(
            f"{MANIFEST} is of no known format", expected="format 1", found=repr(found)[:50]
        )


def _schema(model: Any) -> dict[str, Any] | None:
    """Columns and index of the panel that a model wants."""
    model = getattr(model, "model", model)  # of a stream
    if not hasattr(model, "_time_type"):
        return None
    wanted = (
        {"targets": model.targets_} if hasattr(model, "targets_") else {"inputs": model.inputs_}
    )
    roles = {}
    for role in ("past", "future", "static", "columns"):
        names = getattr(model, role, None)
        roles[role] = [] if names is None else sorted(names, key=str)
    series = None if model._series_type is None else model._series_type.name
    return {
        **wanted,
        **{role: names for role, names in roles.items() if names},
        "series": series,
        "time": model._time_type.name,
        "time_dtype": str(model._time_type.dtype),
    }
