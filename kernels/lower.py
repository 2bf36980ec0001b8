"""Lowering: the text of the definitions -> C++ (CPU and CUDA) and typed Numba modules.

Works on syntax trees alone and imports nothing of the package, so that the build can load this file by its path before anything
is installed. The language is described in ``definitions/language.py``; whatever is outside it raises `LoweringError` with the
name of the function, the file and the line.
"""

from __future__ import annotations

import ast
import hashlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

#: The definition files, in the order in which their activations are listed everywhere.
DEFINITIONS = Path(__file__).parent / "definitions"

#: Calls that become a target's intrinsic; `pick` and `poly` are resolved here.
INTRINSICS = {
    "fma": "fma",
    "abs": "fabs",
    "copysign": "copysign",
    "sqrt": "fsqrt",
    "min": "pymin",
    "max": "pymax",
    "bits": "bits",
    "from_bits": "from_bits",
}
ARITY = {"fma": 3, "abs": 1, "copysign": 2, "sqrt": 1, "min": 2, "max": 2, "bits": 1, "from_bits": 1, "pick": 3}
BINARY = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.BitAnd: "&"}
SHIFT = {ast.LShift: "shift_left", ast.RShift: "shift_right"}
COMPARE = {ast.Gt: ">", ast.GtE: ">=", ast.Lt: "<", ast.LtE: "<=", ast.Eq: "==", ast.NotEq: "!="}
#: How many results a function may give, and the names of their fields in C++; `cpu/interface.hpp` has the limits of the loops.
MAX_RESULTS, FIELDS = 14, "abcdefghijklmn"
#: Types a definition can be lowered for, as position of their constants in `pick`. "wide" is float64 for results in float32, accuracy
#: "precise": constants of float64, bodies of float32, whose low parts it does not need, and shorter polynomials. "brief" is
#: float32 for results in halves, on CUDA: bodies of float32, where there is none of its own.
TYPES = {"float32": 0, "float64": 1, "wide": 1, "brief": 0}
#: Position of their coefficients in `poly`, where the last may be missing.
POLYNOMIALS = {"float32": 0, "float64": 1, "wide": 2, "brief": 0}


#: CPython 3.11 counts the depth of its parser for all threads together and may find it wrong when two parse at once.
_parsing = threading.Lock()


class LoweringError(Exception):
    """A definition uses something outside the language."""


@dataclass
class Function:
    """One scalar function: the tree of its body for each working type."""

    name: str
    file: Path
    bodies: dict[str, ast.FunctionDef]

    @property
    def arguments(self) -> list[str]:
        return [a.arg for a in self.bodies["float32"].args.args]


@dataclass
class Activation:
    """What the build has to know of an activation."""

    name: str
    family: str = "elementwise"
    params: list[str] = field(default_factory=list)
    learnable: list[str] = field(default_factory=list)
    arrays: tuple[str, ...] = ("x",)  #: what comes before the parameters; a loss has a target, too
    bound: float = 4.0  #: what is promised of it in ULP; less than 4 marks the functions that most models are made of


#: What can be asked of an elementwise activation, each one pass over memory; the last two only where there is such a role.
DIRECTIONS = ("value", "derivative", "backward", "value_and_derivative", "second_derivative", "backward_from_output")
#: The directions that take a gradient before x (or the output).
CHAINED = ("backward", "backward_from_output")


@dataclass(frozen=True)
class Operation:
    """An activation in one direction: a lowered function of arrays, then parameters."""

    activation: Activation
    direction: str

    @property
    def function(self) -> str:
        return self.activation.name if self.direction == "elementary" else role_name(self.activation.name, self.direction)

    @property
    def arrays(self) -> int:
        """How many leading inputs are arrays: x (of a loss also the target), and before it the gradient where there is one."""
        return len(self.activation.arrays) + (self.direction in CHAINED)

    @property
    def inputs(self) -> int:
        return self.arrays + len(self.activation.params)

    @property
    def outputs(self) -> int:
        """Those stored like x, and in backward one more for each learnable parameter: the terms of its gradient, to be summed."""
        return self.stored + (len(self.activation.learnable) if self.direction == "backward" else 0)

    @property
    def stored(self) -> int:
        """How many leading outputs are stored like x; the rest has the working type."""
        return 2 if self.direction == "value_and_derivative" else 1

    @property
    def unit_gradient(self) -> bool:
        """Whether the compiled loops have none of its own and run that of `backward` with a gradient of 1: the same bits."""
        return self.direction == "derivative" and not self.activation.learnable

    @property
    def mainstream(self) -> bool:
        """Whether the compiled loops are made for speed, or to be short.

        A build of all functions has to take minutes, not ten. The others' loops have one vector in flight, not two, which costs long
        bodies little; and `value_and_derivative` runs their value's and their derivative's loop block by block, in the first-level cache.
        """
        return self.activation.bound < 4.0 or self.direction == "elementary"

    @property
    def composed(self) -> bool:
        """Whether the compiled loops have none of its own and run two others, block by block."""
        return self.direction == "value_and_derivative" and not (self.mainstream or self.activation.learnable)

    @property
    def types(self) -> tuple[str, ...]:
        """The types it is computed in: the second derivative is worth float64 only."""
        return ("float64",) if self.direction == "second_derivative" else ("float32", "float64")


@dataclass
class Program:
    """All definitions: functions by lowered name, module constants by file, activations in order."""

    functions: dict[str, Function]
    constants: dict[Path, dict[str, ast.expr]]
    activations: dict[str, Activation]
    elementary: list[str] = field(default_factory=list)  #: primitives with a loop of their own
    renamed: dict[Path, dict[str, str]] = field(default_factory=dict)  #: imported `as`

    def resolve(self, file: Path, name: str) -> str | None:
        """The function that `name` means in `file`; an activation's name means its value."""
        name = self.renamed[file].get(name, name)
        candidates = (name, role_name(name, "value"))
        return next((c for c in candidates if c in self.functions), None)

    @property
    def operations(self) -> dict[str, Operation]:
        """Every elementwise operation by its lowered name, activation by activation."""
        found = [Operation(a, d) for a in self.activations.values() for d in DIRECTIONS if role_name(a.name, d) in self.functions]
        found += [Operation(Activation(name), "elementary") for name in self.elementary]
        return {o.function: o for o in found}

    def wide(self, operation: Operation) -> bool:
        """Whether there is a loop for float32 computed in float64: values, if all their polynomials have coefficients for it."""
        calls = (n for f in self.needed([operation.function], "wide") for n in ast.walk(f.bodies["wide"]) if isinstance(n, ast.Call))
        fit = all(len(n.args) > max(POLYNOMIALS.values()) for n in calls if isinstance(n.func, ast.Name) and n.func.id == "poly")
        return operation.direction == "value" and operation.mainstream and fit

    def exact(self, operation: Operation) -> bool:
        """Whether nothing is rounded: there is no arithmetic, and no parameter that would have to be."""
        nodes = [n for f in self.needed([operation.function], "float32") for n in ast.walk(f.bodies["float32"])]
        fused = any(isinstance(n, ast.Name) and n.id in ("fma", "poly", "sqrt") for n in nodes)
        return not (operation.activation.params or fused or any(isinstance(n, ast.BinOp) for n in nodes))

    def needed(self, names: list[str], type_: str = "") -> list[Function]:
        """`names` and all that they call, for one type or for any, callees first."""
        done: dict[str, Function] = {}
        path: list[str] = []

        def visit(name: str) -> None:
            if name in done:
                return
            function = self.functions[name]
            if name in path:
                body = function.bodies["float32"]
                raise LoweringError(f"{name}, {function.file}:{body.lineno}: the definition calls itself: {' -> '.join([*path, name])}")
            path.append(name)
            for body in [function.bodies[type_]] if type_ else function.bodies.values():
                for node in ast.walk(body):
                    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                        called = self.resolve(function.file, node.func.id)
                        if called:
                            visit(called)
            path.pop()
            done[name] = function

        for name in names:
            visit(name)
        return list(done.values())


# ---------------------------------------------------------------- reading


def role_name(activation: str, role: str) -> str:
    """The lowered name of an activation's role."""
    return f"{activation}_{role}"


def wide_name(constant: str) -> str:
    """The name of what stands for a constant X_64 where float32 is computed in float64: X_WIDE, if there is one."""
    return constant.removesuffix("64") + "WIDE" if constant.endswith("_64") else constant


def parse(files: list[Path] | None = None) -> Program:
    """Read definition files (all of them by default)."""
    program = Program({}, {}, {})
    with _parsing:
        for file in files if files is not None else sorted(DEFINITIONS.glob("[a-z]*.py")):
            if file.name != "language.py" and file not in program.constants:
                parse_text(file.read_text(), file, program)
    return program


def _synthesized(activation: Activation, together: bool) -> Iterator[tuple[str, str, str]]:
    """What follows from an activation's roles: (the role it needs, direction, text); `together`: one role gives all gradients."""
    rest = ", ".join([*activation.arrays, *activation.params])
    call = {role: f"{role_name(activation.name, role)}({rest})" for role in ("value", "derivative", "derivative_from_output")}
    gradients = [f"{role_name(activation.name, f'gradient_{p}')}({rest})" for p in activation.learnable]

    def text(direction: str, first: str, *results: str) -> str:
        return f"@primitive\ndef {role_name(activation.name, direction)}({first}{rest}):\n    {before}return {', '.join(results)}\n"

    before = ""
    if together:
        gradients = [f"d_{p}" for p in activation.learnable]
        before = f"{', '.join(gradients)} = {role_name(activation.name, 'gradients')}({rest})\n    "
    # The chain rule: a product for x and one for each learnable parameter.
    yield "derivative", "backward", text("backward", "grad, ", *(f"grad * {c}" for c in (call["derivative"], *gradients)))
    before = ""
    # One after the other: the compiler shares what they have in common.
    yield "derivative", "value_and_derivative", text("value_and_derivative", "", call["value"], call["derivative"])
    yield (
        "derivative_from_output",
        "backward_from_output",
        text("backward_from_output", "grad, ", f"grad * {call['derivative_from_output']}"),
    )


def parse_text(text: str, file: Path, program: Program) -> None:
    """Add the definitions in `text` to `program`; `file` is for messages."""
    constants: dict[str, ast.expr] = {}
    program.constants[file], program.renamed[file] = constants, {}
    for node in ast.parse(text, str(file)).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                constants[name] = value
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                constants.update({n.id: v for n, v in zip(names, values, strict=True) if isinstance(n, ast.Name)})
            case ast.ImportFrom(module=str(module), names=names, level=1):
                other = file.with_name(f"{module}.py")
                if other not in program.constants and other.name != "language.py":
                    parse_text(other.read_text(), other, program)
                for n in names:
                    if n.asname:
                        program.renamed[file][n.asname] = n.name
                    for name in (n.name, wide_name(n.name)):
                        if name in program.constants.get(other, {}):
                            constants[name if name != n.name else n.asname or name] = program.constants[other][name]
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                _register(node, decorator, file, program)
    for activation in program.activations.values():
        for role, direction, written in _synthesized(activation, role_name(activation.name, "gradients") in program.functions):
            name = role_name(activation.name, direction)
            if role_name(activation.name, role) in program.functions and name not in program.functions:
                for made in ast.parse(written, str(file)).body:
                    assert isinstance(made, ast.FunctionDef)
                    program.functions[name] = Function(name, file, dict.fromkeys(TYPES, made))


def _register(node: ast.FunctionDef, decorator: ast.expr, file: Path, program: Program) -> None:
    def literal(call: ast.Call, keyword: str, default: object) -> object:
        for k in call.keywords:
            if k.arg == keyword:
                return ast.literal_eval(k.value)
        return default

    both = dict.fromkeys(TYPES, node)
    match decorator:
        case ast.Name(id="primitive" | "elementary") if node.name in program.functions:
            other = program.functions[node.name]
            raise LoweringError(f"{node.name}, {file}:{node.lineno}: there is a primitive of this name already, in {other.file}")
        case ast.Name(id="primitive" | "elementary" as kind):
            program.functions[node.name] = Function(node.name, file, both)
            if kind == "elementary":
                program.elementary.append(node.name)
        case ast.Attribute(value=ast.Name(id=owner), attr="float64" | "wide" | "brief" as type_):
            name = role_name(owner, "value") if owner in program.activations else owner
            program.functions[name].bodies[type_] = node
        case ast.Attribute(value=ast.Name(id=owner), attr="derivative_brief"):
            program.functions[role_name(owner, "derivative")].bodies["brief"] = node
        case ast.Call(func=ast.Name(id="activation")):
            params = literal(decorator, "params", {})
            learnable = literal(decorator, "learnable", ())
            family = literal(decorator, "family", "elementwise")
            assert isinstance(params, dict)
            assert isinstance(learnable, tuple)
            assert isinstance(family, str)
            bound = literal(decorator, "bound", 4.0)
            assert isinstance(bound, float)
            arrays = ("x", "t") if family == "loss" else ("x",)
            program.activations[node.name] = Activation(node.name, family, list(params), list(learnable), arrays, bound)
            if family in ("elementwise", "loss"):
                name = role_name(node.name, "value")
                program.functions[name] = Function(name, file, both)
        case ast.Attribute(
            value=ast.Name(id=owner), attr="derivative" | "second_derivative" | "derivative_from_output" | "gradients" as role
        ):
            program.functions[role_name(owner, role)] = Function(role_name(owner, role), file, both)
        case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr="gradient"), args=[ast.Constant(value=str(parameter))]):
            name = role_name(owner, f"gradient_{parameter}")
            program.functions[name] = Function(name, file, both)
        case _:
            raise LoweringError(f"{node.name}, {file}:{node.lineno}: unknown decorator @{ast.unparse(decorator)}")


def digest(text: str) -> str:
    """The hash that names generated code."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def program_digest(program: Program) -> str:
    """The hash of all that compiled loops are lowered from."""
    return digest(to_cxx(program) + to_cxx_operations(program, list(program.operations)))


# ---------------------------------------------------------------- writing


class _Writer(ABC):
    """Writes one body of one function for one working type; subclasses know the target's spelling."""

    def __init__(self, program: Program, function: Function, type_: str) -> None:
        self.program, self.function, self.type = program, function, type_
        self.body = function.bodies[type_]
        self.locals = {a.arg for a in self.body.args.args}

    def error(self, node: ast.AST, what: str) -> LoweringError:
        line = getattr(node, "lineno", self.body.lineno)
        return LoweringError(f"{self.function.name}, {self.function.file}:{line}: {what}")

    def statements(self) -> Iterator[str]:
        args = self.body.args
        if args.vararg or args.kwarg or args.kwonlyargs or args.defaults or args.posonlyargs:
            raise self.error(self.body, "a definition takes plain positional arguments, without defaults")
        body = self.body.body
        if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
            body = body[1:]
        for statement in body:
            last = statement is body[-1]
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if not last:
                    written = self.expression(value)
                    yield self.assign([self.new(statement, name)], written)
                case ast.Assign(targets=[ast.Tuple(elts=elements)], value=ast.Call() as value) if not last:
                    written = self.expression(value)
                    names = [self.new(statement, e.id) if isinstance(e, ast.Name) else "" for e in elements]
                    if "" in names:
                        raise self.error(statement, "only names can be unpacked into")
                    yield self.assign(names, written)
                case ast.Return(value=ast.Tuple(elts=elements)) if last:
                    yield self.give([self.expression(e) for e in elements])
                case ast.Return(value=ast.expr() as value) if last:
                    yield self.give([self.expression(value)])
                case _:
                    raise self.error(
                        statement,
                        f"`{ast.unparse(statement).splitlines()[0]}` is outside the language of definitions: "
                        "assignments to new names, then one final return",
                    )

    def new(self, node: ast.AST, name: str) -> str:
        if name in self.locals:
            raise self.error(node, f"`{name}` is assigned twice; a local has one value, give the second another name")
        self.locals.add(name)
        return name

    def expression(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(value=bool() | str() | None):
                raise self.error(node, f"{node.value!r}: constants are numbers")
            case ast.Constant(value=float() as value):
                return self.real(value)
            case ast.Constant(value=int() as value):
                return self.whole(value)
            case ast.Name(id=name) if name in self.locals:
                return name
            case ast.Name(id=name) if name in (constants := self.program.constants[self.function.file]):
                return self.expression(constants.get(wide_name(name), constants[name]) if self.type == "wide" else constants[name])
            case ast.Name(id=name):
                raise self.error(node, f"unknown name `{name}`")
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=float() as value)):
                return self.real(-value)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return f"(-{self.expression(operand)})"
            case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
                return f"({self.expression(left)} {BINARY[type(op)]} {self.expression(right)})"
            case ast.BinOp(left=left, op=op, right=right) if type(op) in SHIFT:
                return f"{SHIFT[type(op)]}({self.expression(left)}, {self.count(right)})"
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in COMPARE:
                return f"({self.expression(left)} {COMPARE[type(op)]} {self.expression(right)})"
            case ast.IfExp(test=ast.Compare() | ast.Name() as test, body=body, orelse=orelse):
                return f"select({self.expression(test)}, {self.expression(body)}, {self.expression(orelse)})"
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self.call(node, name, args)
        raise self.error(node, f"`{ast.unparse(node)}` is outside the language of definitions")

    def call(self, node: ast.Call, name: str, args: list[ast.expr]) -> str:
        if name in ARITY and len(args) != ARITY[name]:
            raise self.error(node, f"{name} takes {ARITY[name]} arguments, not {len(args)}")
        if name in INTRINSICS:
            return f"{INTRINSICS[name]}({', '.join(self.expression(a) for a in args)})"
        if name == "pick":
            return self.expression(args[1 + TYPES[self.type]])
        if name == "poly":
            if len(args) not in (3, 4):
                raise self.error(node, f"poly takes a variable and two or three sets of coefficients, not {len(args)} arguments")
            return self.horner(node, args[0], args[1 + min(POLYNOMIALS[self.type], len(args) - 2)])
        called = self.program.resolve(self.function.file, name)
        if called:
            expected = self.program.functions[called].arguments
            if len(args) != len(expected):
                raise self.error(node, f"{name} takes {len(expected)} arguments ({', '.join(expected)}), not {len(args)}")
            return self.invoke(called, [self.expression(a) for a in args])
        raise self.error(node, f"`{name}` is neither a definition nor one of {', '.join(ARITY)}")

    def count(self, node: ast.expr) -> int:
        match node:
            case ast.Constant(value=int() as value):
                return value
            case ast.Call(func=ast.Name(id="pick"), args=[_, *chosen]):
                return self.count(chosen[TYPES[self.type]])
        raise self.error(node, "a shift takes a constant count")

    def horner(self, node: ast.AST, x: ast.expr, coefficients: ast.expr) -> str:
        if isinstance(coefficients, ast.Name):
            coefficients = self.program.constants[self.function.file].get(coefficients.id, coefficients)
        if not isinstance(x, ast.Name) or x.id not in self.locals:
            raise self.error(node, "poly takes a local name as its variable: it is used many times")
        if not isinstance(coefficients, ast.Tuple) or len(coefficients.elts) < 2:
            raise self.error(node, "poly takes its coefficients as a tuple of two or more numbers, or the name of one in the same file")
        written = [self.expression(c) for c in coefficients.elts]
        result = written[-1]
        for c in reversed(written[:-1]):
            result = f"fma({result}, {x.id}, {c})"
        return result

    # What the targets spell differently.
    @abstractmethod
    def real(self, value: float) -> str: ...

    @abstractmethod
    def whole(self, value: int) -> str: ...

    @abstractmethod
    def invoke(self, name: str, args: list[str]) -> str: ...

    @abstractmethod
    def assign(self, names: list[str], value: str) -> str: ...

    @abstractmethod
    def give(self, values: list[str]) -> str: ...


class _Cxx(_Writer):
    def real(self, value: float) -> str:
        return f"lit<F>({value!r})"

    def whole(self, value: int) -> str:
        return f"whole<F>({value})"

    def invoke(self, name: str, args: list[str]) -> str:
        return f"{'wide' if self.type == 'wide' else 'defs'}::{name}({', '.join(args)})"

    def assign(self, names: list[str], value: str) -> str:
        return f"const auto {names[0]} = {value};" if len(names) == 1 else f"const auto [{', '.join(names)}] = {value};"

    def give(self, values: list[str]) -> str:
        return f"return {values[0]};" if len(values) == 1 else f"return Results<F, {len(values)}>{{{', '.join(values)}}};"


class _Numba(_Writer):
    def real(self, value: float) -> str:
        return f"REAL({value!r})"

    def whole(self, value: int) -> str:
        return f"WHOLE({value!r})"

    def invoke(self, name: str, args: list[str]) -> str:
        return f"def_{name}({', '.join(args)})"

    def assign(self, names: list[str], value: str) -> str:
        return f"{', '.join(names)} = {value}"

    def give(self, values: list[str]) -> str:
        return f"return {', '.join(values)}"


def to_cxx(program: Program, names: list[str] | None = None, brief: bool = False) -> str:
    """C++ templates over the working type ``F`` (a float, a double or a pack of them), in namespace ``defs``, callees first.

    The including file provides ``FASTACT_FUNCTION``, ``lit``, ``select``, ``is_float64`` and the intrinsics; with `brief`, which takes in
    the bodies for halves, also ``is_brief``.
    """
    out = ["// Written by lower.py from kernels/definitions; do not edit.", "// What a definition that returns a tuple returns."]
    out += ["template <class F, int N> struct Results;"]
    out += [f"template <class F> struct Results<F, {n}> {{ F {', '.join(FIELDS[:n])}; }};" for n in range(2, MAX_RESULTS + 1)]
    out += ["namespace defs {", ""]
    for function in program.needed(names if names is not None else list(program.functions)):
        texts = {t: [f"        {line}" for line in _Cxx(program, function, t).statements()] for t in ("float32", "float64")}
        out.append(_head(function))
        brief_too = brief and function.bodies["brief"] is not function.bodies["float32"]
        if brief_too:
            own = [f"        {line}" for line in _Cxx(program, function, "brief").statements()]
            out += ["    if constexpr (is_brief<F>) {", *own, "    } else {"]
        if texts["float32"] == texts["float64"]:
            out += [line[4:] for line in texts["float32"]]
        else:
            out += ["    if constexpr (is_float64<F>) {", *texts["float64"], "    } else {", *texts["float32"], "    }"]
        out += ["    }"] * brief_too + ["}", ""]
    wide = [name for name, o in program.operations.items() if (names is None or name in names) and program.wide(o)]
    out += ["}  // namespace defs", "// The same for float32 computed in float64.", "namespace wide {", ""]
    for function in program.needed(wide, "wide"):
        out += [_head(function), *(f"    {line}" for line in _Cxx(program, function, "wide").statements()), "}", ""]
    return "\n".join([*out, "}  // namespace wide", ""])


def _head(function: Function) -> str:
    return f"template <class F> FASTACT_FUNCTION auto {function.name}({', '.join(f'const F {a}' for a in function.arguments)}) {{"


def to_numba(program: Program, names: list[str], type_: str) -> str:
    """Typed Numba functions ``def_<name>``, callees first.

    The module they stand in provides ``scalar`` (the decorator), ``REAL``, ``WHOLE``, ``select`` and the intrinsics.
    """
    out: list[str] = []
    for function in program.needed(names):
        body = [f"    {line}" for line in _Numba(program, function, type_).statements()]
        out += ["@scalar", f"def def_{function.name}({', '.join(function.arguments)}):", *body, "", ""]
    return "\n".join(out)


def to_cxx_operations(program: Program, names: list[str]) -> str:
    """The C++ structs of operations, and the table ``entries`` of their loops, for ``cpu/isa.cpp``."""
    own = [name for name in names if not (program.operations[name].unit_gradient or program.operations[name].composed)]
    out = ["// Written by lower.py from kernels/definitions; do not edit.", to_cxx_structs(program, own)]
    out += ["using Plain = void (*)();", "const Entry entries[] = {"]
    packs = {"float32": ("PackF, VecF", "VecF"), "float64": ("LongD, VecD", "VecD")}

    def loops(o: Operation, direction: str) -> list[str]:
        name = o.function if o.direction == "elementary" else role_name(o.activation.name, direction)
        return [
            f"reinterpret_cast<Plain>(elementwise<{name}_op, {pack[not o.mainstream]}>)" if t in o.types else "nullptr"
            for t, pack in packs.items()
        ]

    for name in names:
        o = program.operations[name]
        first, second = o.direction, ["nullptr", "nullptr"]
        if o.composed:
            first, second = "value", loops(o, "backward")
        elif o.unit_gradient:
            first = "backward"
        wide = f"reinterpret_cast<Plain>(elementwise_wide<{name}_op, LongD, VecD>)" if program.wide(o) else "nullptr"
        if program.wide(o) and program.exact(o):
            wide = loops(o, first)[0]
        found = ", ".join([*loops(o, first), wide, *second])
        out.append(f'    {{"{name}", {o.inputs}, {o.outputs}, {o.arrays}, {o.stored}, {int(o.unit_gradient)}, {found}}},')
    return "\n".join([*out, "};", ""])


def parts(program: Program, count: int) -> list[list[str]]:
    """All operations in `count` parts that take about as long to compile; an activation's stay together."""
    weights: dict[str, int] = {}
    for name, o in program.operations.items():
        size = sum(len(ast.dump(f.bodies[t])) for f in program.needed([name]) for t in o.types) * (1 + o.mainstream)
        weights[o.activation.name] = weights.get(o.activation.name, 0) + (0 if o.unit_gradient or o.composed else size)
    loads, found = [0] * count, [set[str]() for _ in range(count)]
    for activation in sorted(weights, key=weights.__getitem__, reverse=True):
        lightest = loads.index(min(loads))
        loads[lightest] += weights[activation]
        found[lightest].add(activation)
    return [[name for name, o in program.operations.items() if o.activation.name in part] for part in found]


def to_cxx_structs(program: Program, names: list[str] | None = None) -> str:
    """A struct ``<name>_op`` for each operation: what the loops of ``cpu`` and ``cuda`` are instantiated with."""
    out: list[str] = []
    for name, o in program.operations.items():
        if names is not None and name not in names:
            continue
        arguments = f"{name}({', '.join(f'in[{i}]' for i in range(o.inputs))})"
        call = f"defs::{arguments}"
        several = [f"const auto r = {call};", *(f"out[{i}] = r.{f};" for i, f in enumerate(FIELDS[: o.outputs]))]
        give = [f"out[0] = {call};"] if o.outputs == 1 else several
        out += [
            f"struct {name}_op {{",
            f"    static constexpr int inputs = {o.inputs}, outputs = {o.outputs}, arrays = {o.arrays}, stored = {o.stored};",
            f"    static constexpr bool wide = {str(program.wide(o)).lower()};",
            f"    template <class F> FASTACT_FUNCTION void run(const F *in, F *out) {{ {' '.join(give)} }}",
            *[f"    template <class F> FASTACT_FUNCTION void run_wide(const F *in, F *out) {{ out[0] = wide::{arguments}; }}"]
            * program.wide(o),
            "};",
        ]
    return "\n".join(out)
