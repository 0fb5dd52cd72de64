"""What the README shows runs as printed, one block after the other, and says what is printed below.

A block of ``python`` or of ``console`` may be followed by one of ``text``: what it writes. Words
must be the same, and numbers of the same size: on another processor, or with more threads, a
network is trained to other numbers. What stands in brackets (of a verdict, the error and the
p-value) may differ.
"""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?")
BRACKETS = re.compile(r"\([^)]*\)")
EXAMPLES = "## Three ways to use it"


def blocks(text):
    """Blocks that run, each with what it is said to write, or None."""
    fenced = re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    after = [*fenced[1:], ("", "")]
    return [
        (language, source, written if next_language == "text" else None)
        for (language, source), (next_language, written) in zip(fenced, after)
        if language in ("python", "console")
    ]


def section(title):
    text = README.read_text()
    begin = text.index(title)
    return text[begin : text.index("\n## ", begin + 1)]


def run_python(source, names):
    with contextlib.redirect_stdout(io.StringIO()) as written:
        exec(compile(source, "README.md", "exec"), names)
    return written.getvalue()


def run_console(source):
    """Run commands by the program of this environment; both streams, as a terminal shows them."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return "".join(
        subprocess.run(
            line.removeprefix("$ "),
            shell=True,
            check=True,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": path},
        ).stdout
        for line in source.splitlines()
    )


def run(text):
    names: dict[str, object] = {}
    for language, source, expected in blocks(text):
        written = run_python(source, names) if language == "python" else run_console(source)
        if expected is not None:
            assert words(written) == words(expected)
            assert numbers(written) == pytest.approx(numbers(expected), rel=0.5, abs=0.02)
    return names


def words(text):
    return NUMBER.sub("#", BRACKETS.sub("", text)).split()


def numbers(text):
    return [float(number) for number in NUMBER.findall(BRACKETS.sub("", text))]


def test_a_difference_in_words_or_numbers_is_seen():
    assert words("skill (p = 0.02), 1.5 % off") == words("skill (3 % lower, p = 0.1),  2.5 % off")
    assert words("skill over HAR") != words("no evidence of skill over HAR")
    assert numbers("1 of 2.5e-3, -4") == [1, 0.0025, -4]


@pytest.mark.filterwarnings("ignore")
def test_the_three_ways_run_and_write_what_stands_below_them(tmp_path, monkeypatch):
    pytest.importorskip("arch")
    text = section(EXAMPLES)
    assert sum(expected is not None for _, _, expected in blocks(text)) >= 3
    monkeypatch.chdir(tmp_path)
    run(text)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_blocks_of_the_readme_run_in_their_order(tmp_path, monkeypatch):
    pytest.importorskip("arch")
    text = README.read_text().replace(section(EXAMPLES), "")
    assert len(blocks(text)) >= 6
    monkeypatch.chdir(tmp_path)
    names = run(text)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "fan.html",
        "model",
        "prices",
        "report.html",
        "tuning.db",
    ]
    print("\nscores:", names["search"].best_score_, names["found"].best_score)
