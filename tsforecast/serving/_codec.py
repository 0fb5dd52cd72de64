"""Values as strict JSON and plain arrays, and back: a closed list of kinds, none runs code.

What JSON knows stands for itself; anything else is an object with the key ``$``, which names its
kind.  Small arrays of finite numbers are written out, so that a scaler can be read by eye; others
go to a table of arrays, for a file of safetensors.
"""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import DataError, fail

__all__ = [
    "Arrays",
    "Decoder",
    "Encoder",
    "UnsaveableError",
    "dumps",
    "is_tensor",
    "loads",
    "refused",
]

Json: TypeAlias = Any
Arrays: TypeAlias = dict[str, npt.NDArray[Any]]

_DEEPEST = 40
_MOST_OF_A_SET = 10_000  # items; numbers may be made to collide
_MOST_LETTERS = 10**6  # of an array of text
_WRITTEN_OUT = 256  # numbers of an array that JSON holds itself
_DTYPES = (
    *("bool", "float32", "float64", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
)
_CALENDAR = ("years", "months", "weeks", "days", "hours", "minutes", "seconds")
_NAMES = ("str", "string", "object")
_UNITS = ("s", "ms", "us", "ns")
# one that is not closed goes on to the end: to look for its end again from every quote takes ages
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_ZONE = re.compile(r"(?!dateutil)[A-Za-z][A-Za-z0-9_+\-]*(/[A-Za-z0-9_+\-]+)*(:\d\d)?")
_WIDTH = re.compile(r"<U[1-9]\d{0,2}")  # of an array of text
_OFFSET = re.compile(r"[A-Za-z0-9\-]{1,32}")


class UnsaveableError(TypeError):
    """A value that no kind fits; its message goes into the error that names the place."""


def refused(what: str, *, expected: str, found: str) -> DataError:
    """Build (not raise) the error for a folder that cannot be loaded."""
    return fail(
        what,
        expected=expected,
        found=found,
        advice="The folder is damaged, or was not written by tsforecast.save: copy it again, or "
        "save the model anew.",
    )


# ------------------------------------------------------------------------------------ strict JSON


def dumps(tree: Json, *, indent: int | None = None) -> bytes:
    """Write JSON in one way only; no NaN."""
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(
        tree, allow_nan=False, indent=indent, separators=separators, sort_keys=indent is None
    )
    return text.encode("ascii")


def loads(data: bytes, name: str) -> Json:
    """Read JSON strictly: UTF-8, no NaN or infinity, no name twice, not too deep.

    Raises
    ------
    DataError
    """

    def no_constant(text: str) -> float:
        raise ValueError(f"the number {text}")

    def finite(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError("a number that is too large")
        return value

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name that stands twice")
        return found

    try:
        text = data.decode("utf-8")
        if _depth(text) > _DEEPEST:
            raise ValueError(f"nesting deeper than {_DEEPEST}")
        return json.loads(
            text, parse_constant=no_constant, parse_float=finite, object_pairs_hook=unique
        )
    except (ValueError, RecursionError) as error:
        raise refused(
            f"{name} cannot be read", expected="strict JSON", found=str(error)[:200]
        ) from None


def _depth(text: str) -> int:
    """How deep brackets are nested, outside of strings."""
    bare = _STRING.sub("", text)
    brackets = np.frombuffer(re.sub(r"[^\[\]{}]", "", bare).encode(), dtype=np.uint8)
    opening = np.isin(brackets, np.frombuffer(b"[{", dtype=np.uint8))
    return int(np.where(opening, 1, -1).cumsum().max(initial=0))


# --------------------------------------------------------------------------------------- encoding


class Encoder:
    """Turn values into JSON, and arrays into a table.

    Parameters
    ----------
    objects : callable
        ``objects(value, encoder, path)`` gives the name and the fields of an object of a class
        that is known, as ``(name, dict of JSON)``, or None.

    Attributes
    ----------
    arrays : dict of str to ndarray
        Those that are not written out, by the path of the value.
    """

    def __init__(self, objects: Callable[[Any, Encoder, str], tuple[str, Json] | None]) -> None:
        self._objects = objects
        self.arrays: Arrays = {}

    def __call__(self, value: Any, path: str) -> Json:
        """Encode a value; `path` says where it stands.

        Raises
        ------
        UnsaveableError
            With the path.
        """
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, np.timedelta64 | datetime.timedelta) and pd.notna(value):
            value = pd.Timedelta(cast(Any, value))
        elif isinstance(value, np.datetime64 | datetime.datetime) and pd.notna(value):
            value = pd.Timestamp(cast(Any, value))
        if isinstance(value, np.generic):
            return self(value.item(), path)
        if isinstance(value, int):
            return value if abs(value) < 2**63 else {"$": "int", "value": str(value)}
        if isinstance(value, float):
            return value if math.isfinite(value) else {"$": "float", "value": repr(value)}
        if isinstance(value, list):
            return [self(item, f"{path}.{i}") for i, item in enumerate(value)]
        if type(value) in (tuple, set, frozenset, range):
            kind = "set" if isinstance(value, set | frozenset) else type(value).__name__
            items = sorted(value, key=repr) if kind == "set" else value
            items = [value.start, value.stop, value.step] if isinstance(value, range) else items
            return {"$": kind, "items": [self(item, f"{path}.{i}") for i, item in enumerate(items)]}
        if type(value) is dict:
            pairs = [[self(k, path), self(v, f"{path}.{k}")] for k, v in value.items()]
            return {"$": "dict", "pairs": pairs}
        if isinstance(value, np.ndarray):
            return self._array(value, path)
        if is_tensor(value):
            return {"$": "tensor", **self._stored(value.detach().cpu().numpy(), path)}
        if isinstance(value, pd.Index):
            return self._index(value, path)
        if isinstance(value, pd.DataFrame):
            columns = [[self(n, path), self(value[n].to_numpy(), f"{path}.{n}")] for n in value]
            return {"$": "frame", "columns": columns, "index": self(value.index, f"{path}.index")}
        if isinstance(value, pd.Timestamp | pd.Timedelta):
            index = pd.Index([value])
            return {"$": "stamp", "index": self._index(index, path)}
        if isinstance(value, pd.offsets.BaseOffset):
            return self._offset(value, path)
        known = self._objects(value, self, path)
        if known is None:
            raise UnsaveableError(
                f"cannot save {path}: expected numbers, text, times, lists or arrays of them, or "
                f"objects of this package, found {type(value).__module__}."
                f"{type(value).__qualname__}."
            )
        return {"$": "object", "class": known[0], "fields": known[1]}

    def _array(self, value: npt.NDArray[Any], path: str) -> Json:
        if value.dtype == object:
            return {"$": "labels", "items": self(value.tolist(), path)}
        if _WIDTH.fullmatch(str(value.dtype)):
            return {"$": "text", "dtype": str(value.dtype), "items": value.tolist()}
        if str(value.dtype) not in _DTYPES:
            raise UnsaveableError(f"cannot save {path}: an array of dtype {value.dtype}.")
        few = value.size <= _WRITTEN_OUT
        if few and (value.dtype.kind != "f" or np.isfinite(value).all()):
            about = {"dtype": str(value.dtype), "shape": list(value.shape)}
            return {"$": "array", **about, "values": value.ravel().tolist()}
        return {"$": "array", **self._stored(value, path)}

    def _stored(self, value: npt.NDArray[Any], path: str) -> dict[str, Json]:
        name = path
        while name in self.arrays:
            name += "'"
        self.arrays[name] = np.ascontiguousarray(value)
        return {"dtype": str(value.dtype), "shape": list(value.shape), "name": name}

    def _index(self, index: pd.Index, path: str) -> Json:
        about: dict[str, Any] = {"$": "index"}
        if isinstance(index, pd.MultiIndex):
            levels = [
                self._index(index.get_level_values(i), f"{path}.{i}") for i in range(index.nlevels)
            ]
            return {**about, "kind": "levels", "levels": levels}
        about["name"] = self(index.name, path)
        if isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex):
            about |= {"kind": "spans", "unit": index.unit}
            zone = None
            if isinstance(index, pd.DatetimeIndex):
                about["kind"] = "dates"
                zone = None if index.tz is None else str(index.tz)
            if zone is not None and not _is_zone(zone):
                raise UnsaveableError(f"cannot save {path}: a time zone without a name, {zone!r}.")
            return {**about, "zone": zone, "values": self._array(index.asi8, path)}
        kind = pd.api.types.infer_dtype(index)
        numbers = pd.api.types.is_numeric_dtype(index.dtype)
        if hasattr(index.dtype, "numpy_dtype") and numbers and not index.hasnans:
            index = index.astype(index.dtype.numpy_dtype)
        if numbers and str(index.dtype) in _DTYPES:
            return {**about, "kind": "numbers", "values": self._array(index.to_numpy(), path)}
        if kind in ("string", "empty", "integer") and str(index.dtype) in _NAMES:
            values = self(index.tolist(), path)
            return {**about, "kind": "names", "dtype": str(index.dtype), "values": values}
        raise UnsaveableError(
            f"cannot save {path}: an index of {kind} values, dtype {index.dtype}. Convert it to "
            "text, whole numbers or times before fit."
        )

    def _offset(self, value: pd.offsets.BaseOffset, path: str) -> Json:
        plain = type(value) is pd.DateOffset and not getattr(value, "normalize", False)
        if plain and value.kwds.keys() <= set(_CALENDAR):
            return {"$": "days", "n": value.n, "parts": {**value.kwds}}
        name = value.freqstr
        try:
            again = pd.tseries.frequencies.to_offset(name) == value
        except ValueError:
            again = False
        if not again or not _OFFSET.fullmatch(name):
            raise UnsaveableError(
                f"cannot save {path}: a calendar of one's own, {name!r}. Fit on a panel whose "
                "index has no freq."
            )
        return {"$": "offset", "name": name}


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor of torch, which is not loaded for this question."""
    return type(value).__module__ == "torch" and type(value).__name__ in ("Tensor", "Parameter")


def _is_zone(name: str) -> bool:
    return len(name) <= 64 and _ZONE.fullmatch(name) is not None


# --------------------------------------------------------------------------------------- decoding


class Decoder:
    """Turn JSON back into values; the other side of `Encoder`.

    Parameters
    ----------
    objects : callable
        ``objects(name, fields, decoder)`` makes an object of a class that is known.
    arrays : dict of str to ndarray
        Each is referred to once.
    """

    def __init__(
        self,
        objects: Callable[[str, Json, Decoder], Any],
        arrays: Arrays,
    ) -> None:
        self._objects = objects
        self._arrays = dict(arrays)
        self._kinds: dict[str, Callable[[dict[str, Json]], Any]] = {
            "int": lambda tree: int(_text(tree["value"], 400)),
            "float": lambda tree: {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}[tree["value"]],
            "tuple": lambda tree: tuple(self._items(tree)),
            "set": self._set,
            "range": self._range,
            "dict": self._dict,
            "labels": self._labels,
            "text": self._texts,
            "array": self._array,
            "tensor": self._tensor,
            "index": self._index,
            "frame": self._frame,
            "stamp": lambda tree: self._index(tree["index"])[0],
            "offset": self._offset,
            "days": self._days,
            "object": lambda tree: self._objects(_text(tree["class"]), tree["fields"], self),
        }

    def __call__(self, tree: Json) -> Any:
        """Decode; raises KeyError, TypeError or ValueError where the tree is not as written."""
        if isinstance(tree, list):
            return [self(item) for item in tree]
        if not isinstance(tree, dict):
            return tree
        return self._kinds[_text(tree["$"])](tree)

    def close(self) -> None:
        """Raise ValueError if an array was read that nothing refers to."""
        if self._arrays:
            raise ValueError(f"{len(self._arrays)} arrays that nothing refers to")

    def _items(self, tree: dict[str, Json]) -> list[Any]:
        return [self(item) for item in _list(tree["items"])]

    def _range(self, tree: dict[str, Json]) -> range:
        made = range(*(_whole(item) for item in _list(tree["items"], 3)))
        if abs(made.stop - made.start) > _MOST_OF_A_SET * abs(made.step):
            raise ValueError("a range that is too long")
        return made

    def _dict(self, tree: dict[str, Json]) -> dict[Any, Any]:
        pairs = [_list(pair, 2) for pair in _list(tree["pairs"])]
        if len(pairs) > _MOST_OF_A_SET:
            raise ValueError("a dict that is too long")
        return {self(key): self(value) for key, value in pairs}

    def _set(self, tree: dict[str, Json]) -> set[Any]:
        if len(_list(tree["items"])) > _MOST_OF_A_SET:
            raise ValueError("a set that is too long")
        return set(self._items(tree))

    def _labels(self, tree: dict[str, Json]) -> npt.NDArray[Any]:
        items = self._items(tree)
        result = np.empty(len(items), dtype=object)
        result[:] = items
        return result

    def _texts(self, tree: dict[str, Json]) -> npt.NDArray[Any]:
        items = _list(tree["items"])
        widest = max((len(_text(item, 1000)) for item in items), default=0)
        width = int(tree["dtype"][2:]) if _WIDTH.fullmatch(_text(tree["dtype"])) else 0
        if width < widest or width * len(items) > _MOST_LETTERS:
            raise ValueError("text of another width")
        return np.array(items, dtype=tree["dtype"])

    def _array(self, tree: dict[str, Json]) -> npt.NDArray[Any]:
        if tree["$"] != "array":
            raise ValueError("no array where one is expected")
        return self._numbers(tree)

    def _numbers(self, tree: dict[str, Json]) -> npt.NDArray[Any]:
        if tree["dtype"] not in _DTYPES:
            raise ValueError("numbers of another kind")
        shape = tuple(_whole(size) for size in _list(tree["shape"]))
        if any(size < 0 for size in shape):
            raise ValueError("a negative size")
        if "values" not in tree:
            array = self._arrays.pop(_text(tree["name"], 1000))  # each is used once
            if array.shape != shape or str(array.dtype) != tree["dtype"]:
                raise ValueError("an array of another shape than noted")
            return array
        values = _list(tree["values"])
        if len(values) != math.prod(shape) or not all(isinstance(v, int | float) for v in values):
            raise ValueError("an array of another size than noted")
        return np.array(values, dtype=tree["dtype"]).reshape(shape)

    def _tensor(self, tree: dict[str, Json]) -> Any:
        import torch  # takes seconds, and baselines do without

        return torch.from_numpy(self._numbers(tree).copy())

    def _index(self, tree: dict[str, Json]) -> pd.Index:
        if tree["kind"] == "levels":
            levels = [self._index(level) for level in _list(tree["levels"])]
            if len(levels) != 2:
                raise ValueError("an index of other than two levels")
            return pd.MultiIndex.from_arrays(levels)
        name = self(tree["name"])
        hash(name)
        if tree["kind"] == "names":
            values = self(_list(tree["values"]))
            if tree["dtype"] not in _NAMES or not all(
                isinstance(value, str | int) for value in values
            ):
                raise ValueError("an index of other names")
            names: pd.Index = pd.Index(values, dtype=tree["dtype"], name=name)
            return names
        values = self._array(tree["values"])
        if values.ndim != 1:
            raise ValueError("an index of several dimensions")
        if tree["kind"] == "numbers":
            numbers: pd.Index = pd.Index(values, name=name)
            return numbers
        if tree["unit"] not in _UNITS or values.dtype != np.int64:
            raise ValueError("a time of another unit")
        if tree["kind"] == "spans":
            return pd.TimedeltaIndex(values.view(f"m8[{tree['unit']}]"), name=name)
        if tree["kind"] != "dates":
            raise ValueError("an index of another kind")
        dates = pd.DatetimeIndex(values.view(f"M8[{tree['unit']}]"), name=name)
        if tree["zone"] is None:
            return dates
        if not _is_zone(_text(tree["zone"])):
            raise ValueError("a time zone of another kind")
        return dates.tz_localize("UTC").tz_convert(tree["zone"])

    def _frame(self, tree: dict[str, Json]) -> pd.DataFrame:
        columns = [_list(pair, 2) for pair in _list(tree["columns"])]
        index = self._index(tree["index"])
        kinds = {"array": self._array, "labels": self._labels}
        made = {self(name): kinds[_text(values["$"])](values) for name, values in columns}
        return pd.DataFrame(made, index=index)

    def _offset(self, tree: dict[str, Json]) -> Any:
        name = _text(tree["name"])
        if not _OFFSET.fullmatch(name):
            raise ValueError("a calendar of another kind")
        return pd.tseries.frequencies.to_offset(name)

    def _days(self, tree: dict[str, Json]) -> pd.DateOffset:
        parts = {name: _whole(tree["parts"][name]) for name in _CALENDAR if name in tree["parts"]}
        return pd.DateOffset(n=_whole(tree["n"]), **parts)  # type: ignore[arg-type]


def _text(value: Json, longest: int = 200) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise TypeError("no short text where one is expected")
    return value


def _list(value: Json, length: int | None = None) -> list[Json]:
    if not isinstance(value, list) or length not in (None, len(value)):
        raise TypeError("no list where one is expected")
    return value


def _whole(value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("no whole number where one is expected")
    return value
