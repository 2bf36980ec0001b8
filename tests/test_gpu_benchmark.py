"""benchmarks/gpu.py runs without a card, on NumPy's arrays: every section, and what it compares."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=False)


def test_a_trial_of_all_sections() -> None:
    done = run("--trial")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "WRONG" not in done.stdout
    for title in ("Elementwise", "Unaligned arrays", "Gated", "Rows", "Other axes", "Cross-entropy", "Learnable", "Calls", "First call"):
        assert f"\n{title}\n" in done.stdout


def test_a_wrong_result_fails_the_run(tmp_path: Path) -> None:
    text = f"""
import runpy, sys
import numpy as np, fastact
right = fastact.swiglu
class Wrong:
    backward = right.backward
    def __call__(self, *args, **options):
        return right(*args, **options) * 1.5
fastact.swiglu = Wrong()
sys.argv = ["gpu.py", "--trial", "--only", "gated"]
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1, done.stderr[-2000:]
    assert "WRONG: swiglu float32" in done.stdout


def test_what_it_refuses() -> None:
    done = run("--only", "nonsense")
    assert done.returncode == 2
    assert "no section nonsense" in done.stderr
    assert "measures nothing" in run("--trial", "--write", "x.md").stderr
