"""Writes the README's tables: what there is, from the registries, and how fast it is, measured here and now.

    python benchmarks/report.py
    python benchmarks/report.py --only support

The contestants run in turns in one run, each call as its users write it; PyTorch and JAX take part if they are installed. The tables
stand between ``<!-- speed:begin -->`` and ``<!-- speed:end -->``, and likewise for ``support``.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from tqdm import tqdm

import fastact
from fastact import ACTIVATIONS, registry
from fastact.cli.bench import ROW, Task, contestants, race
from fastact.cli.info import versions
from fastact.gated import GATED
from fastact.kernels import lower
from fastact.kernels.cpu import compiled
from fastact.kernels.definitions import DEFINITIONS
from fastact.learnable import FUNCTIONS
from fastact.machine import cores, processor
from fastact.regression import suite
from fastact.regression.check import ORACLE
from fastact.verify import peers

SIZE = 1 << 20
FASTACT, IN_PLACE, JAX = "fastact", "fastact, `out=`", "JAX"
DIRECTIONS = ("value", "backward")


# ---------------------------------------------------------------- speed


def into_existing(task: Task) -> Callable[[], Any]:
    """fastact into an array that is there already."""
    function = ACTIVATIONS[task.name]
    call = function if task.direction == "value" else getattr(function, task.direction)
    out: Any = np.empty_like(task.x)
    out = (out, *(None for _ in function.learnable)) if task.direction == "backward" and function.learnable else out
    given = [task.grad, task.x] if task.direction == "backward" else [task.x]
    return functools.partial(call, *given, *task.params.values(), out=out)


def by_jax(task: Task) -> Callable[[], Any] | None:
    """JAX's function, compiled; gradients by its vjp, without what the forward pass leaves."""
    import jax

    function = peers.function(task.name, "jax") if task.elementwise else getattr(jax.nn, task.name, None)
    if function is None:
        return None
    x, grad = jax.numpy.asarray(task.x), jax.numpy.asarray(task.grad)
    value = jax.jit(function)
    if task.direction == "value":
        return lambda: value(x).block_until_ready()
    back = jax.jit(lambda grad, x: jax.vjp(value, x)[1](grad)[0])
    return lambda: back(grad, x).block_until_ready()


def calls(task: Task) -> dict[str, Callable[[], Any]]:
    """All who can compute `task`."""
    backends = [name for name in registry.REGISTRY if name != ORACLE and registry.available(name) is None]
    found: dict[str, Callable[[], Any]] = {FASTACT: lambda: None, IN_PLACE: into_existing(task)}
    found |= {who: call for who, call in contestants(task, [None, *backends]) if callable(call)}
    if importlib.util.find_spec("jax") and (call := by_jax(task)):
        found[JAX] = call
    return found


def speed_table(direction: str, seconds: float) -> str:
    """Nanoseconds an element, and how many times as fast as others fastact is."""
    rng = np.random.default_rng(0)
    flat = [rng.standard_normal(SIZE).astype(np.float32) for _ in range(2)]
    best: dict[str, dict[str, float]] = {}
    for name in tqdm([name for name in suite.mainstream() if direction in suite.directions(name)], direction, unit="function", leave=False):
        rows = [a.reshape(-1, ROW) if ACTIVATIONS[name].definition.family == "rowwise" else a for a in flat]
        with np.errstate(all="ignore"):
            best[name] = {who: min(times) / SIZE * 1e9 for who, times in race(calls(Task(name, direction, *rows)), seconds).items()}
    everyone = list(dict.fromkeys(who for row in best.values() for who in row))
    others = [who for who in everyone if not who.startswith(FASTACT)]
    lines = []
    for name, row in best.items():
        cells = [f"{row[who]:.2f}" if who in row else "-" for who in everyone]
        lines.append([f"`{name}`", *cells, *(f"{row[who] / row[FASTACT]:.1f}" if who in row else "-" for who in others)])
    return markdown([direction, *everyone, *(f"x {who}" for who in others)], lines)


def speed(seconds: float) -> str:
    """The speed section."""
    jax = {"jax": importlib.metadata.version("jax")} if importlib.util.find_spec("jax") else {}
    libraries = {"fastact": fastact.__version__, "Python": platform.python_version()} | versions() | jax
    return "\n\n".join([
        f"Nanoseconds an element for {SIZE} elements of float32: the best time of each, called in turns as users write it, `y = f(x)`, and"
        f" fastact also into an existing array. x: how many times as fast `{FASTACT}` is, by automatic choice.",
        *(speed_table(direction, seconds) for direction in DIRECTIONS),
        f"On {processor()}, {cores()} cores, {compiled.ISA}; {', '.join(f'{k} {v}' for k, v in libraries.items())}.",
    ])  # fmt: skip


# ---------------------------------------------------------------- what there is


def support() -> str:
    """The support section: functions by family, and how many have what."""
    program = lower.parse()
    families: dict[str, list[str]] = {}
    for name, definition in DEFINITIONS.items():
        if definition.family == "elementwise":
            file = program.functions[f"{name}_value"].file.stem
            families.setdefault(file, []).append(f"[{name}](docs/reference/{name}.md)")
    families["of rows"] = [name for name, d in DEFINITIONS.items() if d.family == "rowwise"]
    families["gated"] = [*GATED, "gated(any activation)"]
    families["learnable"] = [f"[{n}](docs/reference/{n}.md)" for n, d in DEFINITIONS.items() if d.learnable and d.family == "elementwise"]
    families["learnable"] += FUNCTIONS
    families["fused"] = ["bias_act", "act_dropout", "forward_with_mask, backward_from_mask of the relu family"]
    families["losses"] = list(fastact.LOSSES)
    elementwise = [d for d in DEFINITIONS.values() if d.family == "elementwise"]
    smooth, back = (sum(role in d.roles for d in elementwise) for role in ("second_derivative", "derivative_from_output"))
    return "\n\n".join([
        f"{len(elementwise)} elementwise functions ([docs/reference](docs/reference/index.md) has a page with a plot for each), in"
        f" {', '.join(suite.kinds())}, on the backends {', '.join(registry.REGISTRY)}: value, `derivative`, `backward`,"
        f" `value_and_derivative`;"
        f" {smooth} of them smooth, with `derivative(x, order=2)`; {back} with `backward_from_output`.",
        markdown(["family", "functions"], [[file, ", ".join(names)] for file, names in families.items()]),
    ])  # fmt: skip


# ---------------------------------------------------------------- the README


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table: text to the left, numbers to the right."""
    numbers = [all(cell == "-" or cell[:1].isdigit() for cell in column) for column in zip(*lines, strict=True)]
    rule = ["--:" if number else "---" for number in numbers]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))


def splice(text: str, section: str, content: str) -> str:
    """`text` with `content` between a section's markers."""
    begin, end = (f"<!-- {section}:{which} -->" for which in ("begin", "end"))
    if text.count(begin) != 1 or text.count(end) != 1:
        raise click.ClickException(f"there must be one line {begin} and one line {end}")
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{content}\n{end}{rest.partition(end)[2]}"


@click.command()
@click.option("--readme", type=click.Path(path_type=Path, exists=True), default="README.md", show_default=True)
@click.option("--only", type=click.Choice(["speed", "support"]), help="Write this table alone.")
@click.option("--seconds", type=click.FloatRange(min=0), default=2.0, show_default=True, help="For each function and direction.")
def main(readme: Path, only: str | None, seconds: float) -> None:
    """Measure, and write the README's tables."""
    sections = {"support": support, "speed": lambda: speed(seconds)}
    for section in [only] if only else sections:
        text = splice(readme.read_text(encoding="utf-8"), section, sections[section]())
        readme.write_text(text, encoding="utf-8")
        click.echo(f"wrote {section} in {readme}")


if __name__ == "__main__":
    main()
