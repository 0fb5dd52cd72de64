"""Names that a fitted model knows again without keeping them: they may be those of patients."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast.data.panel import Ints

__all__ = ["Keys", "kind_of"]


@dataclass(frozen=True, eq=False)
class Keys:
    """Check sums of some names, in their order.

    64 bits each (SipHash, by `pandas.util.hash_array`): that two of a hundred thousand names agree
    has a chance of one in a billion.  They cannot be turned back, but whoever tries all names that
    there may be, such as all numbers of eight digits, finds out which are among them.

    Attributes
    ----------
    marks : ndarray of uint64, shape (S,)
    kind : str
        What the names are; see `kind_of`.

    Examples
    --------
    >>> import pandas as pd
    >>> known = Keys.of(pd.Index(["AAA", "BBB"]))
    >>> known.find(pd.Index(["BBB", "CCC"])).tolist()
    [1, -1]
    """

    marks: npt.NDArray[np.uint64]
    kind: str

    @classmethod
    def of(cls, names: pd.Index) -> Keys:
        """Take the check sums of names, each of which stands once; none is missing."""
        return cls(_marks(names), kind_of(names))

    def __len__(self) -> int:
        return len(self.marks)

    def find(self, names: pd.Index) -> Ints:
        """Give the position of each name among those known, -1 where it is not, (n,)."""
        return self._places(_marks(names))

    def among(self, others: Keys) -> Ints:
        """Give the position of each of these names among other ones, -1 where it is not, (S,)."""
        return others._places(self.marks)

    def joined(self, others: Keys) -> Keys:
        """Give all that are here or there."""
        return Keys(np.union1d(self.marks, others.marks), self.kind)

    def _places(self, wanted: npt.NDArray[np.uint64]) -> Ints:
        if len(self.marks) == 0:
            return np.full(len(wanted), -1)
        order = np.argsort(self.marks)
        at = np.minimum(np.searchsorted(self.marks, wanted, sorter=order), len(order) - 1)
        return np.where(self.marks[order[at]] == wanted, order[at], -1)


def kind_of(names: pd.Index) -> str:
    """What some names are: "string", "integer", "mixed" and so on, categories by their values."""
    return str(pd.api.types.infer_dtype(names.tolist()))


def _marks(names: pd.Index) -> npt.NDArray[np.uint64]:
    texts = np.empty(len(names), dtype=object)
    texts[:] = [_text(name) for name in names.tolist()]
    return np.asarray(pd.util.hash_array(texts, categorize=False))


def _text(name: Any) -> str:
    """Write a name such that names have the same text if and only if they are equal."""
    if isinstance(name, str):
        return f"text {name}"
    if isinstance(name, Integral):  # True is 1, as in an index
        return f"number {int(name)}"
    if isinstance(name, float | np.floating):
        number = float(name)
        return f"number {int(number) if number.is_integer() else number!r}"
    if isinstance(name, pd.Timestamp):
        return f"{'time' if name.tz is None else 'instant'} {name.as_unit('ns').value}"
    if isinstance(name, pd.Timedelta):
        return f"span {name.as_unit('ns').value}"
    if isinstance(name, tuple):
        return f"tuple {[_text(part) for part in name]!r}"
    return f"{type(name).__name__} {name!r}"
