"""A notebook shows the pictures."""

from __future__ import annotations

import pytest

CODE = """
import pandas as pd
import tsforecast as tsf
ahead = pd.DataFrame({"forecast": [1.0, 2.0], "q0.1": [0.0, 0.5], "q0.9": [2.0, 4.0]})
tsf.plot_forecast(ahead, pd.Series([1.0, 1.5], index=[-2, -1]))
"""


def test_a_notebook_shows_a_picture_without_show():
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)])
    nbclient.NotebookClient(notebook, timeout=120).execute()
    kinds = [kind for output in notebook.cells[0].outputs for kind in output.get("data", {})]
    assert kinds.count("image/png") == 1
