"""Recipes of the README for a scheduled job: they load and parse, and their codes are ours."""

import ast
import configparser
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tsforecast.batch.building import build
from tsforecast.batch.config import build_baseline, build_estimator, load_config
from tsforecast.batch.exits import ExitCode
from tsforecast.cli.arguments import make_parser

README = Path(__file__).parents[1] / "README.md"
COMMAND = "/opt/tsforecast/bin/tsforecast"


def blocks(language):
    """Fenced blocks of a language, "" for those of none."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    return [text for name, text in fenced if name == language]


def parsed(command):
    """What the command line makes of a command."""
    words = command.split()
    assert words[0] in ("tsforecast", COMMAND)
    return make_parser().parse_args(words[1:])


def test_the_job_of_the_readme_is_one_that_could_run(tmp_path):
    (text,) = blocks("toml")
    path = tmp_path / "job.toml"
    path.write_text(text)
    config = load_config(path, environ={})
    model = build_estimator(config.model)
    assert model.get_params()["past"] == ["volume"]
    for name in config.backtest.baselines:
        build_baseline(name, config.model)
    # nothing in it is a default that somebody has written out wrongly
    given = tomllib.loads(text)
    assert config.fit.promote == given["fit"]["promote"] == "if_better"
    assert build("Log", {}, "transform") is not None


def test_the_commands_of_the_readme_are_commands():
    listing = next(block for block in blocks("") if "tsforecast init" in block)
    commands = re.findall(r"^(tsforecast [^#>\n]*)", listing, flags=re.MULTILINE)
    assert len(commands) >= 5
    for command in commands:
        parsed(command)


def test_the_table_of_exit_codes_names_all_of_them():
    rows = re.findall(r"^\| ([\d, ]+) \|", README.read_text(), flags=re.MULTILINE)
    named = {int(code) for row in rows for code in row.split(",")}
    assert named == {int(code) for code in ExitCode}


def test_the_line_of_cron_runs_the_job():
    (text,) = blocks("cron")
    (line,) = (line for line in text.splitlines() if line and not line.startswith("#"))
    *when, rest = line.split(maxsplit=5)
    assert len(when) == 5 and all(re.fullmatch(r"[\d*,/-]+", field) for field in when)
    folder, command = rest.split(" && ")
    assert folder.startswith("cd ") and "%" not in command  # cron reads % as the end of a line
    assert parsed(command.split(" >")[0]).quiet


def test_systemd_takes_the_unit_and_the_timer(tmp_path):
    service, timer = blocks("ini")
    unit = configparser.RawConfigParser(strict=True)
    unit.optionxform = str
    unit.read_string(service)
    parsed(unit["Service"]["ExecStart"])
    fatal = {int(code) for code in unit["Service"]["RestartPreventExitStatus"].split()}
    ours = {ExitCode.FAILED, ExitCode.USAGE, ExitCode.DATA, ExitCode.REJECTS, ExitCode.MODEL}
    assert fatal == {int(code) for code in ours}
    well = {int(code) for code in unit["Service"]["SuccessExitStatus"].split()}
    assert well == {int(ExitCode.LOCKED), int(ExitCode.TERMINATED)}
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze here: the unit was parsed, and not verified")
    (tmp_path / "tsforecast.service").write_text(service.replace(COMMAND, sys.executable))
    (tmp_path / "tsforecast.timer").write_text(timer)
    done = subprocess.run(
        [program, "verify", tmp_path / "tsforecast.service", tmp_path / "tsforecast.timer"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    about = [line for line in done.stderr.splitlines() if "tsforecast" in line]
    assert about == [] and done.returncode == 0, done.stderr


def test_the_cron_job_of_kubernetes_is_well_formed():
    yaml = pytest.importorskip("yaml")
    (text,) = blocks("yaml")
    job = yaml.safe_load(text)
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    spec = job["spec"]
    assert spec["concurrencyPolicy"] == "Forbid" and len(spec["schedule"].split()) == 5
    inner = spec["jobTemplate"]["spec"]
    pod = inner["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    parsed(" ".join(pod["containers"][0]["args"]))
    codes = inner["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"]
    stopped = {ExitCode.OK, ExitCode.INTERRUPTED, ExitCode.TERMINATED}
    assert set(codes) == {int(code) for code in set(ExitCode) - stopped}
    mounts = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}


def test_the_tasks_of_airflow_tell_exit_codes_apart():
    (text,) = blocks("py")
    tree = ast.parse(text)
    lists = [node for node in ast.walk(tree) if isinstance(node, ast.List)]
    words = [getattr(word, "value", "2024-06-28") for word in lists[0].elts]
    assert parsed(" ".join(words)).run_date is not None
    # what a code becomes, with exceptions and the command of our own
    for code, expected in {
        0: None,
        75: "Skip",
        4: "Retry",
        143: "Retry",
        -9: "Retry",
        3: "Fail",
    }.items():
        assert outcome(text, code) == expected


def outcome(text, code):
    """Run the task of a DAG with an Airflow and a subprocess of our own."""
    import types

    kinds = {name: type(name, (Exception,), {}) for name in ("Skip", "Retry", "Fail")}
    run = lambda command: types.SimpleNamespace(returncode=code)  # noqa: E731
    tree = ast.parse(text)
    tree.body = [each for each in tree.body if not isinstance(each, (ast.Import, ast.ImportFrom))]
    bare = lambda *given, **named: lambda function: function  # noqa: E731
    names = {
        "dag": bare,
        "task": bare,
        "pendulum": types.SimpleNamespace(datetime=lambda *parts, tz: tz),
        "timedelta": lambda **parts: None,
        "subprocess": types.SimpleNamespace(run=run),
        "AirflowSkipException": kinds["Skip"],
        "AirflowException": kinds["Retry"],
        "AirflowFailException": kinds["Fail"],
    }
    try:
        exec(compile(tree, "dag.py", "exec"), names)
    except tuple(kinds.values()) as error:
        return type(error).__name__
    return None
