"""What the README shows runs as printed, one block after the other."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_blocks_of_the_readme_run_in_their_order(tmp_path, monkeypatch):
    pytest.importorskip("arch")
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(blocks) >= 6
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model",
        "prices",
        "report.html",
        "tuning.db",
    ]
    print("\nscores:", names["search"].best_score_, names["found"].best_score)
