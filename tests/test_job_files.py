"""Names that every disk can hold, a lock that ends with its process, and files that are whole."""

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsforecast.batch.exits import ConfigError, LockedError, SinkError
from tsforecast.batch.files import (
    job_lock,
    make_folder,
    refused,
    replace_file,
    safe_name,
    sweep_temp,
    temp_place,
)
from tsforecast.serving import _disk

HOLDER = """
import sys, time
from pathlib import Path
from tsforecast.batch.files import job_lock
with job_lock(Path(sys.argv[1]), "prices"):
    print("held", flush=True)
    time.sleep(60)
"""


@given(st.text(max_size=300))
def test_any_name_is_one_that_every_disk_can_hold(name):
    safe = safe_name(name)
    assert 0 < len(safe) <= 64
    assert set(safe) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    assert safe[0] not in ".-_" and safe[-1] not in ". "
    assert safe.split(".")[0] not in {"con", "prn", "aux", "nul", "com1", "lpt9"}
    assert safe == safe_name(name)


@given(st.lists(st.text(alphabet="aAbB/:.- 0123", max_size=6), unique=True, max_size=30))
def test_two_names_are_two_files_also_where_capitals_do_not_count(names):
    once = [safe_name(name).lower() for name in names]
    twice = [safe_name(name).lower() for name in {*names, *once}]
    assert len(set(once)) == len(names)
    assert len(set(twice)) == len({*names, *once})


def test_a_lock_names_who_holds_it_and_ends_with_a_process_that_is_killed(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        said = f"'prices' is at work.* process {holder.pid} on "
        with pytest.raises(LockedError, match=said), job_lock(tmp_path, "prices"):
            pass
        with job_lock(tmp_path, "vitals"):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with job_lock(tmp_path, "prices"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_held_once_at_a_time_by_many_who_try(tmp_path):
    inside, most, entered, errors = [0], [0], [0], []

    def work():
        for _ in range(200):
            try:
                with job_lock(tmp_path, "prices"):
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    sweep_temp(tmp_path)  # as each run does, while others are about to begin
                    entered[0] += 1
                    inside[0] -= 1
            except LockedError:
                pass
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert most[0] == 1
    assert entered[0] >= 200


def test_a_lock_is_free_after_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError, match="mine"), job_lock(tmp_path, "prices"):
            raise KeyError("mine")


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{" * 9000])
def test_a_lock_file_with_anything_in_it_is_taken_or_told(tmp_path, content):
    path = tmp_path / "prices.lock"
    path.write_bytes(content)
    with job_lock(tmp_path, "prices"):
        path.write_bytes(content)
        with pytest.raises(LockedError, match="found process"), job_lock(tmp_path, "prices"):
            pass


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "prices.lock").symlink_to(victim)
    said = "a file that can be opened"
    with pytest.raises(ConfigError, match=said), job_lock(tmp_path, "prices"):
        pass
    assert victim.read_text() == "mine"


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(_disk, "_take", lambda *_: None)
    said = "expected a file system with locks"
    with pytest.raises(ConfigError, match=said), job_lock(tmp_path, "prices"):
        pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    said = "a folder that can be written to, found not a directory"
    with pytest.raises(ConfigError, match=said) as caught:
        make_folder(tmp_path / "file" / "state")
    assert caught.value.code == 2


def test_what_is_refused_keeps_the_letters_of_a_path():
    error = refused("file X", ValueError("No such place: /Data/Models"))
    assert "found no such place: /Data/Models" in str(error)


@pytest.mark.parametrize("call", ["pwrite", "unlink"])  # of the lock, of a trial in the folder
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_disk_that_refuses_is_no_fault_of_the_configuration(tmp_path, monkeypatch, call, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, refuse)
    said = "expected a disk with room, and the right to write there, found "
    said += os.strerror(number).lower()
    with pytest.raises(SinkError, match=said) as caught, job_lock(tmp_path, "prices"):
        pass
    assert caught.value.code == 3


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path, monkeypatch, call):
    path = tmp_path / "aliases.json"
    replace_file(path, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["aliases.json"]


def test_the_sweep_takes_what_killed_processes_have_left_and_nothing_else(tmp_path):
    kept = [tmp_path / "aliases.json", tmp_path / "tmp-mine", tmp_path / ".hidden"]
    for path in kept:
        path.touch()
    left = temp_place(tmp_path, "BRK/B")
    (left / "deep").mkdir(parents=True)
    temp_place(tmp_path, "panel").touch()
    _disk.beside(tmp_path / "aliases.json", "part").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").touch()
    temp_place(tmp_path, "link").symlink_to(elsewhere)
    assert sweep_temp(tmp_path) == 4
    assert sorted(tmp_path.iterdir()) == sorted([*kept, elsewhere])
    assert (elsewhere / "mine").exists()
    assert sweep_temp(Path(tmp_path / "no such folder")) == 0
