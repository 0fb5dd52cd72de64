"""Importing costs nothing until a name is used."""

import subprocess
import sys

import pytest

import tsforecast as tsf

HEAVY = ("torch", "pandas", "sklearn", "numpy", "pytorch_lightning", "statsmodels", "scipy")
NEED_TORCH = {
    "Bernoulli",
    "CellStack",
    "EventClassifier",
    "Gaussian",
    "NegativeBinomial",
    "Point",
    "Poisson",
    "PositionEstimator",
    "Quantiles",
    "RecurrentClassifier",
    "RecurrentForecaster",
    "RecurrentRegressor",
    "Stream",
    "StudentT",
    "Training",
    "export_onnx",
    "gate_summary",
    "gates",
    "memory_profile",
    "onnx_inputs",
}


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_loads_nothing_heavy():
    code = f"import sys, tsforecast; print([m for m in {HEAVY} if m in sys.modules])"
    assert run(code) == "[]"


def test_names_without_networks_load_without_torch():
    names = sorted(set(tsf.__all__) - NEED_TORCH)
    code = (
        f"import sys, tsforecast as t; [getattr(t, n) for n in {names}];"
        "print([m for m in ('torch', 'pytorch_lightning', 'statsmodels', 'matplotlib', 'arch', "
        "'optuna') if m in sys.modules])"
    )
    assert run(code) == "[]"


def test_every_public_name_resolves_and_is_documented():
    for name in tsf.__all__:
        assert getattr(tsf, name).__doc__, name


def test_dir_lists_public_names():
    assert dir(tsf) == sorted(tsf.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Prophet'"):
        tsf.Prophet  # noqa: B018


def test_types_for_editors_match_the_names_that_load():
    import ast
    from pathlib import Path

    tree = ast.parse(Path(tsf.__file__).read_text())
    listed = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert listed == tsf._HOME
