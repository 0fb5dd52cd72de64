"""Names that a fitted model knows again without keeping them: they may be those of patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast.data.panel import Ints

__all__ = ["Keys"]


@dataclass(frozen=True, eq=False)
class Keys:
    """Check sums of some names, in their order.

    64 bits each, by `pandas.util.hash_array`: that two of a hundred thousand names agree has a
    chance of one in a billion.  It hides names from a look, not from somebody who tries all
    names that there may be.

    Attributes
    ----------
    marks : ndarray of uint64, shape (S,)
    kind : str
        What the names are, as by `pandas.api.types.infer_dtype`.

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
        """Take the check sums of names, each of which stands once."""
        return cls(_marks(names), pd.api.types.infer_dtype(names))

    def __len__(self) -> int:
        return len(self.marks)

    def find(self, names: pd.Index) -> Ints:
        """Give the position of each name among those known, -1 where it is not, (n,)."""
        return self._places(_marks(names))

    def among(self, others: Keys) -> Ints:
        """Give the position of each of these names among other ones, -1 where it is not, (S,)."""
        return others._places(self.marks)

    def _places(self, wanted: npt.NDArray[np.uint64]) -> Ints:
        if len(self.marks) == 0:
            return np.full(len(wanted), -1)
        order = np.argsort(self.marks)
        at = np.minimum(np.searchsorted(self.marks, wanted, sorter=order), len(order) - 1)
        return np.where(self.marks[order[at]] == wanted, order[at], -1)


def _marks(names: pd.Index) -> npt.NDArray[np.uint64]:
    names = names.infer_objects()
    if pd.api.types.is_integer_dtype(names.dtype):
        names = names.astype(np.int64)  # of any width, the same number has the same mark
    return np.asarray(pd.util.hash_array(np.asarray(names), categorize=False))
