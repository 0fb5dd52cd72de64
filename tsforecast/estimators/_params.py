"""What parameters of estimators share: nested names such as ``head__levels``, and seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator

from tsforecast._checks import positive_int
from tsforecast.nn.ranks import ranks

__all__ = ["RecordParameters", "draw_seeds"]


class RecordParameters(BaseEstimator):
    """Base of estimators some of whose parameters are frozen dataclasses, or names of them.

    A field of such a record is a nested parameter, as those of an estimator are in scikit-learn;
    setting it makes a new record.  ``_records`` says for each parameter what turns its value
    (a name, or None) into the object that is meant; an object that is no record, such as a
    `Training`, has parameters of its own.
    """

    _records: ClassVar[dict[str, Callable[[Any], Any]]] = {}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get parameters, as scikit-learn does; with `deep` also the fields of records."""
        params: dict[str, Any] = super().get_params(deep=deep)
        for name in self._records if deep else ():
            value = params[name]
            if is_dataclass(value) and not isinstance(value, type):
                params |= {
                    f"{name}__{field.name}": getattr(value, field.name) for field in fields(value)
                }
        return params

    def set_params(self, **params: Any) -> Any:
        """Set parameters, as scikit-learn does; ``head__levels`` also where `head` is a name."""
        nested: dict[str, dict[str, Any]] = {}
        plain = {}
        for key, value in params.items():
            owner, _, field = key.partition("__")
            if field and owner in self._records:
                nested.setdefault(owner, {})[field] = value
            else:
                plain[key] = value
        super().set_params(**plain)
        for owner, changes in nested.items():
            record = self._records[owner](getattr(self, owner))
            if isinstance(record, BaseEstimator):
                setattr(self, owner, record.set_params(**changes))
                continue
            known = [field.name for field in fields(record)] if is_dataclass(record) else []
            if wrong := sorted(set(changes) - set(known)):
                raise ValueError(
                    f"Invalid parameter {wrong[0]!r} of {owner}={record!r}: expected one of "
                    f"{known}. Set {owner} itself first."
                )
            setattr(self, owner, replace(record, **changes))
        return self


def draw_seeds(random_state: Any, n: int) -> list[int]:
    """Draw n seeds without touching any global random state; the same in all `ranks`."""
    if isinstance(random_state, np.random.RandomState):
        return [int(seed) for seed in random_state.randint(2**31 - 1, size=n)]
    if random_state is not None and not isinstance(random_state, np.random.Generator):
        positive_int("random_state", random_state, least=0)
    rng = np.random.default_rng(random_state)
    return ranks().from_first([int(seed) for seed in rng.integers(2**31 - 1, size=n)])
