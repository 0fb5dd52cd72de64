"""Work in pieces on threads: in order, few at a time, and nobody else's settings touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from tsforecast.nn.threads import at_once, in_order, torch_threads

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def in_new_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join(30)
    return found[0]


def numbers_of_threads():
    """Of this thread, and of threads to come."""
    return torch.get_num_threads(), in_new_thread(torch.get_num_threads)


def test_at_once_runs_in_the_caller_on_one_thread_and_gives_its_number_back():
    torch.set_num_threads(2)
    seen = at_once(lambda item: (item, torch.get_num_threads(), threading.get_ident()), [1, 2])
    assert list(seen) == [(item, 1, threading.get_ident()) for item in (1, 2)]
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError):
        at_once(lambda item: item / 0, [1])
    assert torch.get_num_threads() == 2


def test_results_are_in_the_order_of_the_items_whichever_is_done_first():
    def late(i):
        time.sleep(0.03 * (5 - i))
        return i

    assert list(in_order(late, range(6))) == list(range(6))


def test_as_many_threads_work_as_torch_has_or_as_asked_for():
    def names(**options):
        barrier = threading.Barrier(options.get("n_threads", 3))

        def name(_):
            barrier.wait(10)  # passes only if so many are at work at once
            return threading.current_thread().name

        return set(in_order(name, range(6), **options))

    assert len(names()) == 3
    assert len(names(n_threads=2)) == 2
    assert threading.current_thread().name not in names()


def test_workers_have_one_torch_thread_each_and_all_others_keep_theirs():
    before = numbers_of_threads()
    barrier = threading.Barrier(5)

    def own(_):
        barrier.wait(10)  # all five have begun
        return torch.get_num_threads(), numbers_of_threads()

    assert list(in_order(own, range(5), n_threads=5)) == [(1, (1, 3))] * 5
    assert numbers_of_threads() == before == (3, 3)


def test_a_single_thread_works_in_the_caller_one_item_at_a_time():
    taken = []

    def items():
        for i in range(3):
            taken.append(i)
            yield i

    torch.set_num_threads(1)
    results = in_order(lambda i: (i, threading.current_thread()), items())
    assert taken == []
    assert next(results) == (0, threading.current_thread())
    assert taken == [0]
    assert [i for i, _ in results] == [1, 2]


def test_items_are_taken_at_most_two_per_thread_ahead():
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    results = in_order(abs, items(), n_threads=2)
    for done in range(1, 6):
        next(results)
        assert len(taken) == done + 3  # four are under way when the oldest is waited for


def test_no_items_give_no_results():
    assert list(in_order(abs, [])) == []


def test_an_exception_is_raised_in_the_caller_when_what_runs_has_ended():
    begun, ended = [], []

    def work(i):
        begun.append(i)
        if i == 1:
            raise OverflowError("piece 1")
        time.sleep(0.1)
        ended.append(i)
        return i

    results = in_order(work, range(50), n_threads=2)
    assert next(results) == 0
    with pytest.raises(OverflowError, match="piece 1"):
        list(results)
    assert len(begun) < 10
    assert sorted([1, *ended]) == sorted(begun)
    time.sleep(0.15)
    assert len(begun) == len(ended) + 1  # nothing went on
    assert numbers_of_threads() == (3, 3)
    assert list(in_order(abs, range(9))) == list(range(9))


def test_an_exception_of_the_items_is_raised_too():
    def items():
        yield 1
        raise LookupError("no second item")

    with pytest.raises(LookupError, match="no second"):
        list(in_order(abs, items()))


def test_an_interrupt_waits_for_what_runs_and_drops_the_rest():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    begun, ended = [], []

    def work(i):
        begun.append(i)
        time.sleep(0.4)
        ended.append(i)

    timer = threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            list(in_order(work, range(20), n_threads=2))
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    assert sorted(begun) == sorted(ended) == [0, 1]
    assert numbers_of_threads() == (3, 3)


def test_results_that_nobody_wants_any_more_stop_the_work():
    begun = []

    def work(i):
        begun.append(i)
        time.sleep(0.05)

    results = in_order(work, range(50), n_threads=2)
    next(results)
    results.close()
    n = len(begun)
    time.sleep(0.15)
    assert len(begun) == n <= 5


def test_a_piece_may_cut_its_work_again():
    def outer(i):
        return list(in_order(lambda j: (i, j, threading.current_thread()), range(3)))

    for i, rows in enumerate(in_order(outer, range(8))):
        assert [row[:2] for row in rows] == [(i, j) for j in range(3)]
        assert len({row[2] for row in rows}) == 1  # all in the worker that has the piece


def test_callers_need_not_be_the_main_thread_and_may_be_several():
    def many(start):
        return [list(in_order(abs, range(start, start + 20))) for _ in range(20)]

    found = {}
    threads = [
        threading.Thread(target=lambda i=i: found.update({i: many(i)}), daemon=True)
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == {i: [list(range(i, i + 20))] * 20 for i in range(4)}


def test_gradients_of_pieces_are_those_of_one_thread():
    torch.manual_seed(0)
    weight = torch.randn(40, 40, requires_grad=True)
    x = torch.randn(12, 40)

    def gradient(i):
        with torch.enable_grad():
            return torch.autograd.grad((x[i] @ weight).tanh().sum(), weight)[0]

    with torch.no_grad():
        found = list(in_order(gradient, range(12)))
    assert all(torch.equal(piece, gradient(i)) for i, piece in enumerate(found))
    assert weight.grad is None


def test_torch_threads_are_those_of_the_block_and_of_this_thread_only():
    with torch_threads(2):
        assert numbers_of_threads() == (2, 3)
        with torch_threads(1):
            assert numbers_of_threads() == (1, 3)
        assert numbers_of_threads() == (2, 3)
    assert numbers_of_threads() == (3, 3)


def test_torch_threads_come_back_after_an_error():
    with pytest.raises(ZeroDivisionError), torch_threads(2):
        torch.get_num_threads() // 0
    assert numbers_of_threads() == (3, 3)


FORK = """
import os, torch
from tsforecast.nn.threads import in_order
torch.set_num_threads(2)
assert list(in_order(abs, [-1, -2, -3])) == [1, 2, 3]
child = os.fork()
if child == 0:
    os._exit(0 if list(in_order(abs, [-1, -2, -3])) == [1, 2, 3] else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_starts_threads_of_its_own():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK],
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0
