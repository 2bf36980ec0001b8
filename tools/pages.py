"""Write the reference pages, ``docs/reference``: one for every function with its plot, and their index, from what is known of each.

    python tools/pages.py [NAME ...]

Needs matplotlib. A test tells when the pages are stale (their pictures are not compared).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import fastact
from fastact.catalogue import Facts
from fastact.kernels.definitions.language import evaluate
from fastact.verify.report import number

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
CURVES = {"value": "#1f4e8c", "derivative": "#dd8452", "second derivative": "#55a868"}
PEERS = {"torch": "PyTorch", "jax": "JAX", "keras": "Keras", "onnx": "ONNX", "huggingface": "Hugging Face", "vllm": "vLLM", "mlx": "MLX"}
DIRECTIONS = ("value", "derivative", "second_derivative")


def parameters(facts: Facts) -> tuple[float, ...]:
    """What the function is called with: nothing if every parameter has a default."""
    definition = getattr(fastact, facts.name).definition
    return definition.examples[0] if None in facts.parameters.values() else ()


def plot(facts: Facts, file: Path) -> None:
    """Value, first and second derivative over the part of the line where something happens."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "fastact", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9})
    from matplotlib import pyplot

    f, given = getattr(fastact, facts.name), parameters(facts)
    x = np.linspace(-6, 6, 481)
    value, slope = f.value_and_derivative(x, *given)
    curves = {"value": value, "derivative": slope}
    if facts.second_derivative:
        curves["second derivative"] = f.derivative(x, *given, order=2)
    figure, axes = pyplot.subplots(figsize=(5.4, 3.2), layout="constrained")
    axes.axhline(0, color="0.8", linewidth=0.8)
    axes.axvline(0, color="0.8", linewidth=0.8)
    for name, y in curves.items():
        y = np.round(y, 4)
        if (name == "value" and facts.continuity == "discontinuous") or (name == "derivative" and facts.kinks):
            y = np.where(np.abs(np.diff(y, prepend=y[0])) > 0.12, np.nan, y)  # a jump is no line
        axes.plot(x, y, color=CURVES[name], linewidth=1.8 if name == "value" else 1.2, label=name)
    axes.set_xlim(-6, 6)
    low, high = np.nanmin(np.clip(value, -7, 7)), np.nanmax(np.clip(value, -7, 7))
    axes.set_ylim(min(low, -1.2) - 0.2, max(high, 1.2) + 0.2)
    axes.set_xlabel("x")
    axes.legend(frameon=False, loc="upper left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(file, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    # Coordinates to a hundredth of a point: the files are a third of the size.
    file.write_text(re.sub(r"(\d+\.\d\d)\d+", r"\1", file.read_text()))


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def code(text: str) -> str:
    """`text` as code inside a table."""
    return "`" + text.replace("|", "\\|") + "`"


def page(facts: Facts) -> str:
    """The page of a function."""
    f: Any = getattr(fastact, facts.name)
    signature = ", ".join(["x", *(n if d is None else f"{n}={d:.10g}" for n, d in facts.parameters.items())])
    doc = f.definition.doc.strip().splitlines()
    rows = [
        ["value", code(facts.formula)],
        ["derivative", code(facts.derivative_formula)],
        ["range", facts.value_range],
        ["monotonicity", {"none": "neither increasing nor decreasing"}.get(facts.monotonicity, facts.monotonicity)],
        ["differentiable", {"smooth": "any number of times", "C0": "continuous, with kinks"}.get(facts.continuity, facts.continuity)],
        ["largest slope", "unbounded" if facts.lipschitz == float("inf") else f"{facts.lipschitz:.6g} (Lipschitz constant)"],
        ["limits", "; ".join(f"f({at:g}) = {value:.7g}" for at, value in facts.limits.items()) + "; f(nan) = nan"],
    ]
    for at, (left, right) in facts.kinks.items():
        slope = f.derivative(
            np.array([float(evaluate(at, dict(zip(facts.parameters, parameters(facts) or facts.parameters.values(), strict=True))))]),
            *parameters(facts),
        )
        rows.append([f"slope at {code(at)}", f"{slope[0]:.7g}; {code(left)} from the left, {code(right)} from the right (`kink=`)"])
    if facts.learnable:
        rows.append(["learnable", f"{', '.join(facts.learnable)}: `backward` returns their gradients too"])
    rows.append(["second derivative", f"`{facts.name}.derivative(x, order=2)`" if facts.second_derivative else "none: not smooth"])
    needs = f.definition.output_requires
    back = f"`{facts.name}.backward_from_output(grad, y)`" + (f", for {code(needs)}" if needs else "")
    rows.append(["from the output", back if facts.from_output else "does not follow exactly"])
    if f.definition.reach:
        rows.append(["bounds hold for abs(x) up to", ", ".join(f"{v:g} ({k})" for k, v in f.definition.reach.items())])
    if facts.aliases:
        rows.append(["also known as", ", ".join(map(code, facts.aliases))])
    rows += [["cost class", facts.cost], ["source", facts.source]]
    out = [f"# {facts.name}", "", doc[0], *(line.strip() for line in doc[1:]), "", f"    fastact.{facts.name}({signature})", ""]
    out += [f"![{facts.name}: value and derivatives]({facts.name}.svg)", "", *table(["", ""], rows), ""]
    errors = measured(facts.name)
    if errors:
        out += ["## Largest errors, in ULP", "", *table(["type", "direction", "fastact", "`precise`", "PyTorch", "JAX"], errors), ""]
        out += ["How they were measured: [accuracy](../accuracy.md).", ""]
    if facts.peers:
        out += [
            "## Who else has it",
            "",
            *table(["", ""], [[PEERS.get(peer, peer), ", ".join(map(code, names))] for peer, names in facts.peers.items()]),
            "",
        ]
    return "\n".join([*out, "[All functions](index.md)", ""])


def measured(name: str) -> list[list[str]]:
    """The rows of errors."""
    from fastact.verify import report

    record = report.load()["functions"].get(name, {})
    return [
        [kind, direction.replace("_", " "), *(number(float(row[c])) if c in row else "" for c in ("fastact", "precise", "torch", "jax"))]
        for kind, found in record.items()
        for direction in DIRECTIONS
        if (row := found.get(direction))
    ]


def index(all_facts: list[Facts]) -> str:
    """The list of pages."""
    rows = [
        [f"[{f.name}]({f.name}.md)", code(f.formula), f.value_range, f.continuity, ", ".join(PEERS.get(p, p) for p in f.peers)]
        for f in all_facts
    ]
    head = "# Functions\n\nWritten by `tools/pages.py`; do not edit. `fastact.catalogue()` has the same as data."
    return "\n".join([head, "", *table(["function", "value", "range", "continuity", "who else has it"], rows), ""])


def gated() -> str:
    """The table of gated functions."""
    from fastact.gated import table as rows

    text = """# Gated functions

Written by `tools/pages.py`; do not edit.

One array is split on an axis (`axis=-1`), or two are given: `swiglu(x)`, `swiglu(a, b)`. a is what comes first in memory. Frameworks agree
that glu's gate is the second half and that of swiglu and its relatives the first; TransformerEngine's own `glu` alone has it the other way
round, which is `gated("sigmoid")` here. `gated(activation, gate="first")` makes one of any activation.

"""
    return text + rows()


def pages() -> dict[str, str]:
    """Every page by its file's name."""
    found = [f for f in fastact.catalogue() if f.family == "elementwise"]
    return {"index.md": index(found), "gated.md": gated(), **{f"{f.name}.md": page(f) for f in found}}


def main() -> None:
    """Write all, or the functions that are named."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    chosen = sys.argv[1:]
    written = pages()
    for file in FOLDER.iterdir():
        if file.suffix in (".md", ".svg") and f"{file.stem}.md" not in written:
            file.unlink()
    for facts in tqdm([f for f in fastact.catalogue() if f.family == "elementwise" and (not chosen or f.name in chosen)], unit="page"):
        plot(facts, FOLDER / f"{facts.name}.svg")
    for name, text in written.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
