"""`job.toml`: what a job reads, fits, forecasts and writes, checked before anything runs."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import unquote_plus

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from tsforecast.batch.building import (
    CLASSIFIERS,
    FORECASTERS,
    PlaceOf,
    build,
    build_beside,
    short,
)
from tsforecast.batch.exits import ConfigError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "BacktestConfig",
    "FitConfig",
    "JobConfig",
    "JobSection",
    "ModelConfig",
    "MonitorConfig",
    "RunConfig",
    "SinkConfig",
    "SourceConfig",
    "as_offset",
    "build_baseline",
    "build_estimator",
    "check_text",
    "from_text",
    "load_config",
]

PREFIX = "TSFORECAST_"
_MOST_ERRORS = 5  # named in one message
_MOST_BYTES = 2**20  # of a file
_SECRET = "password"

# ---------------------------------------------------------------- kinds of values


def _wrong(expected: str) -> PydanticCustomError:
    return PydanticCustomError("wrong", "{expected}", {"expected": expected})


def _no_bool(value: Any) -> Any:
    """Refuse true and false where a number is wanted; pydantic takes them for 1 and 0."""
    if isinstance(value, bool):
        raise _wrong("a number")
    return value


def _place(value: Path, info: ValidationInfo) -> Path:
    """Paths are relative to the folder of the file."""
    if "\0" in str(value):
        raise _wrong("a path without NUL")
    root = (info.context or {}).get("root")
    return value if root is None else Path(os.path.normpath(root / value.expanduser()))


_PASSWORD = re.compile(  # as SQLAlchemy reads it: up to the @, whatever stands before
    r"[^:/]+://[^:/]*:[^@]*@|(?!.*://).*:.*@|.*(password|passwd|pwd)\s*=",
    re.DOTALL | re.IGNORECASE,
)
_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)(?!/|:memory:|file:)(.+)", re.DOTALL)


def _url(value: str, info: ValidationInfo) -> str:
    """Check the URL of a database; SQLite's file is relative to the folder of the file."""
    if _PASSWORD.match(unquote_plus(value)):
        raise PydanticCustomError("secret", "a URL without a password")
    if not re.fullmatch(r"[a-z][a-z0-9]*(\+[a-z0-9_]+)?://.*", value, re.DOTALL):
        raise _wrong("a URL such as sqlite:///forecasts.db or postgresql+psycopg://user@host/name")
    root = (info.context or {}).get("root")
    if root is not None and (file := _SQLITE.fullmatch(value)):
        return f"{file[1]}{os.path.normpath(root / file[2])}"
    return value


_SPAN = re.compile(r"(\d{1,6}) ?(y|M|W|D|h|min|s)")


_LONGEST = {"y": 1000, "M": 12_000, "W": 52_000}  # what lies so far back has a date


def _span(value: str) -> str:
    found = _SPAN.fullmatch(value)
    if found is None or not 0 < int(found[1]) <= _LONGEST.get(found[2], 365_000):
        raise _wrong(
            "a span of time such as '4D', '36h', '90min', '2W', '6M' or '10y', of at most 1000y"
        )
    return value


def _every(value: str) -> str:
    return value if value == "never" else _span(value)


def _time_zone(value: str) -> str:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(value)
    except Exception as error:  # by the value: not found, a folder, no file at all, bad bytes
        raise _wrong("a time zone such as 'UTC' or 'America/New_York'") from error
    return value


def _estimator(value: str) -> str:
    options = FORECASTERS + CLASSIFIERS
    if value not in options:
        quoted = ", ".join(f"'{option}'" for option in options)
        raise PydanticCustomError("literal_error", "{expected}", {"expected": quoted})
    return value


Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""A name of a column, a job, a model."""
Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
"""A name that is also one of a folder."""
Place = Annotated[Path, AfterValidator(_place)]
Url = Annotated[str, AfterValidator(_url)]
Span = Annotated[str, AfterValidator(_span)]
Every = Annotated[str, AfterValidator(_every)]
Whole = Annotated[int, BeforeValidator(_no_bool), Field(ge=1)]
Number = Annotated[float, BeforeValidator(_no_bool), Field(ge=0, allow_inf_nan=False)]
Share = Annotated[Number, Field(le=1)]
Estimator = Annotated[str, AfterValidator(_estimator)]
Policy = Literal["fail", "skip", "use_last", "fallback_naive"]


def as_offset(span: str) -> pd.DateOffset:
    """Give a span of a configuration as an offset of pandas, to be added to a time.

    Parameters
    ----------
    span : str
        A whole number and a unit: ``y`` and ``M`` of the calendar, ``W``, ``D``, ``h``, ``min``,
        ``s``.

    Returns
    -------
    pandas.DateOffset

    Raises
    ------
    ConfigError
        If it is no such span.

    Examples
    --------
    >>> import pandas as pd
    >>> pd.Timestamp("2024-02-29") - as_offset("1y")
    Timestamp('2023-02-28 00:00:00')
    """
    import pandas as pd

    found = _SPAN.fullmatch(span)
    if found is None:
        raise ConfigError.of(
            f"span {span!r}",
            expected="a whole number and one of y, M, W, D, h, min, s",
            found=repr(span),
            advice="Write '4D' or '10y'.",
        )
    units = {"y": "years", "M": "months", "W": "weeks", "D": "days"}
    units |= {"h": "hours", "min": "minutes", "s": "seconds"}
    named: dict[str, Any] = {units[found[2]]: int(found[1])}
    return pd.DateOffset(**named)


# ---------------------------------------------------------------- tables


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class JobSection(_Table):
    """``[job]``: what the job is called, where it keeps its state, how it is cut.

    Attributes
    ----------
    name : str
        Letters, digits, ``.``, ``_`` and ``-``: also the name of its lock.
    timezone : str
        In which a run date begins and ends.
    folder : Path
        Locks, models and temporary files.
    part_size : int
        Series of one part: the unit of work, of a transaction, and of what a resumed run skips.
    max_reject_fraction : float
        Share of the series that may fail before the run counts as failed.
    hash_ids : bool
        Write check sums in place of the names of series to logs, messages and rejects.
    """

    name: Label
    timezone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    folder: Place = Path("state")
    part_size: Whole = 500
    max_reject_fraction: Share = 0.05
    hash_ids: bool = False


class SourceConfig(_Table):
    """``[source]``: where the rows come from, which columns they have, and what if they are late.

    Attributes
    ----------
    path : Path or None
        A CSV or Parquet file, a folder of them, or a pattern such as ``prices/*.parquet``.
    database, query : str or None
        A URL of SQLAlchemy and a SELECT; ``:as_of`` in it is the moment of the cut.
    password : SecretStr or None
        Of the database; only from the environment, ``TSFORECAST_SOURCE__PASSWORD``.
    series, time : str
        Columns of the series' name and of the time. Without a series all rows are one series.
    columns, static : tuple of str
        Numbers to read, empty for all; columns that are constant within a series.
    available_column : str or None
        Column of the moment at which a row became known: later ones are not read.
    max_staleness : str or None
        Largest age of the newest row of a series at the end of the run date; older is late.
    late, missing : str
        What happens to a late series, or to one whose newest row has no value of what the model
        looks at: the run fails, the series is skipped, the model forecasts from the last rows that
        there are, or the last value is the forecast.
    """

    path: Place | None = None
    database: Url | None = None
    query: Annotated[str, StringConstraints(min_length=1)] | None = None
    password: SecretStr | None = Field(default=None, repr=False)
    series: Name | None = None
    time: Name
    columns: tuple[Name, ...] = ()
    static: tuple[Name, ...] = ()
    available_column: Name | None = None
    max_staleness: Span | None = None
    late: Policy = "fail"
    missing: Policy = "skip"

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.database is None):
            raise _wrong("either 'path' or 'database' with 'query'")
        if (self.database is None) != (self.query is None):
            raise _wrong("'query' beside 'database', and only there")
        return self

    @model_validator(mode="after")
    def _columns_once(self) -> Self:
        named = [self.series, self.time, self.available_column, *self.columns, *self.static]
        twice = {name for name in named if name is not None and named.count(name) > 1}
        if twice:
            raise _wrong(f"every column named once; twice are {sorted(twice)}")
        return self


class ModelConfig(_Table):
    """``[model]``: which estimator, with which parameters.

    Attributes
    ----------
    name : str
        In the registry.
    estimator : str
        Public name of a forecaster or of an event classifier.
    parameters : dict
        Its keyword arguments. A table with ``class`` is an object of that public class; a list
        of them is a pipeline.
    """

    name: Label = "model"
    estimator: Estimator = "RecurrentForecaster"
    parameters: dict[str, Any] = {}
    _places: PlaceOf = PrivateAttr(default=str)

    @model_validator(mode="after")
    def _remember_places(self, info: ValidationInfo) -> Self:
        self._places = (info.context or {}).get("place_of", str)
        return self

    def place_of(self, key: str) -> str:
        """Say where a key was given: ``"job.toml: model.parameters.horizon"``.

        Parameters
        ----------
        key : str
            Dotted, as ``"model.parameters.horizon"``.

        Returns
        -------
        str
            The key alone, if the model was not read by `load_config`.
        """
        return self._places(key)

    def place_of_parameter(self, name: str) -> str:
        """Say where a parameter was given, at whatever depth, if there is one of that name."""
        found = list(_paths(self.parameters, name, "model.parameters"))
        return self.place_of(found[0] if len(found) == 1 else "model.parameters")

    @property
    def kind(self) -> Literal["forecast", "event"]:
        """What the model gives: forecasts of columns, or risks of an event."""
        return "event" if self.estimator in CLASSIFIERS else "forecast"


class FitConfig(_Table):
    """``[fit]``: when a model is fitted, on how much history, and when it is put to use.

    Attributes
    ----------
    every : str
        Age of the champion's training at which `run` fits a new one, or ``"never"``.
    window : str or None
        Rows of how long before the cut are trained on; None for all.
    promote : str
        ``"always"``: a new version becomes champion. ``"by_hand"``: it becomes challenger.
        ``"if_better"``: it becomes champion if it beats the champion in a backtest.
    alpha : float
        Level of the test behind ``"if_better"``.
    keep : int or None
        So many versions, the newest, stay after a fit; None for all. Champion, challenger, the
        champion before and that of the run date stay as well. A run date whose version is gone
        is not to be repeated: its rows would be those of an earlier date's version, if one has
        stayed, or of a new fit.
    """

    every: Every = "30D"
    window: Span | None = None
    promote: Literal["always", "by_hand", "if_better"] = "always"
    alpha: Annotated[Number, Field(gt=0, lt=1)] = 0.05
    keep: Whole | None = None


class BacktestConfig(_Table):
    """``[backtest]``: how the model is judged.

    Attributes
    ----------
    n_splits, origins_per_split, step : int
        As of `RollingOrigin`; event classifiers are judged on `n_splits` folds of series.
    refit : bool or int
        Fit at every split, once, or every so many splits.
    baselines : tuple of str
        Public names of forecasters, or of event classifiers, to stand beside the model.
    """

    n_splits: Whole = 4
    origins_per_split: Whole = 50
    step: Whole = 1
    refit: bool | Whole = True
    baselines: tuple[Estimator, ...] = ()


class SinkConfig(_Table):
    """``[sink]``: where forecasts go.

    Attributes
    ----------
    database : str or None
        A URL of SQLAlchemy; SQLite and PostgreSQL are supported.
    path : Path or None
        A folder of Parquet files by run date.
    password : SecretStr or None
        Of the database; only from the environment, ``TSFORECAST_SINK__PASSWORD``.
    """

    database: Url | None = None
    path: Place | None = None
    password: SecretStr | None = Field(default=None, repr=False)

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.database is None):
            raise _wrong("either 'database' or 'path'")
        return self


class MonitorConfig(_Table):
    """``[monitor]``: from where on a run warns, and from where on it ends with an exit code.

    Its forecasts are written and seen all the same: see `tsforecast.batch.monitor`.

    Attributes
    ----------
    psi_warn, psi_fail : float
        Population stability index of an input against the training rows.
    missing_warn, missing_fail : float
        Share of missing values of an input above that of the training rows.
    range_warn, range_fail : float
        Share of values outside the range of the training rows.
    error_warn, error_fail : float
        Mean absolute error of matured forecasts over that of the naive forecast; of risks their
        Brier score over that of the base rate.
    coverage_warn, coverage_fail : float
        Distance between the coverage of an interval and its level.
    staleness_warn, staleness_fail : str or None
        Age of the newest row of the source.
    model_age_warn, model_age_fail : str or None
        Age of the newest row that the model was trained on.
    window : int
        Run dates whose forecasts are compared with what happened. At least ten, and twice the
        horizon, are needed.
    least : int
        Matured forecasts without which nothing is said of errors and coverage, and rows without
        which nothing is said of inputs.
    """

    psi_warn: Number = 0.1
    psi_fail: Number = 0.25
    missing_warn: Share = 0.1
    missing_fail: Share = 0.3
    range_warn: Share = 0.05
    range_fail: Share = 0.25
    error_warn: Number = 1.0
    error_fail: Number = 1.5
    coverage_warn: Share = 0.1
    coverage_fail: Share = 0.2
    staleness_warn: Span | None = None
    staleness_fail: Span | None = None
    model_age_warn: Span | None = None
    model_age_fail: Span | None = None
    window: Whole = 20
    least: Whole = 100

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name in ("psi", "missing", "range", "error", "coverage"):
            if getattr(self, f"{name}_warn") > getattr(self, f"{name}_fail"):
                raise _wrong(f"'{name}_warn' of at most '{name}_fail'")
        return self


class RunConfig(_Table):
    """``[run]``: what the work is spread over; results do not depend on it.

    Attributes
    ----------
    spread : str
        ``"serial"``, ``"processes"`` of this machine, or ``"dask"``.
    workers : int or None
        How many processes; None for as many as there are cores.
    dask_address : str or None
        Of a running scheduler; without it Dask's workers are started on this machine.
    """

    spread: Literal["serial", "processes", "dask"] = "serial"
    workers: Whole | None = None
    dask_address: Name | None = None

    @model_validator(mode="after")
    def _where_dask_is(self) -> Self:
        if self.dask_address is not None and self.spread != "dask":
            raise _wrong("'dask_address' beside spread = 'dask', and only there")
        return self


class JobConfig(_Table):
    """A whole job, as `load_config` gives it. Paths are absolute; nothing can be changed.

    Examples
    --------
    >>> config = JobConfig(job={"name": "prices"}, source={"path": "prices.csv", "time": "date"})
    >>> config.model.estimator, config.sink.database, config.run.spread
    ('RecurrentForecaster', 'sqlite:///forecasts.db', 'serial')
    """

    job: JobSection
    source: SourceConfig
    model: ModelConfig = ModelConfig()
    fit: FitConfig = FitConfig()
    backtest: BacktestConfig = BacktestConfig()
    sink: SinkConfig = Field(default_factory=lambda: SinkConfig(database="sqlite:///forecasts.db"))
    monitor: MonitorConfig = MonitorConfig()
    run: RunConfig = RunConfig()

    def digest(self) -> str:
        """SHA-256 of what decides the forecasts, in hexadecimal digits.

        That is: time zone, columns, query and policies of the source, estimator and parameters.
        Not: where things lie, secrets, the sink, thresholds, how the work is cut and spread.
        """
        source = self.source.model_dump(mode="json", exclude={"path", "database", "password"})
        decides = {
            "timezone": self.job.timezone,
            "source": source,
            "estimator": self.model.estimator,
            "parameters": self.model.parameters,
        }
        text = json.dumps(decides, sort_keys=True, default=str, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


# ---------------------------------------------------------------- reading


def load_config(
    path: str | os.PathLike[str],
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> JobConfig:
    """Read a job: flags over the environment over the file.

    Parameters
    ----------
    path : path
        ``job.toml``. Paths in it are relative to its folder.
    environ : mapping of str, optional
        ``TSFORECAST_SOURCE__PATH`` stands for ``path`` in ``[source]``; lists and parameters of
        the model are written as in TOML. None for that of the process.
    overrides : mapping of str, optional
        Values by dotted key, such as ``{"run.workers": 2}``: those of flags.

    Returns
    -------
    JobConfig

    Raises
    ------
    ConfigError
        If the file cannot be read, or a key is unknown, missing or has a wrong value. The message
        names file, key, what was expected and what was found.
    """
    file = Path(path)
    content = _read(file)
    origin: dict[tuple[str, ...], str] = {}
    for name, text in sorted((os.environ if environ is None else environ).items()):
        if name.startswith(PREFIX) and "__" in name[len(PREFIX) :]:
            keys = tuple(part.lower() for part in name[len(PREFIX) :].split("__"))
            _put(content, keys, from_text(".".join(keys), text), f"environment {name}")
            origin[keys] = f"environment {name}"
    for dotted, value in (overrides or {}).items():
        keys = tuple(dotted.split("."))
        if keys[-1] == _SECRET or (isinstance(value, dict) and _SECRET in value):
            keys = keys if keys[-1] == _SECRET else (*keys, _SECRET)
            raise ConfigError.of(
                f"command line: {'.'.join(keys)}",
                expected="no secret on a command line, where others can read it",
                found="one",
                advice=f"Set {PREFIX}{'__'.join(keys).upper()} in the environment.",
            )
        _put(content, keys, value, "command line")
        origin[keys] = "command line"
    try:
        root = Path(os.path.abspath(file)).parent
        sink = content.setdefault("sink", {})
        if isinstance(sink, dict) and not {"database", "path"} & set(sink):
            sink["database"] = "sqlite:///forecasts.db"
        places = _Places(str(file), origin)
        return JobConfig.model_validate(content, context={"root": root, "place_of": places})
    except ValidationError as error:
        found = error.errors(include_url=False)
    lines = [_sentence(str(file), detail, origin) for detail in found[:_MOST_ERRORS]]
    if len(found) > _MOST_ERRORS:
        lines.append(f"and {len(found) - _MOST_ERRORS} more.")
    raise ConfigError("\n".join(lines))


def _read(file: Path) -> dict[str, Any]:
    """Read the file; no secret may stand in it."""
    try:
        with open(file, "rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError.of(
            str(file),
            expected="a file that can be read",
            found=why.lower(),
            advice="`tsforecast init` writes one.",
        ) from None
    if len(data) > _MOST_BYTES:
        raise ConfigError.of(
            str(file),
            expected=f"a configuration of at most {_MOST_BYTES} bytes",
            found="more",
            advice="Is it the right file?",
        )
    try:
        content = tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError
        line = re.search(r"line \d+", str(error))
        raise ConfigError.of(
            f"{file}, {line[0]}" if line else str(file),
            expected="a text of TOML in UTF-8",
            found=short(error) if isinstance(error, ValueError) else "tables too deep",
            advice="Correct the line, or begin anew with `tsforecast init`.",
        ) from None
    for section in ("source", "sink"):
        table = content.get(section)
        if isinstance(table, dict) and _SECRET in table:
            raise ConfigError.of(
                f"{file}: {section}.{_SECRET}",
                expected="no secret in a file",
                found="one",
                advice=f"Set {PREFIX}{section.upper()}__{_SECRET.upper()} in the environment.",
            )
    return content


def check_text(text: str) -> None:
    """Raise `ConfigError` unless a text would do as ``job.toml``."""
    file = Path("job.toml")
    try:
        JobConfig.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: {short(error)}") from None
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise ConfigError("\n".join(_sentence(str(file), each, {}) for each in details)) from None


def from_text(key: str, text: str) -> Any:
    """Read the value of a variable or a flag.

    Parameters
    ----------
    key : str
        Dotted, such as ``model.parameters.horizon``.
    text : str

    Returns
    -------
    object
        As of TOML for lists, tables and parameters of the model; for other keys the text itself,
        which is read as what the key wants.

    Examples
    --------
    >>> from_text("model.parameters.horizon", "5"), from_text("job.name", "5")
    (5, '5')
    """
    free = key.startswith("model.parameters.")
    if not key.endswith(f".{_SECRET}") and (free or text.lstrip().startswith(("[", "{"))):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):
            return text
    return text


def _put(content: dict[str, Any], keys: tuple[str, ...], value: Any, origin: str) -> None:
    table: Any = content
    for depth, key in enumerate(keys[:-1]):
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError.of(
                f"{origin}: {'.'.join(keys)}",
                expected=f"a table [{'.'.join(keys[: depth + 1])}]",
                found=short(table),
                advice="Correct the file, or leave the override out.",
            )
    table[keys[-1]] = value


def _sentence(file: str, detail: ErrorDetails, origin: Mapping[tuple[str, ...], str]) -> str:
    """Say one error of pydantic as we say ours."""
    keys = tuple(str(part) for part in detail["loc"] if not _is_branch(part))
    around = [name for given, name in origin.items() if keys and given[: len(keys)] == keys]
    unknown = detail["type"] == "extra_forbidden"
    where = _Places(around[0] if unknown and around else file, origin)(".".join(keys))
    kind = detail["type"]
    if kind == "extra_forbidden":
        known = _known(keys[:-1])
        near = difflib.get_close_matches(keys[-1].lower(), known, n=1, cutoff=0.5)
        advice = f"Did you mean {near[0]!r}?" if near else "Remove it."
        return f"{where}: expected one of {', '.join(known)}, found {short(keys[-1])}. {advice}"
    if kind == "missing":
        return f"{where}: expected a value, found nothing. Add the key."
    if kind == "secret":
        section = keys[0].upper() if keys else "SINK"
        return (
            f"{where}: expected a URL without a password, found one with it. Set "
            f"{PREFIX}{section}__PASSWORD in the environment."
        )
    message = re.sub("^Input should be (a )?(?=greater|less)", "a number ", detail["msg"])
    message = message.removeprefix("Input should be ").removeprefix("Value error, ")
    found = "a secret" if _SECRET in keys else short(detail["input"])
    if kind == "wrong" and isinstance(detail["input"], dict):  # of a table as a whole
        given = {key: value for key, value in detail["input"].items() if key != _SECRET}
        found = f"the keys {', '.join(sorted(map(str, given)))}" if given else "no key"
    if kind == "literal_error":
        options = re.findall(r"'([^']*)'", message)
        near = difflib.get_close_matches(str(detail["input"]), options, n=1)
        also = f" Did you mean {near[0]!r}?" if near else ""
        return f"{where}: expected one of {', '.join(options)}, found {found}.{also}"
    return f"{where}: expected {message[:1].lower()}{message[1:]}, found {found}."


@dataclass(frozen=True)
class _Places:
    """Names a dotted key behind the file, variable or flag that it comes from.

    Equal where these are, so that a configuration that is read twice is equal to itself.
    """

    file: str
    origin: Mapping[tuple[str, ...], str]

    def __call__(self, key: str) -> str:
        keys = tuple(re.split(r"[.\[]", key)) if key else ()
        within = [name for given, name in self.origin.items() if given == keys[: len(given)]]
        place = (within or [self.file])[0]
        return f"{place}: {key}" if key else place


def _paths(tree: Any, name: str, path: str) -> Iterator[str]:
    """Dotted paths of the keys of a name in tables and lists of them."""
    if isinstance(tree, Mapping):
        for key, inner in tree.items():
            if key == name:
                yield f"{path}.{key}"
            yield from _paths(inner, name, f"{path}.{key}")
    elif isinstance(tree, list | tuple):
        for number, inner in enumerate(tree):
            yield from _paths(inner, name, f"{path}[{number}]")


def _is_branch(part: str | int) -> bool:
    """Tell parts of a location that name a branch of a union, not a key."""
    return isinstance(part, str) and bool(re.search(r"[\[\](]|^(bool|int|str|literal)$", part))


def _known(keys: tuple[str, ...]) -> list[str]:
    """Keys of the table that a location names."""
    table: Any = JobConfig
    for key in keys:
        annotation = table.model_fields[key].annotation if key in table.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        table = annotation
    return [name for name in table.model_fields if name != _SECRET]


# ---------------------------------------------------------------- building


def build_estimator(model: ModelConfig) -> Any:
    """Build the estimator that a configuration names, unfitted.

    Names are those of a closed list of public classes: a configuration cannot name code.

    Parameters
    ----------
    model : ModelConfig

    Returns
    -------
    estimator
        A forecaster or an event classifier.

    Raises
    ------
    ConfigError
        If a class or a parameter is unknown. The message names the nearest known one. Values are
        checked by the estimator's own ``fit``.

    Examples
    --------
    >>> build_estimator(ModelConfig(estimator="Drift", parameters={"horizon": 5}))
    Drift(horizon=5)
    """
    return build(model.estimator, model.parameters, "model.parameters", place_of=model.place_of)


def build_baseline(name: str, model: ModelConfig) -> Any:
    """Build a baseline by its name, with the parameters of the model that it has, too.

    Parameters
    ----------
    name : str
        Public name of a forecaster or an event classifier.
    model : ModelConfig

    Returns
    -------
    estimator

    Examples
    --------
    >>> build_baseline("Drift", ModelConfig(parameters={"horizon": 5, "lookback": 20}))
    Drift(horizon=5)
    """
    where = "backtest.baselines"
    return build_beside(name, model.parameters, where, place_of=model.place_of)
