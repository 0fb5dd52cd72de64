"""The seam for spreading work: one result for each part, wherever it was done."""

import os
import signal
import time
from pathlib import Path

import pytest

from tsforecast.batch.exits import ConfigError
from tsforecast.batch.spread import spread

WAYS = ["serial", "processes"]


def squared(part):
    return part, part**2


def dies_once(part):
    """End this process at part 3, unless somebody has before."""
    number, folder = part
    mark = Path(folder) / "died"
    if number == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def always_dies(part):
    os.kill(os.getpid(), signal.SIGKILL)


def pids(part):
    return os.getpid()


def fails_at_two(part):
    if part == 2:
        raise ZeroDivisionError("part 2")
    return part


@pytest.mark.parametrize("how", WAYS)  # of Dask below, with a worker lost
def test_every_part_has_one_result(how):
    found = list(spread(squared, range(20), how=how, workers=2))
    assert sorted(found) == [(part, part**2) for part in range(20)]


@pytest.mark.parametrize("how", WAYS)
def test_no_parts_are_no_results(how):
    assert list(spread(squared, [], how=how, workers=1)) == []


def test_serial_work_is_in_order_and_lazy():
    taken = []

    def parts():
        for part in range(5):
            taken.append(part)
            yield part

    results = spread(squared, parts())
    assert next(results) == (0, 0) and taken == [0]


def test_processes_take_few_parts_ahead():
    taken = []

    def parts():
        for part in range(50):
            taken.append(part)
            yield part

    results = spread(squared, parts(), how="processes", workers=2)
    next(results)
    assert len(taken) <= 4
    results.close()


@pytest.mark.parametrize("how", WAYS)
def test_an_error_of_the_function_is_raised(how):
    with pytest.raises(ZeroDivisionError, match="part 2"):
        list(spread(fails_at_two, range(6), how=how, workers=1))


@pytest.mark.parametrize("how", ["processes", "dask"])
def test_a_lost_worker_is_survived(how, tmp_path):
    parts = [(number, str(tmp_path)) for number in range(8)]
    assert sorted(spread(dies_once, parts, how=how, workers=2)) == list(range(8))
    assert (tmp_path / "died").exists()


def test_work_that_is_given_up_ends_its_workers():
    results = spread(pids, range(4), how="processes", workers=1)
    pid = next(results)
    os.kill(pid, 0)
    results.close()
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError(f"process {pid} is still there")


def test_parts_that_kill_every_worker_are_given_up():
    from concurrent.futures import BrokenExecutor

    with pytest.raises(BrokenExecutor):
        list(spread(always_dies, range(3), how="processes", workers=1))


def test_processes_work_on_one_thread_each():
    found = list(spread(os.environ.get, ["OMP_NUM_THREADS"] * 2, how="processes", workers=2))
    assert found == ["1", "1"]


def test_a_scheduler_that_is_none_is_said():
    with pytest.raises(ConfigError, match="Dask scheduler 'nonsense': expected one that answers"):
        list(spread(squared, [1], how="dask", address="nonsense"))


def test_what_cannot_be_asked_for_is_said():
    with pytest.raises(ValueError, match="'how': expected one of .*'dask'.*found 'threads'"):
        spread(squared, [], how="threads")
    with pytest.raises(ValueError, match="'workers': expected a whole number of at least 1"):
        spread(squared, [], how="processes", workers=0)
    with pytest.raises(ValueError, match="'address': expected None unless how='dask'"):
        spread(squared, [], address="tcp://here:8786")
