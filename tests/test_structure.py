"""The house: imports run one way, no module is too long to be read in one sitting, and no
comprehension stands inside another."""

import ast
from graphlib import TopologicalSorter

import pytest

from xlnb.common.files import ROOT

# A line imports from the lines above it, never from its own or those below. A name is a file at
# the top of the package, which is a step of the method, or a folder, which is what it stands on.
ORDER = [
    # The package itself: its version, and nothing imported.
    "__init__",
    "common",
    "presets",
    "checks",
    "inputs models prompts",
    "lab",
    "sampling logprobs losses decay length_control individual fusion matching comparing winrates",
    "engine rewards pairs objective",
    "training gradients",
    "tuning",
    "evaluation",
    "judges",
    "runs",
    "stages",
    "analysis figures planning exercises",
    "explore",
    "nb",
    "cli",
    "__main__",
]
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names.split()}
MOST_LINES = 300


def dotted(path):
    """A file's module, as xlnb.models.hub; a folder's __init__ is the folder."""
    names = path.relative_to(ROOT).with_suffix("").parts
    if names[-1] == "__init__" and len(names) > 2:
        names = names[:-1]
    return ".".join(names)


FILES = {dotted(path): path for path in sorted((ROOT / "xlnb").rglob("*.py"))}


def imported(module):
    """The modules of the package that a module imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: a relative import"
            # What is imported from a folder is one of its modules, or stands in its __init__.
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in FILES else node.module for name in inside]
        found.update("xlnb.__init__" if name == "xlnb" else name for name in names)
    return {name for name in found if name in FILES} - {module}


def place(module):
    """The top-level file or folder that a module is, or is in."""
    return module.split(".")[1]


def test_every_module_has_its_place():
    assert {place(module) for module in FILES} - LEVEL.keys() == set()


@pytest.mark.parametrize("module", FILES)
def test_imports_run_one_way(module):
    mine = place(module)
    upwards = []
    for name in sorted(imported(module)):
        if place(name) != mine and LEVEL[place(name)] >= LEVEL[mine]:
            upwards.append(name)
    assert upwards == []


def test_no_modules_import_each_other_in_a_circle():
    # It raises for a circle, and names it.
    assert list(TopologicalSorter({module: imported(module) for module in FILES}).static_order())


def test_an_import_inside_a_function_counts():
    # TRL takes seconds to import, so that the stage imports what needs it where it is needed.
    assert "xlnb.training" in imported("xlnb.stages.adapters")


@pytest.mark.parametrize("module", FILES)
def test_no_module_is_long(module):
    assert len(FILES[module].read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("module", FILES)
def test_no_comprehension_stands_inside_another(module):
    kinds = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    found = []
    for outer in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(outer, kinds):
            inside = [node for node in ast.walk(outer) if isinstance(node, kinds)]
            found += [node.lineno for node in inside if node is not outer]
    assert found == []
