"""The house style that no linter checks: annotations, settings in place of `args`, one meaning a name, free tests."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from support.command_line import ROOT

LIBRARY = sorted((ROOT / "memorization").rglob("*.py"))
SCRIPTS = sorted(ROOT.glob("*.py"))
SHARED_NAMES = {"main"}  # names that may be defined in several modules
PLAIN = ROOT / "memorization" / "alignment" / "reference.py"  # its names are those of the steps that others make fast
SPECIAL = {"__init__", "__call__", "__getitem__", "__iter__", "__enter__"}  # methods that count as public

Function = ast.FunctionDef | ast.AsyncFunctionDef


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def public_functions(node: ast.Module | ast.ClassDef) -> Iterator[Function]:
    """The public functions of a module and the public methods of its public classes."""
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from public_functions(child)
        elif isinstance(child, Function) and (not child.name.startswith("_") or child.name in SPECIAL):
            yield child


def parameters(function: Function) -> list[ast.arg]:
    every = function.args
    named = [*every.posonlyargs, *every.args, *every.kwonlyargs, *filter(None, (every.vararg, every.kwarg))]
    return [parameter for parameter in named if parameter.arg not in ("self", "cls")]


def listed(problems: list[str]) -> str:
    return "\n".join([f"{len(problems)}:", *problems])


def test_public_functions_are_annotated():
    problems = []
    for path in [*LIBRARY, *SCRIPTS]:
        for function in public_functions(parsed(path)):
            missing = [parameter.arg for parameter in parameters(function) if parameter.annotation is None]
            if function.returns is None and function.name != "__init__":
                missing.append("return")
            if missing:
                place = f"{path.relative_to(ROOT)}:{function.lineno}"
                problems.append(f"{place}: {function.name}: not annotated: {', '.join(missing)}")
    assert not problems, listed(problems)


def test_a_name_is_defined_in_one_module():
    """Of classes and public functions of the library."""
    modules = defaultdict(list)
    for path in [path for path in LIBRARY if path != PLAIN]:
        for node in parsed(path).body:
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                modules[node.name].append(str(path.relative_to(ROOT)))
    problems = [
        f"{name}: {', '.join(paths)}"
        for name, paths in sorted(modules.items())
        if len(set(paths)) > 1 and name not in SHARED_NAMES
    ]
    assert not problems, listed(problems)


def test_args_end_in_the_scripts():
    """The library takes settings, not what argparse returns."""
    problems = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}"
        for path in LIBRARY
        for node in ast.walk(parsed(path))
        if isinstance(node, Function)
        for parameter in parameters(node)
        if parameter.arg == "args" and parameter is not node.args.vararg
        if parameter.annotation is None or "Namespace" in ast.unparse(parameter.annotation)
    ]
    assert not problems, listed(problems)


def test_no_test_file_imports_from_another():
    tests = {path.stem for path in (ROOT / "tests").glob("test_*.py")} | {"conftest"}
    problems = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(parsed(path)):
            names = []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            problems += [f"{path.name}:{node.lineno}: {name}" for name in names if name.split(".")[0] in tests]
    assert not problems, listed(problems)


def test_no_helper_of_the_tests_is_called_as_a_module_of_the_library():
    modules = {path.stem for path in LIBRARY} | {path.parent.name for path in LIBRARY}
    assert not modules & {path.stem for path in (ROOT / "tests" / "support").glob("*.py")} - {"__init__"}
