"""Heads: raw numbers at zero are the baseline, quantiles never cross, losses match scipy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tsforecast.nn.heads import (
    DECILES,
    Classes,
    Gaussian,
    Head,
    NegativeBinomial,
    Point,
    Poisson,
    Quantiles,
    StudentT,
    as_head,
)

H = 3
LEVELS = [(0.5,), (0.1, 0.5), (0.5, 0.9), (0.05, 0.25, 0.5, 0.6), DECILES]
every_levels = pytest.mark.parametrize("levels", LEVELS, ids=str)
POINTS = [Point(), Point("squared"), Point("huber"), Point("qlike")]
DISTRIBUTIONS = [Quantiles(), Gaussian(), StudentT(), Poisson(), NegativeBinomial()]
COUNTS = [Poisson(), NegativeBinomial()]
each = {"ids": repr}
every_head = pytest.mark.parametrize("head", POINTS + DISTRIBUTIONS, **each)
every_distribution = pytest.mark.parametrize("head", DISTRIBUTIONS, **each)
every_count = pytest.mark.parametrize("head", COUNTS, **each)

BASE, UNIT = torch.full((H,), 20.0), torch.tensor([0.5, 1.0, 2.0])


def errors(n: int = 400, *, seed: int = 0) -> np.ndarray:
    """Skewed errors whose spread grows with the step, (n, H)."""
    rng = np.random.default_rng(seed)
    return (rng.exponential(size=(n, H)) - 0.7) * np.arange(1, H + 1)


def learn(head: Head, z: np.ndarray, base=BASE, unit=UNIT) -> torch.Tensor:
    """Start of a head from errors (n, H)."""
    return head.start(z, *(np.broadcast_to(np.asarray(a, float), z.shape) for a in (base, unit)))


def some_raw(head: Head, n: int = 6) -> torch.Tensor:
    return torch.randn(n, H, head.size, generator=torch.manual_seed(3))


def pinball(actual: np.ndarray, quantiles: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """Twice the pinball loss, mean over levels, by its definition: one `if` per number."""
    total = np.zeros(actual.shape)
    for at in np.ndindex(*actual.shape):
        for j, level in enumerate(levels):
            error = actual[at] - quantiles[at][j]
            total[at] += 2 * (level * error if error >= 0 else (level - 1) * error)
    return total / len(levels)


def bounded(raw: np.ndarray, limit: float = 3.0) -> np.ndarray:
    return limit * np.tanh(raw / limit)


# --------------------------------------------------------------------------------------- any head


@every_head
def test_raw_zeros_are_the_baseline(head):
    raw = torch.zeros(5, H, head.size)
    forecast, quantiles = head.forecast(raw, learn(head, errors()), BASE.expand(5, H), UNIT)
    assert torch.equal(forecast, torch.zeros(5, H, dtype=torch.float64)) or head.counts
    assert forecast.abs().max() < 1e-5
    assert quantiles.shape == (5, H, len(head.levels))


@every_head
def test_leading_dimensions_are_free_and_answers_are_float64_without_gradient(head):
    B, O, K, n = 2, 3, 4, 5  # noqa: E741
    start = torch.stack([learn(head, errors(seed=k)) for k in range(K)])
    base, unit = BASE.expand(B, O, K, H), UNIT.expand(B, 1, K, H)
    raw = torch.randn(B, O, K, H, head.size, generator=torch.manual_seed(0)).requires_grad_()
    z = torch.randn(B, O, K, H)
    loss = head.loss(raw, start, z, base, unit)
    assert loss.shape == (B, O, K, H) and loss.dtype == torch.float32 and loss.requires_grad
    alone = head.loss(raw[1, 2, 3], start[3], z[1, 2, 3], BASE, UNIT)
    torch.testing.assert_close(loss[1, 2, 3], alone)
    forecast, quantiles = head.forecast(raw, start, base, unit)
    assert forecast.shape == (B, O, K, H) and quantiles.shape == (B, O, K, H, len(head.levels))
    answers = [forecast, quantiles]
    if head.levels:
        u = torch.rand(B, O, K, H, n)
        each_their_own = head.quantile(raw, start, base, unit, u)
        alone = head.quantile(raw[1, 2, 3], start[3], BASE, UNIT, u[1, 2, 3])
        torch.testing.assert_close(each_their_own[1, 2, 3], alone)
        answers += [each_their_own, head.quantile(raw, start, base, unit, torch.rand(n))]
        assert answers[-1].shape == answers[-2].shape == (B, O, K, H, n)
    for answer in answers:
        assert answer.dtype == torch.float64 and not answer.requires_grad


@every_head
def test_start_ignores_missing_errors(head):
    z = errors()
    holes = np.concatenate([z, np.full((50, H), np.nan)])
    torch.testing.assert_close(learn(head, holes), learn(head, z))


def extreme_errors(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """Errors (n, H) as they come from bad data."""
    z = {
        "zero": np.zeros((n, H)),
        "constant": np.full((n, H), 5.0),
        "huge": rng.choice([-1e12, 1e12], size=(n, H)),
        "tiny": rng.normal(size=(n, H)) * 1e-12,
        "spikes": np.where(rng.uniform(size=(n, H)) < 0.01, 1e12, rng.normal(size=(n, H))),
    }
    return z[kind]


KINDS = ["zero", "constant", "huge", "tiny", "spikes"]


@every_head
def test_no_extreme_batch_gives_nan(head):
    """10,000 batches of one row each, all against starts learned from extreme errors."""
    rng = np.random.default_rng(0)
    n = 10_000 // len(KINDS) ** 2
    for learned in KINDS:
        past = extreme_errors(learned, 200, rng)
        start = learn(head, past, base=rng.integers(0, 50, past.shape), unit=1.0)
        assert start.isfinite().all()
        for kind in KINDS:
            size = (n, H, head.size)
            raw = rng.choice([-1, 0, 1], size=size) * 10 ** rng.uniform(-3, 6, size=size)
            raw = torch.tensor(raw, dtype=torch.float32, requires_grad=True)
            z = torch.tensor(extreme_errors(kind, n, rng), dtype=torch.float32)
            base = torch.tensor(rng.choice([0.0, 0.3, 7.0, 1e4, 1e12], size=(n, H))).float()
            unit = torch.tensor(10 ** rng.uniform(-3, 3, size=(n, H))).float()
            loss = head.loss(raw, start, z, base, unit)
            assert loss.isfinite().all()
            (gradient,) = torch.autograd.grad(loss.mean(), raw)
            assert gradient.isfinite().all()
            given = raw, start, base, unit
            for answer in head.forecast(*given):
                assert answer.isfinite().all()
            if head.levels:
                u = torch.tensor([0.0, 1e-9, 0.37, 1 - 1e-9, 1.0])
                answer = head.quantile(*given, u)
                assert answer.isfinite().all()
                assert (answer.diff(dim=-1) >= 0).all()


@dataclass(frozen=True)
class Mean:
    """A head as a user may write one: the mean, judged by squared error."""

    size: int = 1
    location: int = 0
    levels: tuple[float, ...] = ()
    mean: bool = True
    counts: bool = False

    def start(self, z, base, unit):
        return torch.zeros(z.shape[1], 0)

    def loss(self, raw, start, z, base, unit):
        return (raw[..., 0] - z).square()

    def forecast(self, raw, start, base, unit):
        return raw[..., 0].double(), raw[..., :0].double()

    def quantile(self, raw, start, base, unit, u):
        raise ValueError("no distribution")


def test_names_and_head_objects_are_accepted():
    assert as_head("quantiles") == Quantiles()
    assert as_head("point") == Point()
    assert as_head("gaussian") == Gaussian()
    assert as_head("studentt") == StudentT()
    assert as_head("poisson") == Poisson()
    assert as_head("negbinomial") == NegativeBinomial()
    mine = Mean()
    assert isinstance(mine, Head)
    assert as_head(mine) is mine


@pytest.mark.parametrize("head", ["median", None, 3, Quantiles, Mean], ids=str)
def test_what_is_no_head_is_refused(head):
    with pytest.raises(ValueError, match=r"parameter 'head': expected one of \['quantiles', 'poi"):
        as_head(head)


def test_classes_are_no_head_of_a_forecaster():
    with pytest.raises(ValueError, match=r"a head object, found Classes.*by RecurrentClassifier"):
        as_head(Classes(2))


def test_heads_say_whether_they_give_means_and_whether_they_need_counts():
    means = [Point("squared"), Point("qlike"), Gaussian(), Poisson(), NegativeBinomial()]
    assert [head for head in POINTS + DISTRIBUTIONS if head.mean] == means
    assert [head for head in POINTS + DISTRIBUTIONS if head.counts] == COUNTS


@every_head
def test_the_location_moves_forecast_and_quantiles_together(head):
    raw = some_raw(head)
    moved = raw.clone()
    moved[..., head.location] += 1.0
    given = learn(head, errors()), BASE, UNIT
    before, after = head.forecast(raw, *given), head.forecast(moved, *given)
    assert (after[0] > before[0]).all()
    assert (after[1] >= before[1]).all() and (after[1] > before[1]).any() == bool(head.levels)


# ------------------------------------------------------------------------------------------ point


def test_point_losses_match_numpy():
    rng = np.random.default_rng(0)
    point, z = rng.normal(size=(2, 7, H)).astype(np.float32) * 3
    error = z - point
    huber = np.where(abs(error) <= 1.5, 0.5 * error**2, 1.5 * (abs(error) - 0.75))
    u = UNIT.numpy() * error
    line = np.expm1(10) * (u - 10) + np.expm1(10) - 10
    for head, expected in [
        (Point(), abs(error)),
        (Point("squared"), error**2),
        (Point("huber", delta=1.5), huber),
        (Point("qlike"), np.where(u < 10, np.exp(u) - u - 1, line)),
    ]:
        raw = torch.tensor(point)[..., None]
        loss = head.loss(raw, learn(head, errors()), torch.tensor(z), BASE, UNIT)
        np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-5)


def test_qlike_is_the_loss_of_patton_and_goes_on_as_a_straight_line():
    head = Point("qlike")
    variance, forecast, unit = 3e-4, 2e-4, 0.5
    z = torch.tensor([np.log(variance) / unit]).float()
    raw = torch.tensor([[np.log(forecast) / unit]]).float()
    loss = head.loss(raw, torch.zeros(1, 0), z, torch.zeros(1), torch.tensor([unit]))
    ratio = variance / forecast
    assert loss.item() == pytest.approx(ratio - np.log(ratio) - 1, rel=1e-4)

    u = torch.tensor([9.99, 10.0, 10.01, 20.0, 30.0], dtype=torch.float64)
    loss = head.loss(torch.zeros(5, 1), torch.zeros(5, 0), u, torch.zeros(5), torch.ones(5))
    slope = loss.diff() / u.diff()
    np.testing.assert_allclose(slope[:3], np.expm1(10), rtol=0.01)
    assert slope[3].item() == pytest.approx(slope[2].item(), rel=1e-6)


def test_point_refuses_unknown_errors_and_bad_deltas():
    with pytest.raises(ValueError, match="parameter 'error': expected one of .*'huber'.*'cubic'"):
        Point("cubic")
    with pytest.raises(ValueError, match="parameter 'delta': expected a number above 0, found 0"):
        Point("huber", delta=0.0)


@pytest.mark.parametrize("head", POINTS, **each)
def test_sampling_from_a_point_head_is_refused_with_advice(head):
    message = (
        r"parameter 'head': expected a distribution, to take samples or quantiles from, "
        r'found Point\(error=.*\)\. A point has no spread; use head="studentt"'
    )
    with pytest.raises(ValueError, match=message):
        head.quantile(torch.zeros(1, H, 1), learn(head, errors()), BASE, UNIT, torch.rand(4))


# -------------------------------------------------------------------------------------- quantiles


@every_levels
def test_quantiles_start_with_the_spread_of_the_baselines_errors(levels):
    head, z = Quantiles(levels), errors()
    _, quantiles = head.forecast(torch.zeros(1, H, head.size), learn(head, z), BASE, UNIT)
    expected = np.quantile(z, levels, axis=0).T - np.quantile(z, 0.5, axis=0)[:, None]
    np.testing.assert_allclose(quantiles[0], expected, rtol=1e-4, atol=1e-5)


def test_start_of_unchanging_errors_is_narrow_but_ordered():
    head = Quantiles()
    start = learn(head, np.zeros((9, H)))
    _, quantiles = head.forecast(torch.zeros(1, H, head.size), start, BASE, UNIT)
    steps = quantiles.diff(dim=-1)
    assert (steps > 0).all() and (steps < 1e-3).all()


extreme = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(
    raw=st.lists(extreme, min_size=9, max_size=9),
    spread=st.sampled_from([0.0, 1e-6, 1.0, 1e6]),
)
@settings(max_examples=200, deadline=None)
def test_quantiles_never_cross_whatever_the_network_says(raw, spread):
    head = Quantiles()
    start = learn(head, errors() * spread)
    forecast, quantiles = head.forecast(torch.tensor([[raw] * H]), start, BASE, UNIT)
    assert not quantiles.isnan().any()
    assert (quantiles[..., 1:] >= quantiles[..., :-1]).all()
    assert torch.equal(forecast, quantiles[..., 4])


def test_each_raw_number_moves_its_own_distance():
    head = Quantiles((0.1, 0.5, 0.9))
    start = learn(head, errors())
    _, before = head.forecast(torch.zeros(1, H, 3), start, BASE, UNIT)
    _, after = head.forecast(torch.tensor([0.0, 0.0, 1.0]).expand(1, H, 3), start, BASE, UNIT)
    assert torch.equal(after[..., :2], before[..., :2])
    wider = (after[..., 2] - after[..., 1]) / (before[..., 2] - before[..., 1])
    np.testing.assert_allclose(wider, np.exp(bounded(1.0)), rtol=1e-5)


@every_levels
def test_quantile_loss_matches_a_plain_pinball_loss(levels):
    head = Quantiles(levels)
    rng = np.random.default_rng(1)
    raw = torch.tensor(rng.normal(size=(4, 2, H, head.size)), dtype=torch.float32)
    z = rng.normal(size=(4, 2, H)).astype(np.float32)
    start = learn(head, errors())
    loss = head.loss(raw, start, torch.tensor(z), BASE, UNIT)
    quantiles = head.forecast(raw, start, BASE, UNIT)[1].numpy()
    assert loss.shape == (4, 2, H)
    np.testing.assert_allclose(loss, pinball(z, quantiles, levels), rtol=1e-4, atol=1e-5)


def test_pinball_loss_is_smallest_at_the_quantiles_of_the_data():
    """The training errors' own quantiles beat any shift of the median."""
    head, z = Quantiles(), errors(4000)
    start = learn(head, z)
    middle = np.quantile(z, 0.5, axis=0)
    losses = []
    for shift in (-0.3, 0.0, 0.3):
        raw = torch.zeros(1, H, 9)
        raw[..., 4] = torch.tensor(middle + shift)
        loss = head.loss(raw, start, torch.tensor(z, dtype=torch.float32), BASE, UNIT)
        losses.append(loss.mean(0).numpy())
    assert (losses[1] < losses[0]).all() and (losses[1] < losses[2]).all()


def test_quantiles_between_and_beyond_the_trained_ones_follow_normal_scores():
    """Trained quantiles of a normal distribution give all its quantiles."""
    head = Quantiles((0.1, 0.25, 0.5, 0.8))
    start = torch.tensor(np.log(np.diff(stats.norm.ppf(head.levels))))[None].expand(H, -1)
    u = np.array([1e-6, 0.05, 0.1, 0.2, 0.25, 0.4, 0.5, 0.7, 0.8, 0.99, 1 - 1e-6])
    z = head.quantile(torch.zeros(1, H, 4), start, BASE, UNIT, torch.tensor(u))
    np.testing.assert_allclose(z[0], np.tile(stats.norm.ppf(u), (H, 1)), atol=1e-10)


def test_a_single_quantile_is_all_there_is():
    head = Quantiles((0.5,))
    z = head.quantile(torch.ones(1, H, 1), learn(head, errors()), BASE, UNIT, torch.rand(7))
    assert torch.equal(z, torch.ones(1, H, 7, dtype=torch.float64))


# ---------------------------------------------------------------------------------- distributions


@every_distribution
def test_quantile_agrees_with_forecast_at_the_levels(head):
    given = some_raw(head), learn(head, errors()), BASE, UNIT
    _, quantiles = head.forecast(*given)
    torch.testing.assert_close(
        head.quantile(*given, torch.tensor(head.levels, dtype=torch.float64)), quantiles
    )


@every_distribution
def test_quantile_grows_with_the_probability(head):
    u = torch.linspace(0, 1, 501, dtype=torch.float64)
    z = head.quantile(some_raw(head), learn(head, errors()), BASE, UNIT, u)
    step = z.diff(dim=-1)
    assert (step >= 0).all()
    assert (step > 0).all() or head.counts


def test_gaussian_loss_and_quantiles_match_scipy():
    head, z = Gaussian(), errors()
    start, raw = learn(head, z), some_raw(Gaussian())
    scale = np.sqrt(np.mean(z**2, axis=0)) * np.exp(bounded(raw[..., 1].numpy()))
    norm = stats.norm(raw[..., 0].numpy(), scale)
    loss = head.loss(raw, start, torch.tensor(z[:6]).float(), BASE, UNIT)
    np.testing.assert_allclose(loss, -norm.logpdf(z[:6]), rtol=1e-4)
    forecast, quantiles = head.forecast(raw, start, BASE, UNIT)
    np.testing.assert_allclose(forecast, norm.mean(), rtol=1e-6)
    np.testing.assert_allclose(quantiles[..., 0], norm.ppf(0.1), rtol=1e-5, atol=1e-6)


def test_pull_of_a_spike_on_a_gaussian_is_bounded():
    head = Gaussian()
    raw = torch.zeros(4, 1, 2, requires_grad=True)
    z = torch.tensor([[29.0], [31.0], [1e6], [1e12]])
    loss = head.loss(raw, torch.zeros(1, 1), z, torch.zeros(4, 1), torch.ones(4, 1))
    assert (loss.diff(dim=0) > 0).all()
    loss.sum().backward()
    np.testing.assert_allclose(raw.grad[:, 0, 0], [-29, -900 / 31, -900 / 1e6, -900 / 1e12], 1e-5)
    np.testing.assert_allclose(raw.grad[:, 0, 1], [1 - 29**2, -899, -899, -899], 1e-5)


def student(head: StudentT, raw: torch.Tensor, start: torch.Tensor):
    """The distribution that raw numbers mean, by its definition."""
    r, s = raw.double().numpy(), start.double().numpy()
    place = 1 / (1 + np.exp(-(s[..., 1] + r[..., 2])))
    df = 2.1 * (100 / 2.1) ** place
    return stats.t(df, r[..., 0], np.exp(s[..., 0] + bounded(r[..., 1])))


def test_student_loss_and_quantiles_match_scipy():
    head, z = StudentT(), errors()[:6] * 10
    start, raw = learn(head, errors()), some_raw(StudentT())
    t = student(head, raw, start)
    loss = head.loss(raw, start, torch.tensor(z).float(), BASE, UNIT)
    np.testing.assert_allclose(loss, -t.logpdf(z), rtol=1e-4)
    forecast, quantiles = head.forecast(raw, start, BASE, UNIT)
    np.testing.assert_allclose(forecast, t.median(), rtol=1e-6)
    for j, level in enumerate(head.levels):
        np.testing.assert_allclose(quantiles[..., j], t.ppf(level), rtol=1e-5, atol=1e-6)


def test_student_starts_at_scale_and_degrees_of_the_errors():
    df, scale = np.array([3.0, 6.0, 30.0]), np.array([0.5, 1.0, 40.0])
    z = stats.t.rvs(df, scale=scale, size=(20_000, 3), random_state=0)
    start = learn(StudentT(), z)
    t = student(StudentT(), torch.zeros(H, 3), start)
    np.testing.assert_allclose(t.args[2], scale, rtol=0.05)
    np.testing.assert_allclose(t.args[0], df, rtol=0.3)
    inside = (np.abs(z) < t.ppf(0.9)).mean(axis=0)
    np.testing.assert_allclose(inside, 0.8, atol=0.01)


@pytest.mark.parametrize("far", [-1e6, 1e6])
def test_scale_and_degrees_stay_within_their_bounds(far):
    z = errors()
    for head in (Gaussian(), StudentT()):
        start, raw = learn(head, z), torch.full((1, H, head.size), far)
        raw[..., 0] = 0.0
        u = torch.tensor([0.75], dtype=torch.float64)
        if isinstance(head, StudentT):
            df = head._degrees(raw, start)
            np.testing.assert_allclose(df, 2.1 if far < 0 else 100.0, rtol=1e-6)
            score = stats.t.ppf(0.75, df[0].double().numpy())
        else:
            score = stats.norm.ppf(0.75)
        quartile = head.quantile(raw, start, BASE, UNIT, u)[0, :, 0].numpy()
        scale = np.exp(start[:, 0].numpy() + np.copysign(3, far))
        np.testing.assert_allclose(quartile, score * scale, rtol=1e-5)


@pytest.mark.parametrize(
    "levels", [(0.9, 0.5, 0.1), (0.5, 0.5), (0.0, 0.5), (0.5, 1.0), (0.5, float("nan")), 0.5, "ab"]
)
@pytest.mark.parametrize("head", [Quantiles, Gaussian, StudentT, Poisson, NegativeBinomial])
def test_bad_levels_are_refused(head, levels):
    with pytest.raises(ValueError, match=r"parameter 'levels': expected increasing numbers in"):
        head(levels)


@pytest.mark.parametrize("levels", [(), (0.1, 0.9)])
def test_only_quantiles_need_the_median_among_their_levels(levels):
    with pytest.raises(ValueError, match=r"in \(0, 1\) with 0\.5, the forecast, among them"):
        Quantiles(levels)
    for head in (Gaussian(levels), StudentT(levels), Poisson(levels), NegativeBinomial(levels)):
        forecast, quantiles = head.forecast(some_raw(head), learn(head, errors()), BASE, UNIT)
        assert forecast.shape == (6, H) and quantiles.shape == (6, H, len(levels))


def test_levels_may_come_as_a_list_and_count_the_raw_numbers():
    head = Quantiles([0.1, 0.5, 0.9])
    assert head == Quantiles((0.1, 0.5, 0.9))
    assert head.size == len(head.levels) == 3
    assert hash(head) == hash(Quantiles((0.1, 0.5, 0.9)))
    assert Gaussian([0.1, 0.9]) == Gaussian((0.1, 0.9)) != StudentT((0.1, 0.9))


# ----------------------------------------------------------------------------------------- counts


def as_z(count, base=BASE, unit=UNIT) -> torch.Tensor:
    return ((torch.as_tensor(count).double() - base) / unit).float()


def count_distribution(head: Head, raw, start, base):
    """The distribution that raw numbers mean, by its definition."""
    r, s = raw.double().numpy(), start.double().numpy()
    rate = np.maximum(np.asarray(base, float), np.exp(s[..., 0])) * np.exp(bounded(r[..., 0], 8))
    if isinstance(head, Poisson):
        return stats.poisson(rate)
    dispersion = np.exp(s[..., 1] + bounded(r[..., 1]))
    return stats.nbinom(dispersion, dispersion / (dispersion + rate))


@every_count
@pytest.mark.parametrize("count", [0, 1, 2, 9, 10, 11, 40, 1000, 10**5, 10**6])
def test_count_loss_matches_scipy(head, count):
    raw, base = some_raw(head), torch.tensor([0.0, 20.0, 1e5])
    start = learn(head, errors())
    loss = head.loss(raw, start, as_z(count, base).expand(6, H), base, UNIT)
    expected = -count_distribution(head, raw, start, base).logpmf(count)
    np.testing.assert_allclose(loss, expected, rtol=1e-3, atol=1e-4)


@every_count
def test_count_quantiles_are_the_whole_numbers_of_scipy(head):
    raw, start = some_raw(head), learn(head, errors())
    base, unit = BASE.double(), torch.tensor([0.37, 1.0, 2.9], dtype=torch.float64)
    forecast, quantiles = head.forecast(raw, start, base, unit)
    y = base[:, None] + unit[:, None] * quantiles
    np.testing.assert_allclose(y, y.round(), atol=1e-9)
    expected = count_distribution(head, raw, start, base)
    for j, level in enumerate(head.levels):
        np.testing.assert_array_equal(y[..., j].round(), expected.ppf(level))
    np.testing.assert_allclose(base + unit * forecast, expected.mean(), rtol=1e-6)


@every_count
@pytest.mark.parametrize("base", [1.3e5, 2e5])
def test_quantiles_of_large_counts_agree_with_the_exact_ones(head, base):
    base = torch.full((H,), base, dtype=torch.float64)
    start = learn(head, np.random.default_rng(0).normal(size=(300, H)), base=200.0, unit=20.0)
    raw = torch.zeros(H, head.size)
    y = base[:, None] + head.forecast(raw, start, base, torch.ones(H))[1]
    exact = count_distribution(head, raw, start, base)
    for j, level in enumerate(head.levels):
        np.testing.assert_allclose(y[:, j], exact.ppf(level), atol=0.01 * exact.std().max())


@every_count
def test_a_rate_starts_at_the_baseline_but_above_a_floor(head):
    """A tenth of the mean count, at most a half."""
    rng = np.random.default_rng(0)
    count = rng.poisson(4.0, size=(5000, H))
    base = rng.poisson(4.0, size=(5000, H))
    start = head.start(count - base, base.astype(float), np.ones((5000, H)))
    now = torch.tensor([0.0, 0.2, 3.0])
    forecast, _ = head.forecast(torch.zeros(H, head.size), start, now, torch.ones(H))
    np.testing.assert_allclose(now + forecast, [0.4, 0.4, 3.0], rtol=0.02)
    large = head.start(count - base, base + 1e4, np.ones((5000, H)))
    forecast, _ = head.forecast(torch.zeros(H, head.size), large, now, torch.ones(H))
    np.testing.assert_allclose(now + forecast, [0.5, 0.5, 3.0], rtol=1e-6)


@every_count
def test_rate_and_dispersion_stay_within_their_bounds(head):
    start = learn(head, errors())
    for far in (-1e6, 1e6):
        raw = torch.full((H, head.size), far)
        forecast, _ = head.forecast(raw, start, BASE, torch.ones(H))
        np.testing.assert_allclose(20 + forecast, 20 * np.exp(np.copysign(8, far)), rtol=1e-5)
        if isinstance(head, NegativeBinomial):
            change = head._dispersion(raw, start).log() - start[:, 1]
            np.testing.assert_allclose(change, np.copysign(3, far), rtol=1e-5)


def test_dispersion_starts_at_the_moments_around_the_baseline():
    """Also where series of very different size are pooled."""
    rng = np.random.default_rng(0)
    base = np.repeat([3.0, 3000.0], 10_000)[:, None] * np.ones(H)
    count = rng.negative_binomial(2.0, 2 / (2 + base))
    start = NegativeBinomial().start(count - base, base, np.ones(base.shape))
    np.testing.assert_allclose(start[:, 1].exp(), 2.0, rtol=0.06)
    even = NegativeBinomial().start(base * 0, base, np.ones(base.shape))
    np.testing.assert_allclose(even[:, 1].exp(), 1000.0, rtol=1e-5)


@every_count
def test_negative_and_fractional_counts_are_taken_as_the_nearest_whole_number(head):
    raw, start = some_raw(head), learn(head, errors())

    def loss(count):
        return head.loss(raw, start, as_z(count).expand(6, H), BASE, UNIT)

    torch.testing.assert_close(loss(-3.0), loss(0.0))
    torch.testing.assert_close(loss(7.2), loss(7.0))


# --------------------------------------------------------------------------- learning and sampling


def simulated(head: Head, n: int, rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    """What the head is made for, far from its start: target (n, 1), base, unit."""
    if isinstance(head, Poisson):
        return rng.poisson(5.0, size=(n, 1)), 2.0, 1.5
    if isinstance(head, NegativeBinomial):
        return rng.negative_binomial(3.0, 3 / (3 + 6.0), size=(n, 1)), 15.0, 4.0
    df = 4.0 if isinstance(head, StudentT) else 1e6
    return 0.8 + 0.5 * stats.t.rvs(df, size=(n, 1), random_state=rng), 0.5, 2.0


def optimum(head: Head, start, target, base, unit) -> torch.Tensor:
    """Raw numbers (1, Q) of least mean loss, by Adam."""
    z = torch.tensor((target - base) / unit, dtype=torch.float32)
    raw = torch.zeros(1, head.size, requires_grad=True)
    steps = torch.optim.Adam([raw], lr=0.05)
    for step in range(300):
        steps.param_groups[0]["lr"] = 0.05 * (1 - step / 300)
        steps.zero_grad()
        head.loss(
            raw.expand(len(z), 1, -1), start, z, *map(torch.tensor, (base, unit))
        ).mean().backward()
        steps.step()
    return raw.detach()


@every_distribution
def test_least_loss_is_at_the_distribution_of_the_data(head):
    target, base, unit = simulated(head, 4000, np.random.default_rng(0))
    past = np.random.default_rng(1).normal(size=(500, 1)) * (3 if head.counts else 1)
    start = learn(head, past, base, unit)
    raw = optimum(head, start, target, base, unit)
    given = raw, start, torch.tensor([base]), torch.tensor([unit])
    forecast, quantiles = head.forecast(*given)
    centre = target.mean() if head.mean else np.median(target)
    assert base + unit * forecast.item() == pytest.approx(centre, abs=0.03 * target.std())
    learned = base + unit * quantiles[0].numpy()
    within = 1.001 if head.counts else 0.06 * target.std()
    np.testing.assert_allclose(learned, np.quantile(target, head.levels), atol=within)


def test_least_qlike_is_at_the_mean_of_the_variance():
    rng = np.random.default_rng(0)
    variance = 1e-4 * rng.chisquare(3, size=(4000, 1)) / 3
    base, unit = -8.0, 1.5
    raw = optimum(Point("qlike"), torch.zeros(1, 0), np.log(variance), base, unit)
    assert np.exp(base + unit * raw.item()) == pytest.approx(variance.mean(), rel=0.01)


@every_distribution
def test_quantiles_at_uniform_random_numbers_are_samples(head):
    raw, n = torch.full((1, head.size), 0.3), 20_000
    z = errors()[:, :1]
    start, base, unit = learn(head, z, 20.0, 1.0), torch.tensor([20.0]), torch.ones(1)
    u = torch.rand(1, n, generator=torch.manual_seed(0), dtype=torch.float64)
    sample = 20.0 + head.quantile(raw, start, base, unit, u)[0].numpy()
    if isinstance(head, Quantiles):
        known = 20.0 + head.forecast(raw, start, base, unit)[1][0].numpy()
        share = (sample[:, None] <= known).mean(axis=0)
        np.testing.assert_allclose(share, head.levels, atol=0.015)
    elif head.counts:
        truth = count_distribution(head, raw, start, base)
        values, times = np.unique(sample, return_counts=True)
        np.testing.assert_allclose(times / n, truth.pmf(values), atol=0.01)
        assert sample.mean() == pytest.approx(truth.mean().item(), rel=0.02)
    else:
        scale = np.exp(start[0, 0].item() + bounded(0.3))
        df = head._degrees(raw, start).item() if isinstance(head, StudentT) else np.inf
        assert stats.kstest(sample, stats.t(df, 20.3, scale).cdf).pvalue > 0.01


# ------------------------------------------------------------------------------------------ classes


def codes(n_classes: int, n: int = 60, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, n_classes, size=(n, H)).astype(float)


@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_classes_start_at_their_weighted_frequencies(n_classes, weighted):
    head, z = Classes(n_classes), codes(n_classes)
    weight = np.arange(1.0, 61.0) if weighted else None
    start = head.start(z, z, z, weight=weight)
    assert start.shape == (H, head.size)
    found = head.probabilities(torch.zeros(4, H, head.size), start)
    expected = [
        [np.average(z[:, h] == k, weights=weight) for k in range(n_classes)] for h in range(H)
    ]
    np.testing.assert_allclose(found.numpy(), np.broadcast_to(expected, found.shape), atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_loss_of_classes_is_minus_the_logarithm_of_their_probability(n_classes):
    head, z = Classes(n_classes), codes(n_classes)
    start, raw = head.start(z, z, z), some_raw(head, 60)
    loss = head.loss(raw, start, torch.from_numpy(z).float(), BASE, UNIT).numpy()
    probability = head.probabilities(raw, start).numpy()
    for at in np.ndindex(*z.shape):
        assert loss[at] == pytest.approx(-np.log(probability[at][int(z[at])]), rel=1e-5)
    np.testing.assert_allclose(probability.sum(axis=-1), 1.0)
    likely, nothing = head.forecast(raw, start, BASE, UNIT)
    np.testing.assert_array_equal(likely, probability.argmax(axis=-1))
    assert nothing.shape == (60, H, 0)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_classes_that_nobody_has_and_extreme_numbers_stay_finite(n_classes):
    head = Classes(n_classes)
    z = np.zeros((10, H))
    start = head.start(z, z, z)
    assert start.isfinite().all()
    raw = torch.full((10, H, head.size), 1e4).requires_grad_()
    loss = head.loss(raw, start, torch.full((10, H), n_classes - 1.0), BASE, UNIT)
    loss.sum().backward()
    assert loss.isfinite().all() and raw.grad.isfinite().all()
    small = Classes(2).probabilities(torch.full((1, 1, 1), 60.0), torch.zeros(1, 1))
    assert 0 < small[0, 0, 0].item() < 1e-20  # 1 - p would be 0


def test_classes_have_no_quantiles():
    raw = torch.zeros(1, H, 1)
    with pytest.raises(ValueError, match="'head': expected a distribution of numbers"):
        Classes().quantile(raw, raw, raw, raw, raw)
