"""The rooms of the runtime lie on floors: imports run down only, and public names stay where they are."""

import ast
from pathlib import Path

import pytest

import tisdiss_rt

PACKAGE = Path(tisdiss_rt.__file__).parent
ABOVE = ("cli", "live", "ray", "corpus", "separator", "separation")
FLOORS = (*ABOVE, "streaming", "talkers", "planning", "estimate", "engine", "audio")
GROUND = {"errors", "bundle", "manifest", "external_data", "priority", "__version__"}  # for every floor


def rooms_imported(path: Path) -> set[str]:
    """The rooms, or modules of the package itself, that a module imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "tisdiss_rt":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tisdiss_rt."):
            found.add(node.module.split(".")[1])
    return found - GROUND


@pytest.mark.parametrize("floor", range(len(FLOORS)))
def test_imports_run_down_only(floor: int) -> None:
    room = PACKAGE / FLOORS[floor]
    modules = sorted(room.glob("*.py")) if room.is_dir() else [room.with_suffix(".py")]
    assert modules
    for module in modules:
        above = rooms_imported(module) - set(FLOORS[floor:])
        assert not above, f"{module} imports {', '.join(above)}"


def test_the_ground_floor_uses_nothing_above() -> None:
    modules = [PACKAGE / f"{name}.py" for name in ("errors", "bundle", "external_data", "priority")]
    for module in (*modules, *(PACKAGE / "manifest").glob("*.py")):
        assert not rooms_imported(module)


def test_modules_stay_short() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert not {path.name for path, count in lines.items() if count > 300}


def test_every_public_name_is_found() -> None:
    for name in tisdiss_rt.__all__:
        assert getattr(tisdiss_rt, name).__name__ == name
