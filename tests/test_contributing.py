"""The skeletons in CONTRIBUTING.md run as they stand."""

import re
from pathlib import Path

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()


def test_the_skeletons_run():
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 5
    namespace = {"__name__": __name__}
    for block in blocks:
        assert "assert " in block
        exec(block, namespace)
