"""The package is a house of seven floors: a module imports only from floors below its own."""

import ast
from pathlib import Path

import tsforecast

ROOT = Path(tsforecast.__file__).parent
FLOORS = {
    "metrics": 1,
    "_checks": 1,
    "_html": 1,
    "_progress": 1,
    "data": 2,
    "nn": 3,
    "backtesting": 3,
    "estimators": 4,
    "insight": 5,
    "serving": 5,
    "batch": 6,
    "cli": 7,
    "demo": 7,
    "batch_demo": 7,
    "__init__": 7,
    "__main__": 7,
}
# methods that delegate upwards import inside the method, and are listed here by name
UPWARD = {
    ("backtesting.rolling", "plot", "insight.plots"),
    ("backtesting.rolling", "report", "insight.report"),
    ("backtesting.patients", "plot", "insight.event_plots"),
    ("backtesting.patients", "report", "insight.report"),
    ("backtesting.strategy", "report", "insight.report"),
    ("backtesting.tearsheet", "report", "insight.report"),
}
FILES = sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def folder(name: str) -> str:
    """Modules of the ground floor, and of the top floor, lie side by side, as in one folder."""
    place = name.split(".")[0]
    return {1: "ground floor", 7: "top floor"}.get(FLOORS[place], place)


def imports(tree: ast.AST) -> list[tuple[str, str]]:
    """(innermost function or '', module) of every import of our own package."""
    found = []

    def walk(node: ast.AST, function: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                walk(child, child.name)
                continue
            if isinstance(child, ast.ImportFrom) and (child.module or "").startswith("tsforecast"):
                found.append((function, child.module or ""))
            elif isinstance(child, ast.Import):
                found.extend(
                    (function, alias.name)
                    for alias in child.names
                    if alias.name.startswith("tsforecast")
                )
            walk(child, function)

    walk(tree, "")
    return found


def edges() -> list[tuple[str, str, str]]:
    """(importing room, function, imported room) over the whole package."""
    rows = []
    for path in FILES:
        name = room(path)
        if name == "__init__":
            continue  # public names of every floor, loaded on first use
        for function, module in imports(ast.parse(path.read_text())):
            target = module.removeprefix("tsforecast").lstrip(".") or "__init__"
            rows.append((name, function, target))
    return rows


def test_every_file_stands_on_a_floor():
    assert {room(path).split(".")[0] for path in FILES} <= set(FLOORS)


def test_modules_import_from_floors_below_or_from_their_own_folder():
    wrong = []
    for name, function, module in edges():
        down = FLOORS[module.split(".")[0]] < FLOORS[name.split(".")[0]]
        own_folder = folder(name) == folder(module)
        if not (down or own_folder or (name, function, module) in UPWARD):
            wrong.append(f"{name} imports {module}")
    assert wrong == []


def test_listed_upward_imports_exist():
    assert set(edges()) >= UPWARD


def test_no_import_cycles_inside_a_folder():
    graph: dict[str, set[str]] = {}
    for name, function, module in edges():
        if (name, function, module) not in UPWARD:
            graph.setdefault(name, set()).add(module)

    def visit(node: str, path: tuple[str, ...]) -> None:
        assert node not in path, " -> ".join((*path, node))
        for child in graph.get(node, ()):
            visit(child, (*path, node))

    for node in graph:
        visit(node, ())


def test_only_training_names_lightning():
    named = {room(path) for path in FILES if "pytorch_lightning" in path.read_text()}
    assert named == {"nn.training"}
