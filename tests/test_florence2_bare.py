"""The engine where only torch, transformers, numpy and Pillow are: a borrowed GPU machine, say."""

import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
THERE = {"torch", "transformers", "numpy", "pillow"}
TORCHS_OWN = {"fsspec", "tqdm", "pyyaml", "safetensors"}
"""What torch and transformers bring along."""
WITHOUT_THE_REST = """
import sys
for name in {missing!r}:
    sys.modules[name] = None
sys.argv = {argv!r}
"""


def run_without_the_rest(code, *argv):
    """In a fresh interpreter that has none of our other requirements."""
    names = {re.split(r"\W", line.replace("-", "_"))[0] for line in requires("annotator")}
    missing = sorted(names - THERE - TORCHS_OWN)
    assert {"pydantic", "pyarrow", "shapely", "duckdb"} <= set(missing)
    given = WITHOUT_THE_REST.format(missing=missing, argv=["x", *argv]) + code
    return subprocess.run([sys.executable, "-c", given], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("module", ["engine", "reference"])
def test_the_engine_imports_with_torch_alone(module):
    done = run_without_the_rest(f"import stages.florence2.{module}")
    assert done.returncode == 0, done.stderr


def test_the_benchmark_starts_with_torch_alone():
    code = "import runpy; runpy.run_path('benchmarks/engine.py', run_name='__main__')"
    done = run_without_the_rest("sys.path.insert(0, 'benchmarks'); " + code, "--help")
    assert done.returncode == 0, done.stderr
    assert "--device" in done.stdout
