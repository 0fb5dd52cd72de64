"""The notebooks run from top to bottom, and are stored with what they showed.

A notebook that takes long has its sizes in one cell tagged "parameters"; the metadata of that cell
holds under "quick" what the tests set after it: the same page, at a reduced size.

The pictures of the README are outputs of cells tagged "readme-NAME", and are written to
notebooks/pictures by ``python tests/test_notebooks.py``.
"""

import base64
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PICTURES = ROOT / "notebooks" / "pictures"
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    nbformat = pytest.importorskip("nbformat")
    return nbformat.read(path, as_version=4)


def pictures(notebook):
    """Pictures of a notebook, in order, each with the tags of its cell."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [
        (cell.metadata.get("tags", []), output.data["image/png"])
        for cell in code
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]


def pictures_of_the_readme():
    """Bytes of the pictures by the name of their file."""
    return {
        tag.removeprefix("readme-") + ".png": base64.b64decode(picture)
        for path in NOTEBOOKS
        for tags, picture in pictures(read(path))
        for tag in tags
        if tag.startswith("readme-")
    }


@each_notebook
def test_notebook_runs(path, tmp_path):
    pytest.importorskip("arch")
    notebook = read(path)
    shown = len(pictures(notebook))
    from nbclient import NotebookClient

    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", ()):
            cell.source += "\n" + cell.metadata["quick"]
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    assert list(tmp_path.iterdir()) == []
    assert len(pictures(notebook)) == shown


@each_notebook
def test_notebook_is_stored_as_it_ran(path):
    """Every cell was executed, in order and without an error, and there is something to see."""
    notebook = read(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert pictures(notebook) or path.stem == "04-batch"  # a job draws nothing


def test_the_pictures_of_the_readme_are_those_of_the_notebooks():
    linked = re.findall(r"\(notebooks/pictures/(.*?)\)", (ROOT / "README.md").read_text())
    assert {path.name: path.read_bytes() for path in PICTURES.iterdir()} == pictures_of_the_readme()
    assert sorted(linked) == sorted(pictures_of_the_readme())


def test_there_are_notebooks():
    assert NOTEBOOKS


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for name, picture in pictures_of_the_readme().items():
        (PICTURES / name).write_bytes(picture)
