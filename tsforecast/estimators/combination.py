"""Forecast combination: the weighted mean of what several forecasters say."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from tsforecast._checks import bad_parameter, positive_int
from tsforecast.data.panel import Floats, Ints, Layout
from tsforecast.data.scored import gives_positions
from tsforecast.estimators._base import PanelForecaster, targets_of
from tsforecast.estimators._searched import refuse_foreign_split

__all__ = ["Combination", "CombinedRows"]

_OF_ALL = frozenset({"target", "horizon"})  # the members agree on these
_TOGETHER = frozenset({"future", "static"})  # columns that any of them wants


@dataclass(frozen=True)
class CombinedRows:
    """A panel's rows as each of several forecasters wants them.

    Attributes
    ----------
    layout : Layout
        Where the series lie; N rows.
    parts : tuple of PreparedRows
        Of each forecaster.
    at : tuple of ndarray of int64, shape (N,), optional
        The row of each part for every row of `layout`, -1 where it has none. Default: all parts
        have the rows of `layout`.
    """

    layout: Layout
    parts: tuple[Any, ...]
    at: tuple[Ints, ...] | None = None

    @classmethod
    def at_ends(cls, parts: tuple[Any, ...], origins: tuple[Ints, ...]) -> CombinedRows:
        """Put parts of different length together that share their origins, one of each series."""
        longest = max(range(len(parts)), key=lambda number: parts[number].layout.n_rows)
        layout: Layout = parts[longest].layout
        at = []
        for own in origins:
            places = np.full(layout.n_rows, -1, dtype=np.int64)
            places[origins[longest]] = own
            at.append(places)
        return cls(layout, parts, tuple(at))

    def and_ends(self) -> tuple[CombinedRows, Ints]:
        """Give the rows, and those that all parts have, in order of the series."""
        assert self.at is not None
        return self, np.flatnonzero(self.at[0] >= 0)

    def origins_of(self, origins: Ints) -> list[Ints]:
        """Rows of each part for rows of `layout`."""
        if self.at is None:
            return [origins] * len(self.parts)
        return [places[origins] for places in self.at]

    def tail(self, n_rows: int) -> CombinedRows:
        """Keep the last rows of each series; of rows that all parts share."""
        layout, _ = self.layout.tail(n_rows)
        return CombinedRows(layout, tuple(part.tail(n_rows) for part in self.parts))


class Combination(PanelForecaster):
    r"""Forecast the weighted mean of what several forecasters say, level by level.

    .. math::
        \hat y = \sum_i w_i \, \hat y_i, \qquad q(p) = \sum_i w_i \, q_i(p), \qquad
        \sum_i w_i = 1

    Errors that members do not share cancel in part, so that the mean is often better than the best
    of them, and hardly ever as bad as the worst (Bates & Granger 1969; Timmermann 2006). Equal
    weights are the default, as weights estimated from a few hundred errors seldom beat them.

    The mean of quantiles has about the width of its members, where the mixture of their
    distributions would be wider than each of them (Lichtendahl, Grushka-Cockayne & Winkler 2013).
    Where all members are too narrow the combination is so, too: put a `ConformalForecaster`
    around it.

    Parameters
    ----------
    estimators : dict of str to forecaster
        Members by their names, of one target, one horizon and the same quantile levels; each is
        cloned. Parameters of a member are nested, such as ``garch__o``, and setting ``garch``
        replaces it.
    weights : dict of str to float, optional
        A number of at least 0 for each name; they are divided by their sum. Default: equal ones.

    Attributes
    ----------
    estimators_ : dict of str to forecaster
        The fitted ones.

    Raises
    ------
    ValueError
        In `fit`, if a parameter cannot be used, or the members disagree in what they forecast.

    See Also
    --------
    ConformalForecaster : Around it, calibrates two quantiles.
    model_confidence_set : Which of several models may be the best.

    Notes
    -----
    A member that has no forecast at an origin, such as a network that wants more rows, leaves
    the combination without one: NaN. Nothing is said anew about the members' skill, so that a
    combination needs no held-out rows; whether it helps, a `backtest` beside them tells.

    References
    ----------
    Bates & Granger, The combination of forecasts, Operational Research Quarterly 20 (1969).
    Timmermann, Forecast combinations, Handbook of Economic Forecasting 1 (2006).
    Lichtendahl, Grushka-Cockayne & Winkler, Is it better to average probabilities or quantiles?,
    Management Science 59 (2013).

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(3, 300, random_state=0)
    >>> model = tsf.Combination(
    ...     {"drift": tsf.Drift(target="close"), "walk": tsf.RandomWalk(target="close")})
    >>> model.set_params(drift__horizon=2, walk__horizon=2).fit(panel).predict()["step"].tolist()
    [1, 2, 1, 2, 1, 2]
    """

    estimators_: dict[str, Any]

    def __init__(
        self, estimators: Mapping[str, Any], *, weights: Mapping[str, float] | None = None
    ) -> None:
        self.estimators = estimators
        self.weights = weights

    def __getattr__(self, name: str) -> Any:
        # said once: by the members
        members = vars(self).get("estimators")
        if isinstance(members, Mapping) and members:
            if name in _OF_ALL:
                return getattr(next(iter(members.values())), name)
            found = [getattr(each, name, None) for each in members.values()]
            if name in _TOGETHER:
                columns = [column for some in found if some is not None for column in some]
                return list(dict.fromkeys(columns)) or None
            if name == "group":
                return next((column for column in found if column is not None), None)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # ------------------------------------------------------------------------------- parameters

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get parameters; with `deep` also the members by their names, and theirs.

        Parameters
        ----------
        deep : bool

        Returns
        -------
        dict
        """
        params: dict[str, Any] = super().get_params(deep=False)
        if deep and isinstance(self.estimators, Mapping):
            for name, each in self.estimators.items():
                params[name] = each
                if hasattr(each, "get_params") and not isinstance(each, type):
                    own = each.get_params(deep=True)
                    params |= {f"{name}__{key}": value for key, value in own.items()}
        return params

    def set_params(self, **params: Any) -> Any:
        """Set parameters, those of members as ``name__parameter``; a name sets a whole member.

        Parameters
        ----------
        **params

        Returns
        -------
        self
        """
        if "estimators" in params:
            self.estimators = params.pop("estimators")
        members = dict(self.estimators) if isinstance(self.estimators, Mapping) else {}
        replaced = {name: params.pop(name) for name in list(params) if name in members}
        if replaced:
            self.estimators = {**members, **replaced}
        super().set_params(**params)
        return self

    def __sklearn_clone__(self) -> Any:
        refuse_foreign_split(self)
        members = self.estimators
        if isinstance(members, Mapping):
            members = {name: clone(each, safe=False) for name, each in members.items()}
        return type(self)(members, weights=clone(self.weights, safe=False))

    def _check_parameters(self) -> None:
        members = self.estimators
        known = set(type(self)._get_param_names())
        if (
            not isinstance(members, Mapping)
            or not members
            or any(not isinstance(name, str) or not name or "__" in name for name in members)
            or known & set(members)
        ):
            raise bad_parameter(
                "estimators",
                expected="a dict of forecasters by names without '__', which are none of "
                f"{sorted(known)}",
                found=list(members) if isinstance(members, Mapping) else members,
                advice="For example {'har': HAR(), 'walk': RandomWalk()}.",
            )
        for name, each in members.items():
            if isinstance(each, type) or not isinstance(each, PanelForecaster):
                raise bad_parameter(
                    f"estimators[{name!r}]",
                    expected="a forecaster of panels with forecast_origins",
                    found=each,
                    advice="LagRegressor(estimator=...) makes one of any regressor.",
                )
            if gives_positions(each):
                raise bad_parameter(
                    f"estimators[{name!r}]",
                    expected="a forecaster of what will be observed",
                    found=each,
                )
            positive_int("horizon", each.horizon)
        self._check_same("horizon", {name: each.horizon for name, each in members.items()})
        self._check_same("quantile levels", {name: each._levels for name, each in members.items()})
        self._weights()

    def _check_same(self, what: str, found: dict[str, Any]) -> None:
        if any(value != next(iter(found.values())) for value in found.values()):
            raise bad_parameter(
                "estimators",
                expected=f"the same {what} in all members",
                found=found,
                advice="Give each the same; of a network, quantile levels belong to its head.",
            )

    def _weights(self) -> Floats:
        """Weights of the members, which add up to 1."""
        if self.weights is None:
            return np.full(len(self.estimators), 1 / len(self.estimators))
        given = self.weights
        if (
            not isinstance(given, Mapping)
            or set(given) != set(self.estimators)
            or any(isinstance(w, bool) or not isinstance(w, Real) for w in given.values())
            or any(not 0 <= w < math.inf for w in given.values())
            or not 0 < sum(given.values()) < math.inf
        ):
            raise bad_parameter(
                "weights",
                expected=f"numbers of at least 0, not all 0, for each of {list(self.estimators)}",
                found=given,
            )
        weights = np.array([float(given[name]) for name in self.estimators])
        return np.asarray(weights / weights.sum())

    @property
    def few_parameters(self) -> bool:
        """Whether errors on the training rows are as of any rows: so they are of all members."""
        members = self.estimators.values()
        return all(bool(getattr(each, "few_parameters", False)) for each in members)

    @property
    def _levels(self) -> tuple[float, ...]:
        levels: tuple[float, ...] = next(iter(self.estimators.values()))._levels
        return levels

    @property
    def _memory(self) -> int:
        return max(int(each._memory) for each in self.estimators_.values())

    @property
    def _sweeps(self) -> bool:
        return any(each._sweeps for each in self.estimators_.values())

    def _columns(self) -> list[Hashable]:
        read = (name for each in self.estimators_.values() for name in each._columns())
        return list(dict.fromkeys([*self.targets_, *read]))

    def _may_be_categories(self) -> list[Hashable]:
        each_may = (each._may_be_categories() for each in self.estimators_.values())
        return list(dict.fromkeys(name for some in each_may for name in some))

    def _select(self, panel: pd.DataFrame, *, fitting: bool) -> pd.DataFrame:
        if fitting:
            return panel  # each chooses when it is fitted
        read = [each._select(panel, fitting=False).columns for each in self.estimators_.values()]
        columns = dict.fromkeys([*self.targets_, *(name for some in read for name in some)])
        return panel[list(columns)]

    # -------------------------------------------------------------------------------------- fit

    def fit(self, panel: pd.DataFrame, y: None = None) -> Combination:
        """Fit every member on all rows of `panel`.

        Parameters
        ----------
        panel : DataFrame
            A panel, or anything that `as_panel` takes without further names.
        y : None
            Ignored: the targets are columns of the panel.

        Returns
        -------
        self
        """
        self._check_parameters()
        super().fit(panel, y)
        return self

    def _fit(self, panel: pd.DataFrame, layout: Layout) -> CombinedRows:
        targets = {name: targets_of(panel, each.target) for name, each in self.estimators.items()}
        self._check_same("target", targets)
        self.estimators_ = {name: clone(each).fit(panel) for name, each in self.estimators.items()}
        return CombinedRows(layout, ())  # members keep what they need of the rows themselves

    def _remember(self, rows: Any) -> None:
        super()._remember(rows)
        self._keep_tails()

    def _keep_tails(self) -> None:
        """Put the last rows side by side that members have kept, each as many as it needs."""
        parts = tuple(each._tail for each in self.estimators_.values())
        self._tail = None
        if all(part is not None for part in parts):
            ends = tuple(part.layout.stops - 1 for part in parts)
            self._tail = CombinedRows.at_ends(parts, ends)

    # -------------------------------------------------------------------------------- forecasts

    def _prepare(self, panel: pd.DataFrame, layout: Layout) -> CombinedRows:
        parts = (
            each._prepare(each._select(panel, fitting=False), layout)
            for each in self.estimators_.values()
        )
        return CombinedRows(layout, tuple(parts))

    def _ends(self, panel: pd.DataFrame | None, future: pd.DataFrame | None) -> tuple[Any, Ints]:
        ahead = [bool(getattr(each, "future", None)) for each in self.estimators_.values()]
        if not any(ahead) and (panel is not None or future is not None):
            return super()._ends(panel, future)
        found = [
            each._ends(panel, future if wants else None)
            for each, wants in zip(self.estimators_.values(), ahead)
        ]
        parts, origins = zip(*found)
        return CombinedRows.at_ends(parts, origins).and_ends()

    def _forecast(self, rows: CombinedRows, origins: Ints) -> tuple[Floats, Floats]:
        members = zip(self.estimators_.values(), rows.parts, rows.origins_of(origins))
        said = [each._forecast(part, own) for each, part, own in members]
        weights = self._weights()
        forecast, quantiles = (
            sum(weight * each for weight, each in zip(weights, which)) for which in zip(*said)
        )
        return np.asarray(forecast), np.asarray(quantiles)
