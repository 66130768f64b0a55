"""The commands from Python: a study planned, run and read, and prediction files scored."""

from __future__ import annotations

import functools
import json
import os
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

if typing.TYPE_CHECKING:
    import pyarrow as pa

    from .ending import Answer
    from .run import Outcome
    from .stage import Stage
    from .store import Store
    from .study import Plan, Todo

Folder = str | os.PathLike[str]


class Study:
    """A study with its parameters, and the folders that it reads and writes.

    Args:
        study: a built-in study, ``FILE.py`` or ``FILE.py:FUNCTION``, or a function that yields stages. Tasks that a
            function's stages name must be declared by xstilts or in a study file: stages run in other processes.
        parameters: the study's own; those of a built-in study or a file are checked as on the command line.
        store: folder of finished stages; as ``--store`` when it is not given, and so the others.
        data: folder of data sets.
        cache: folder of what can be made again.

    All methods raise ``ValueError`` for what cannot work, with the message of the command of the same name.
    """

    def __init__(
        self,
        study: str | Callable[..., Iterable[Stage]],
        parameters: Mapping[str, Any] | None = None,
        *,
        store: Folder | None = None,
        data: Folder | None = None,
        cache: Folder | None = None,
    ) -> None:
        self._study = study
        self._parameters = {
            name: tuple(value) if isinstance(value, (list, range)) else value
            for name, value in (parameters or {}).items()
        }
        self.store_folder = _folder(store, "XSTILTS_STORE") or Path("store")
        self.data_folder, self.cache_folder = _folder(data, "XSTILTS_DATA"), _folder(cache, "XSTILTS_CACHE")

    @property
    def name(self) -> str:
        """The name under which the store keeps its plan."""
        from .options import stored_name

        return stored_name(self._study) if isinstance(self._study, str) else self._study.__name__

    @functools.cached_property
    def plan(self) -> Plan:
        """All of its stages, checked, as ``stages`` by id, inputs first, ``leaves``, and ``note``."""
        from .named import defaults, leaves, spelled
        from .options import cache_folder, check_data, plan_of
        from .spec import one_of
        from .study import Sources, make_plan

        values = self._parameters
        if isinstance(self._study, str):
            words = [f"{name}={spelled(value)}" for name, value in values.items() if value is not None]
            return plan_of(self._study, words, self.data_folder, self.cache_folder)
        known = defaults(self._study)
        for name in values:
            one_of(f"parameter of the study {self.name!r}", name, known)
        check_data(self.data_folder)
        sources = Sources(self.data_folder, cache_folder(self.cache_folder))
        found = {name: spelled(value) for name, value in (known | values).items()}
        return make_plan(self.name, leaves(self.name, self._study, values), sources, found)

    def todo(self) -> dict[str, Todo]:
        """What a run would do, by id, inputs first: ``run``, or ``remake`` for weights that were dropped."""
        from .store import Store

        if not self.store_folder.is_dir():
            return self.plan.todo(lambda id: False, lambda id: False)
        store = Store.open(self.store_folder, create=False)
        return self.plan.todo(store.exists, store.usable)

    def run(
        self,
        *,
        device: str = "auto",
        executor: str = "local",
        address: str | None = None,
        workers: int | None = None,
        worker_gpus: float | None = None,
        keep: str = "all",
        remake: Sequence[str] | None = None,
        checkpoint_seconds: float = 120.0,
        stall_minutes: float = 30.0,
        retries: int = 2,
        recompute_activations: bool = False,
        shard: bool = False,
        track: str | None = None,
        quiet: bool = False,
    ) -> Outcome:
        """Run what is lacking, in worker processes; the arguments are the options of ``xstilts run``.

        An interrupt lets every worker write a checkpoint first; the same call goes on. In a script, call it below
        ``if __name__ == "__main__":``, since workers import the script.

        Returns:
            What was done: ``done``, ``found``, ``failed`` (by id), ``blocked``, ``interrupted``, ``exit_code``.
        """
        from .run_command import carried_out, view_of

        view = view_of(self.store_folder, track, quiet=quiet)
        _, outcome = carried_out(
            self.plan,
            self._study if isinstance(self._study, str) else "",
            self.store_folder,
            self.data_folder,
            self.cache_folder,
            view,
            device=device,
            executor=executor,
            address=address,
            workers=workers,
            worker_gpus=worker_gpus,
            keep=keep,
            remake=remake or (),
            checkpoint_seconds=checkpoint_seconds,
            stall_minutes=stall_minutes,
            retries=retries,
            recompute_activations=recompute_activations,
            shard=shard,
        )
        return outcome

    def status(self) -> dict[str, Any]:
        """How many stages are done, and what is missing: running, failed or waiting."""
        from .status_command import status_command

        (found,) = _document(status_command(self.name, store=self.store_folder, as_json=True))["studies"]
        return dict(found)

    def rows(self) -> pa.Table:
        """One row for every score, with all that it rests on; ``to_pandas()`` or ``to_pylist()`` make others of it."""
        from .report import rows

        store = self._stored()
        return rows.rows(store, store.plan(self.name))

    def report(self, out: Folder) -> list[Path]:
        """Write the report into a folder; its files."""
        from .run_command import write_report

        return list(map(Path, write_report(self._stored(), self.name, Path(out).expanduser())))

    def claims(self, profile: str = "") -> list[dict[str, Any]]:
        """What it says of nine published claims: for each grid of models ``claims`` with ``answer`` and ``effects``."""
        from .report import claims_document

        return claims_document(self._stored(), self.name, profile)

    def select(self, target: str, languages: Sequence[str] = ()) -> dict[str, Any]:
        """The recommendation of intermediate tasks for a target, ``TASK`` or ``TASK/SPLIT``, that rests on it."""
        from .select_command import select_command

        codes = ",".join(languages)
        return _document(select_command(target, codes, self.name, self.store_folder, as_json=True))

    def export(self, out: Folder, stage: str = "", *, best: str = "", **options: Any) -> dict[str, Any]:
        """Write a trained encoder for transformers and sentence-transformers into a new folder.

        Args:
            out: the folder.
            stage: a trained or merged model by its id or how that begins; or, in its place,
            best: an aligned bitext on whose dev rows the best model is chosen.
            options: as ``xstilts export encoder`` has them: ``layer``, ``pooling``, ``prefix``, ``max_tokens`` ...
        """
        from .export_command import export_encoder_command

        if bool(stage) == bool(best):
            raise ValueError("export: expected a stage or best=BITEXT, and not both")
        words = [*([stage] if stage else []), str(Path(out).expanduser())]
        found = export_encoder_command(words, self.name, best or None, store=self.store_folder, as_json=True, **options)
        return _document(found)

    def _stored(self) -> Store:
        from .options import check_tasks
        from .store import Store

        store = Store.open(self.store_folder, create=False)
        check_tasks(store, self.name)
        return store


def score(
    folder: Folder, *, data: Folder | None = None, benchmark: str = "xtreme", split: str = "test"
) -> dict[str, Any]:
    """Score a folder of prediction files in XTREME's layout, anyone's, as ``xstilts score FOLDER --json`` does."""
    from .score_command import score_command

    found = score_command(Path(folder).expanduser(), _folder(data, "XSTILTS_DATA"), benchmark, split, as_json=True)
    return _document(found)


def _folder(given: Folder | None, variable: str) -> Path | None:
    """A folder that is given, or named by an environment variable."""
    found = given if given is not None else os.environ.get(variable)
    return Path(found).expanduser() if found else None


def _document(answer: Answer) -> dict[str, Any]:
    return dict(json.loads(answer.text))
