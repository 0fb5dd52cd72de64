"""`job.toml`: what it may say, what it must not, and how it says what is wrong."""

import contextlib
import tomllib
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

import tsforecast as tsf
from tsforecast.batch.building import CLASSIFIERS, FORECASTERS, PARTS
from tsforecast.batch.config import (
    JobConfig,
    ModelConfig,
    as_offset,
    build_baseline,
    build_estimator,
    load_config,
)
from tsforecast.batch.exits import (
    ConfigError,
    ExitCode,
    JobError,
    LockedError,
    ModelError,
    RejectsError,
    SinkError,
    SourceError,
    StaleError,
    exit_code,
)
from tsforecast.batch.template import Guess, render

BASE = """
[job]
name = "prices"
[source]
path = "prices.csv"
series = "ticker"
time = "date"
"""


def read(folder: Path, text: str, environ: dict[str, str] | None = None, **flags: object):
    file = folder / "job.toml"
    file.write_text(text)
    overrides = {key.replace("__", "."): value for key, value in flags.items()}
    return load_config(file, environ=environ or {}, overrides=overrides)


def refusal(folder: Path, text: str, environ: dict[str, str] | None = None, **flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, text, environ, **flags)
    assert caught.value.code == ExitCode.USAGE
    return str(caught.value)


# ---------------------------------------------------------------- what is read


def test_paths_are_relative_to_the_file(tmp_path):
    config = read(tmp_path, BASE + '[sink]\npath = "../out"\n')
    assert config.source.path == tmp_path / "prices.csv"
    assert config.job.folder == tmp_path / "state"
    assert config.sink.path == tmp_path.parent / "out"


def test_sqlite_is_the_sink_where_none_is_named_and_lies_beside_the_file(tmp_path):
    assert read(tmp_path, BASE).sink.database == f"sqlite:///{tmp_path}/forecasts.db"
    named = read(tmp_path, BASE + '[sink]\ndatabase = "sqlite:///a/b.db"\n')
    assert named.sink.database == f"sqlite:///{tmp_path}/a/b.db"
    memory = read(tmp_path, BASE + '[sink]\ndatabase = "sqlite:///:memory:"\n')
    assert memory.sink.database == "sqlite:///:memory:"


def test_flags_stand_over_the_environment_and_that_over_the_file(tmp_path):
    text = BASE + "[run]\nworkers = 2\n"
    environ = {"TSFORECAST_RUN__WORKERS": "3"}
    assert read(tmp_path, text).run.workers == 2
    assert read(tmp_path, text, environ).run.workers == 3
    assert read(tmp_path, text, environ, run__workers=4).run.workers == 4


def test_the_environment_writes_lists_and_parameters_as_toml(tmp_path):
    config = read(
        tmp_path,
        BASE,
        {
            "TSFORECAST_SOURCE__COLUMNS": '["close", "volume"]',
            "TSFORECAST_MODEL__PARAMETERS__HORIZON": "5",
            "TSFORECAST_MODEL__PARAMETERS__TARGET": "close",
            "TSFORECAST_JOB__HASH_IDS": "true",
            "TSFORECAST_DATA": "/elsewhere",  # of the package, not of a job
            "PATH": "/bin",
        },
    )
    assert config.source.columns == ("close", "volume")
    assert config.model.parameters == {"horizon": 5, "target": "close"}
    assert config.job.hash_ids is True


def test_secrets_come_from_the_environment_and_are_not_shown(tmp_path):
    config = read(tmp_path, BASE, {"TSFORECAST_SINK__PASSWORD": "[hush"})
    assert config.sink.password.get_secret_value() == "[hush"
    assert config.sink.database.endswith("forecasts.db")
    assert "hush" not in repr(config) + str(config.model_dump_json())


def test_a_job_cannot_be_changed(tmp_path):
    config = read(tmp_path, BASE)
    with pytest.raises(ValueError, match="frozen"):
        config.job.part_size = 3


@pytest.mark.parametrize(
    ("span", "before"),
    [
        ("4D", "2024-02-25"),
        ("2W", "2024-02-15"),
        ("1y", "2023-02-28"),
        ("1M", "2024-01-29"),
        ("36h", "2024-02-27 12:00"),
        ("90min", "2024-02-28 22:30"),
    ],
)
def test_spans_are_those_of_the_calendar(span, before):
    assert pd.Timestamp("2024-02-29") - as_offset(span) == pd.Timestamp(before)


def test_a_span_that_no_calendar_reaches_back_is_refused(tmp_path):
    assert read(tmp_path, BASE + "max_staleness = '1000y'").source.max_staleness == "1000y"
    for span in ("1001y", "12001M", "52001W", "365001D", "0D"):
        text = refusal(tmp_path, BASE + f"max_staleness = '{span}'")
        assert "source.max_staleness: expected a span of time such as" in text


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("more", "key", "expected", "near"),
    [
        ("serie = 'x'", "source.serie", "one of path, database", "'series'"),
        ("[modle]", "modle", "one of job, source, model", "'model'"),
        ("[fit]\nevry = '3D'", "fit.evry", "one of every, window", "'every'"),
        ("late = 'use-last'", "source.late", "one of fail, skip, use_last", "'use_last'"),
        ("[model]\nestimator = 'Recurrent'", "model.estimator", "one of Comb", "'RecurrentFor"),
        ("[run]\nspread = 'processs'", "run.spread", "one of serial", "'processes'"),
    ],
)
def test_unknown_keys_and_choices_name_the_nearest(tmp_path, more, key, expected, near):
    text = refusal(tmp_path, BASE + more)
    assert text.startswith(f"{tmp_path / 'job.toml'}: {key}: expected {expected}")
    assert "found '" in text and f"Did you mean {near}" in text


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("max_staleness = '4'", "source.max_staleness: expected a span of time such as '4D'"),
        ("max_staleness = '0D'", "source.max_staleness: expected a span"),
        ("max_staleness = 4", "source.max_staleness: expected a valid string, found 4"),
        ("query = 'select 1'", "source: expected 'query' beside 'database', and only there"),
        ("database = 'sqlite:///x'\nquery = 's'", "source: expected either 'path' or 'database'"),
        ("columns = ['date']", "source: expected every column named once; twice are ['date']"),
        ("[fit]\nevery = 'daily'", "fit.every: expected a span of time"),
        ("[fit]\nalpha = 1", "fit.alpha: expected a number less than 1, found 1"),
        ("[run]\nworkers = 0", "run.workers: expected a number greater than or equal to 1"),
        ("[run]\nworkers = true", "run.workers: expected a number, found True"),
        ("[run]\ndask_address = 'x'", "run: expected 'dask_address' beside spread = 'dask'"),
        (
            "[monitor]\npsi_warn = nan",
            "monitor.psi_warn: expected a number greater than",
        ),
        ("[monitor]\npsi_warn = 0.9", "monitor: expected 'psi_warn' of at most 'psi_fail'"),
        ("[sink]\npath = 'a'\ndatabase = 'sqlite:///b'", "sink: expected either 'database'"),
        ("[sink]\ndatabase = 'forecasts.db'", "sink.database: expected a URL such as sqlite:///"),
        ("[backtest]\nbaselines = ['Naive', 'Naiv']", "backtest.baselines.1: expected one of"),
        ("[job.x]\ny = 1", "job.x: expected one of name, timezone"),
    ],
)
def test_wrong_values_name_key_expected_and_found(tmp_path, more, message):
    assert f"job.toml: {message}" in refusal(tmp_path, BASE + more)


def test_a_name_that_is_no_name_of_a_folder_is_refused(tmp_path):
    for name in ("../x", "a/b", "", ".hidden", "x" * 65):
        assert "job.name: expected" in refusal(tmp_path, BASE.replace('"prices"', f'"{name}"'))


def test_a_time_zone_that_is_none_is_refused(tmp_path):
    for zone in ("Mars/Base", "../../etc/passwd", "", "America"):
        text = BASE.replace("[source]", f'timezone = "{zone}"\n[source]')
        assert "job.timezone: expected a time zone" in refusal(tmp_path, text)


def test_all_errors_are_said_at_once(tmp_path):
    lines = refusal(tmp_path, "[job]\nnaem = 'x'\n[source]\npath = 'x'\n").splitlines()
    assert [line.split(": ")[1] for line in lines] == ["job.name", "job.naem", "source.time"]
    assert "expected a value, found nothing" in lines[0]


@pytest.mark.parametrize("section", ["source", "sink"])
def test_no_password_stands_in_a_file_and_none_is_shown(tmp_path, section):
    table = {"source": BASE, "sink": BASE + "[sink]\n"}[section]
    url = "postgresql+psycopg://me:hush@host/name"
    query = "query = 'select 1'\n" if section == "source" else ""
    for line in (
        "password = 'hush'",
        f"database = '{url}'\n{query}",
        f"database = 'postgresql://h/n?user=a&password=hush'\n{query}",
        f"database = 'postgresql://h/n?passwd=hush'\n{query}",
        f"database = 'mssql:///?odbc_connect=UID%3Da%3BPWD%3Dhush'\n{query}",
        f"database = 'postgresql://me:a#hush@host/name'\n{query}",
        f"database = 'postgresql://me:a/hush@host/name'\n{query}",
        f"database = 'postgresql://me:a?hush@host/name'\n{query}",
        f"database = 'postgresql://me:hush@[host/name'\n{query}",
        f"database = 'me:hush@host/name'\n{query}",
    ):
        text = refusal(tmp_path, table + line)
        assert "hush" not in text
        assert f"TSFORECAST_{section.upper()}__PASSWORD in the environment" in text
    for flag in ({f"{section}__password": "hush"}, {section: {"password": "hush"}}):
        text = refusal(tmp_path, BASE, **flag)
        assert "no secret on a command line" in text and "hush" not in text


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://user@host:5432/name",
        "postgresql+psycopg://user@[::1]:5432/name",
        "postgresql+psycopg://host/name?sslmode=require",
        "sqlite:////data/a:b@c.db",
    ],
)
def test_a_url_without_a_password_is_taken(tmp_path, url):
    assert read(tmp_path, BASE + f"[sink]\ndatabase = '{url}'").sink.database == url


def test_an_error_of_the_environment_or_a_flag_says_so(tmp_path):
    environ = {"TSFORECAST_RUN__WORKERS": "many"}
    assert refusal(tmp_path, BASE, environ).startswith(
        "environment TSFORECAST_RUN__WORKERS: run.workers: expected a valid integer"
    )
    unknown = {"TSFORECAST_RNU__WORKERS": "2"}
    assert "Did you mean 'run'?" in refusal(tmp_path, BASE, unknown)
    assert refusal(tmp_path, BASE, unknown).startswith("environment TSFORECAST_RNU__WORKERS: rnu:")
    assert refusal(tmp_path, BASE, run__workers=-1).startswith("command line: run.workers:")
    assert "expected a table [job.name]" in refusal(tmp_path, BASE, job__name__x=1)


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    for file, found in ((tmp_path / "none.toml", "no such file"), (tmp_path, "is a directory")):
        with pytest.raises(ConfigError, match=f"expected a file that can be read, found {found}"):
            load_config(file, environ={})
    for text in ("[job", "a = 1\na = 2", "\x00", "x = " + "[" * 3000):
        assert "expected a text of TOML" in refusal(tmp_path, text)
    assert "job.toml, line 2: expected a text of TOML" in refusal(tmp_path, "[job]\na = 5 rows\n")
    (tmp_path / "job.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="expected a text of TOML in UTF-8"):
        load_config(tmp_path / "job.toml", environ={})


# ---------------------------------------------------------------- digest


def test_the_digest_is_of_what_decides_the_forecasts(tmp_path):
    base = read(tmp_path, BASE).digest()
    assert len(base) == 64
    for more in ("late = 'skip'", "columns = ['close']", "[model]\nestimator = 'Naive'",
                 "[model.parameters]\nhorizon = 2"):  # fmt: skip
        assert read(tmp_path, BASE + more).digest() != base
    for more in ("[run]\nworkers = 2", "[sink]\npath = 'x'", "[monitor]\nwindow = 5",
                 "[fit]\nevery = 'never'"):  # fmt: skip
        assert read(tmp_path, BASE + more).digest() == base
    assert read(tmp_path, BASE, {"TSFORECAST_SOURCE__PASSWORD": "x"}).digest() == base
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert read(elsewhere, BASE).digest() == base


def test_the_order_of_keys_does_not_count(tmp_path):
    two = "[model.parameters]\nhorizon = 2\nlookback = 5\n"
    other = "[model.parameters]\nlookback = 5\nhorizon = 2\n"
    assert read(tmp_path, BASE + two).digest() == read(tmp_path, BASE + other).digest()


# ---------------------------------------------------------------- estimators


def test_lists_of_classes_are_those_that_are_public():
    public = {name for name in tsf.__all__ if hasattr(getattr(tsf, name), "fit")}
    transforms = {name for name in public if hasattr(getattr(tsf, name), "transform")}
    on_arrays = {"RecurrentClassifier", "RecurrentForecaster", "RecurrentRegressor"}
    known = {*FORECASTERS, *CLASSIFIERS}
    assert public - transforms - {"AlarmPolicy"} - known <= on_arrays | {"PositionEstimator"}
    assert {name for name in CLASSIFIERS if hasattr(getattr(tsf, name), "predict_risk")} == set(
        CLASSIFIERS
    )
    assert all(hasattr(getattr(tsf, name), "forecast_origins") for name in FORECASTERS)
    assert transforms <= set(PARTS)


def test_every_class_of_the_lists_can_be_built():
    first = {
        "Combination": {"estimators": {"walk": {"class": "RandomWalk"}}},
        "ConformalForecaster": {"estimator": {"class": "Naive"}},
        "FilteredHistorical": {"volatility": {"class": "LogHAR"}},
        "CalibratedEvents": {"estimator": {"class": "NEWS2", "event": "ill"}},
        "FeatureClassifier": {"estimator": {"class": "LogisticRegression"}, "event": "ill"},
        "LastValue": {"column": "map", "event": "ill"},
        "SeasonalNaive": {"season": 5},
    }
    for name in (*FORECASTERS, *CLASSIFIERS):
        given_ = first.get(name, {"event": "ill"} if name in CLASSIFIERS else {})
        model = ModelConfig(estimator=name, parameters=given_)
        assert type(build_estimator(model)).__name__ == name
        assert model.kind == ("event" if name in CLASSIFIERS else "forecast")
    rules = {"Event": {"rule": "map < 65"}, "Clip": {"lower": 0, "upper": 1}}
    rules |= {"Bounded": {"low": 0, "high": 1}, "HistGradientBoostingRegressor": {}}
    for name in PARTS:
        part = {"head": {"class": name, **rules.get(name, {})}}
        assert type(build_estimator(ModelConfig(parameters=part)).head).__name__ == name


def test_tables_with_a_class_are_objects_and_lists_of_them_pipelines(tmp_path):
    text = (
        BASE
        + """
    [model.parameters]
    target = "close"
    hidden_sizes = [8, 4]
    transform = [{class = "Log"}, {class = "SeriesScaler"}]
    baseline = {class = "LogHAR", target = "close"}
    training = {class = "Training", max_epochs = 3, trainer_options = {log_every_n_steps = 2}}
    """
    )
    model = build_estimator(read(tmp_path, text).model)
    assert model.hidden_sizes == (8, 4)
    assert [type(step).__name__ for _, step in model.transform.steps] == ["Log", "SeriesScaler"]
    assert model.baseline.target == "close"
    assert model.training.max_epochs == 3
    assert model.training.trainer_options == {"log_every_n_steps": 2}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"horizn": 3}, r"model\.parameters\.horizn: expected a parameter of Rec.*mean 'horizon'"),
        ({"transform": {"class": "Lgo"}}, r"transform\.class: expected the public.*mean 'Log'"),
        ({"transform": {"class": "os.system"}}, r"transform\.class: expected the public name"),
        ({"transform": {"class": ["Log"]}}, r"transform\.class: expected the public name"),
        ({"transform": [{"class": "Log"}, 3]}, "expected tables with 'class' throughout"),
        ({"training": {"class": "Training", "epochs": 3}}, r"training\.epochs: expected"),
        ({"head": {"class": "Point", "error": "cubed"}}, "expected what Point can be made with"),
        ({"transform": {"class": "Pipeline", "steps": []}}, "expected the public name"),
    ],
)
def test_wrong_parameters_are_named(parameters, message):
    with pytest.raises(ConfigError, match=message):
        build_estimator(ModelConfig(parameters=parameters))


def test_wrong_parameters_name_file_variable_or_flag(tmp_path):
    path = tmp_path / "job.toml"
    path.write_text(BASE + "[model.parameters]\nhorizn = 2\ntransform = [{class = 'Log'}]\n")
    with pytest.raises(ConfigError) as caught:
        build_estimator(load_config(path, environ={}).model)
    said = f"{path}: model.parameters.horizn: expected a parameter of RecurrentForecaster, found"
    assert str(caught.value).startswith(said)
    key, flag = "model.parameters.transform", {"class": "Lag"}
    config = load_config(path, environ={}, overrides={key: flag, "model.parameters.horizn": 1})
    with pytest.raises(ConfigError) as caught:
        build_estimator(config.model)
    assert str(caught.value).startswith("command line: model.parameters.horizn: expected a para")
    path.write_text(BASE)
    environ = {"TSFORECAST_MODEL__PARAMETERS__TRAINING": "{class = 'Training', epochs = 3}"}
    with pytest.raises(ConfigError) as caught:
        build_estimator(load_config(path, environ=environ).model)
    said = "environment TSFORECAST_MODEL__PARAMETERS__TRAINING: model.parameters.training.epochs: "
    assert str(caught.value).startswith(said + "expected a parameter of Training, found 'epochs'")


def test_a_parameter_is_found_at_whatever_depth_if_it_is_there_once(tmp_path):
    text = "[model.parameters]\nhorizon = 0\ntraining = {class = 'Training', max_epochs = 0}\n"
    model = read(tmp_path, BASE + text + "transform = [{class = 'Clip', lower = 2}]\n").model
    file = f"{tmp_path / 'job.toml'}: model.parameters"
    assert model.place_of_parameter("horizon") == f"{file}.horizon"
    assert model.place_of_parameter("max_epochs") == f"{file}.training.max_epochs"
    assert model.place_of_parameter("lower") == f"{file}.transform[0].lower"
    lists = {"model.parameters.transform": [{"class": "Clip", "lower": 2}]}
    given = load_config(tmp_path / "job.toml", environ={}, overrides=lists).model
    assert given.place_of_parameter("lower") == "command line: model.parameters.transform[0].lower"
    assert model.place_of_parameter("class") == model.place_of_parameter("lookback") == file
    assert ModelConfig(parameters={"horizon": 0}).place_of_parameter("horizon") == (
        "model.parameters.horizon"
    )


def test_a_configuration_that_is_read_twice_is_equal_to_itself(tmp_path):
    first, second = (read(tmp_path, BASE + "[model]\nestimator = 'Naive'\n") for _ in range(2))
    assert first == second
    assert first != read(tmp_path, BASE + "[model]\nestimator = 'Drift'\n")


def test_a_class_without_what_it_needs_is_refused():
    with pytest.raises(ConfigError, match="expected what EventClassifier can be made with"):
        build_estimator(ModelConfig(estimator="EventClassifier"))


def test_baselines_answer_the_question_of_the_model():
    event = {"event": {"class": "Event", "rule": "map < 65"}, "horizon": "6h", "step": "1h"}
    model = ModelConfig(estimator="EventClassifier", parameters={**event, "hidden_sizes": [4]})
    beside = build_baseline("LogisticBaseline", model)
    assert beside.horizon == "6h" and beside.event.rule == "map < 65"
    inner = {"class": "RecurrentForecaster", "target": "close", "horizon": 3}
    wrapped = ModelConfig(estimator="ConformalForecaster", parameters={"estimator": inner})
    assert build_baseline("Naive", wrapped).get_params()["target"] == "close"
    assert build_baseline("Naive", wrapped).horizon == 3


# ---------------------------------------------------------------- the template


def test_the_template_is_a_job_and_shows_every_key(tmp_path):
    text = render("prices")
    config = read(tmp_path, text)
    assert build_estimator(config.model).horizon == 5
    for section, field in JobConfig.model_fields.items():
        table = field.annotation
        assert issubclass(table, BaseModel) and f"[{section}]" in text
        for key in table.model_fields:
            shown = key in ("password", "parameters") or f"\n{key} = " in text
            assert shown or f"\n# {key} = " in text, (section, key)


def test_defaults_that_the_template_shows_are_those_of_the_code(tmp_path):
    shown = []
    for line in render("prices").splitlines():
        if line.startswith("[") and "." not in line.split("#")[0]:
            section = line[1 : line.index("]")]
        name, equals, value = line.removeprefix("# ").partition(" = ")
        table = (
            JobConfig.model_fields[section].annotation
            if line.startswith(("#", "[")) and (line != line.removeprefix("# ")) and equals
            else None
        )
        if table is None or name not in table.model_fields:
            continue
        default = table.model_fields[name].default
        if default is not None and default is not ... and name not in ("database", "path"):
            read_ = tomllib.loads(f"value = {value}")["value"]
            if name in ("workers", "static", "columns"):
                continue
            assert str(read_) == str(default), (section, name)
            shown.append(name)
    assert len(shown) > 25


@given(
    name=st.text(max_size=70), time=st.text(max_size=20), target=st.text(max_size=20),
    series=st.none() | st.text(max_size=20), others=st.lists(st.text(max_size=10), max_size=3),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_whatever_columns_are_called_the_template_is_a_job_or_refused(
    name, time, target, series, others
):
    what = Guess(time=time, target=target, series=series, others=tuple(others))
    try:
        text = render(name, source=name, guessed=what)
    except ConfigError:
        return
    tree = tomllib.loads(text)
    assert tree["source"]["time"] == time and tree["model"]["parameters"]["target"] == target
    assert tree["source"].get("series") == series and tree["job"]["name"] == name


# ---------------------------------------------------------------- fuzz

_words = st.sampled_from(
    [*JobConfig.model_fields, "name", "path", "time", "columns", "class", "database", "query",
     "parameters", "estimator", "every", "spread", "password", "x"]
)  # fmt: skip
_values = st.recursive(
    st.one_of(
        st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.datetimes(),
        st.timedeltas(timedelta(0)).map(str), st.sampled_from(["10y", "sqlite:///x", "Naive"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(_words, _values | st.dictionaries(_words, _values, max_size=6), max_size=6))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_tables_give_a_job_or_our_error(tmp_path_factory, tables):
    flags = {}
    for section, table in tables.items():
        inner = table if isinstance(table, dict) else {"": table}
        for key, value in inner.items():
            flags[f"{section}.{key}" if key else section] = value
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text(BASE)
    _job_or_error(file, flags)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace")))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_bytes_give_a_job_or_our_error(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp() / "bytes.toml"
    file.write_bytes(data)
    _job_or_error(file, {})


@given(st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_template_with_altered_characters_gives_a_job_or_our_error(tmp_path_factory, data):
    text = bytearray(render("prices").encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=4))
    file = tmp_path_factory.getbasetemp() / "altered.toml"
    file.write_bytes(bytes(text))
    _job_or_error(file, {})


def _job_or_error(file: Path, flags: dict[str, object]) -> None:
    try:
        config = load_config(file, environ={}, overrides=flags)
    except ConfigError:
        return
    assert len(config.digest()) == 64
    with contextlib.suppress(ConfigError):
        build_estimator(config.model)


# ---------------------------------------------------------------- exit codes


def test_exit_codes_are_those_that_schedulers_are_told():
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0, "FAILED": 1, "USAGE": 2, "DATA": 3, "STALE": 4, "REJECTS": 5, "MODEL": 6,
        "LOCKED": 75, "INTERRUPTED": 130, "TERMINATED": 143,
    }  # fmt: skip


def test_every_error_has_its_code():
    codes = {ConfigError: 2, SourceError: 3, SinkError: 3, StaleError: 4, RejectsError: 5}
    codes |= {ModelError: 6, LockedError: 75, JobError: 1}
    for cls, code in codes.items():
        error = cls.of("x", expected="a", found="b", advice="C.")
        assert exit_code(error) == code and str(error) == "x: expected a, found b. C."
    assert exit_code(tsf.DataError("x")) == 3
    assert exit_code(KeyboardInterrupt()) == 130
    assert exit_code(SystemExit(143)) == 143
    assert exit_code(SystemExit(9)) == exit_code(ValueError("x")) == 1
