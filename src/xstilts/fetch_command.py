"""The command that downloads data sets and encoders, writes down what it got, and checks it later."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from . import ending
from .ending import Answer
from .options import CacheOption, JsonOption, QuietOption, cache_folder, fetchable_like, task_of
from .version import __version__


def fetch_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Tasks (FILE.py:TASK for a study file's own), or encoders as HUB/NAME or HUB/NAME@REVISION.",
            autocompletion=fetchable_like,
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", help="File that lists what was fetched; fetched.json in the cache folder else."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the files of the manifest, and download nothing.")
    ] = False,
    cache: CacheOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> Answer:
    """Download data sets and encoders from the hub.

    It is the only command that downloads. Every file is entered into a manifest with its commit and SHA-256.

    The repositories of data sets are declared as the hub describes them; none was at hand to try. After a fetch,
    `xstilts tasks show NAME` reads every row of a split and checks labels and number.

    Example: xstilts fetch xnli FacebookAI/xlm-roberta-base
    """
    if bool(names) == verify:
        raise typer.BadParameter("expected tasks or encoders to fetch, or --verify without any")
    listed = manifest or cache_folder(cache) / "fetched.json"
    if listed.is_dir():
        raise ValueError(f"--manifest {listed}: it is a folder; expected a file, there or not")
    return _verified(listed, quiet, as_json) if verify else _fetched(names or [], listed, quiet, as_json)


def _verified(manifest: Path, quiet: bool, as_json: bool) -> Answer:
    from .manifest import verify

    num_files, problems = verify(manifest)
    code = ending.FAILED if problems else 0
    if as_json:
        facts = {"manifest": str(manifest), "verified": num_files, "problems": problems}
        return ending.document(facts, code)
    found_out = f"{len(problems)} problems" if problems else "all intact"
    lines = [*problems, f"verified {num_files} files of {manifest}: {found_out}"]
    if problems:
        lines.append("remove a file that differs from the Hugging Face cache, and fetch it again")
    return ending.text([] if quiet and not problems else lines, code)


def _fetched(names: list[str], manifest: Path, quiet: bool, as_json: bool) -> Answer:
    from . import tasks
    from .manifest import add, read
    from .named import study_file

    # all names are looked up before the first download
    found = {name: task_of(name) for name in names if "/" not in name or study_file(name)}
    if manifest.exists():
        read(manifest)
    if quiet:
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        os.environ["HF_HUB_VERBOSITY"] = "error"
    fetched: list[dict[str, Any]] = []
    lines: list[str] = []
    problems: list[str] = []
    for name in names:
        try:
            if name in found:
                files = tasks.download(found[name])
                fetched.append({"name": name, "files": list(map(str, files))})
                lines.append(f"{name}: {len(files)} files")
            else:
                from .hub import download_encoder, translator_files

                repository, _, revision = name.partition("@")
                folder = download_encoder(repository, revision or "main")
                files = translator_files(folder)
                fetched.append({"name": name, "folder": str(folder)})
                lines.append(f"{name}: {folder}")
        except ValueError:
            raise
        except Exception as error:  # of the hub's client and of the network below it
            raise ConnectionError(
                f"{name} cannot be fetched: {' '.join(ending.said(error).split()).rstrip('.')}; "
                "check the name and the network; what came before stays in the cache"
            ) from error
        problems += add(manifest, files, __version__)
    for problem in problems:
        ending.complain(problem)
    code = ending.FAILED if problems else 0
    if as_json:
        return ending.document({"fetched": fetched, "manifest": str(manifest), "problems": problems}, code)
    return ending.text([] if quiet else [*lines, f"listed in {manifest}"], code)
