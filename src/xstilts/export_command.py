"""The command that exports a trained encoder as a folder for transformers and sentence-transformers, with its card."""

from __future__ import annotations

import re
import typing
from pathlib import Path
from typing import Annotated, Any

import typer

from . import ending
from .ending import Answer
from .options import DEFAULT_STORE, JsonOption, QuietOption, StoreOption, check_folder, plans_like, stored_name

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

    from .store import Store

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_MAX_TOKENS = 256


def export_encoder_command(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[STAGE] DIR", help="A trained or merged model by its id or how that begins; a new folder."
        ),
    ],
    study: Annotated[
        str | None, typer.Option(help="The study it is of, by name or Python file.", autocompletion=plans_like)
    ] = None,
    best: Annotated[
        str | None, typer.Option(help="In place of STAGE: the study's best model on dev rows of this aligned bitext.")
    ] = None,
    metric: Annotated[str, typer.Option(help="What --best goes by; the bitext's own metric unless given.")] = "",
    pooling: Annotated[str, typer.Option(help="How a vector is made: mean, cls or pooler.")] = "mean",
    layer: Annotated[int, typer.Option(help="Hidden state of the vectors, 0 the embeddings, -1 the last.")] = -1,
    prefix: Annotated[
        str | None, typer.Option(help="Text before every text; that of its measurements unless given.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=3, help="Longest text in tokens; that of its measurements unless given.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence that you give it, such as apache-2.0, for the card.")] = "",
    push: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="Upload it too, into a repository that is made private.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> Answer:
    """Write a trained encoder for transformers and sentence-transformers.

    The folder has a model card with the stages, data, licences and scores. --best chooses on dev rows of aligned
    bitext, never by a test set. Only --push uses the network, with the token that the hub's client has.

    Example: xstilts export encoder exported --study scaling --best ntrex --layer 8
    """
    from .report.card import Made, card, check_licence, encoder_of, model_plan, provenance
    from .store import Store

    named, out = (words[0] if len(words) == 2 else ""), Path(words[-1])
    if len(words) > 2 or bool(named) == bool(best):
        raise typer.BadParameter("expected STAGE and DIR, or DIR alone with --best BITEXT")
    if metric and not best:
        raise typer.BadParameter("--metric is what --best goes by: expected both")
    if push and not _HUB_NAME.fullmatch(push):
        raise ValueError(f"--push {push}: expected OWNER/NAME")
    check_licence(licence)
    check_folder("DIR", out)
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty: nothing in it is overwritten")
    opened = Store.open(store, create=False)
    study_name = stored_name(study) if study else ""
    chosen = ""
    if best:
        id, chosen = _best(opened, study_name, best, layer=layer, pooling=pooling, metric=metric)
    else:
        id = _stage(opened, named, study_name)
    _check_weights(opened, id, study_name)
    plan = model_plan(opened, id, study_name)
    prefix, max_tokens = _as_measured(plan, prefix, max_tokens)
    from .engine.export import export
    from .engine.folders import appearing

    with appearing(out) as unfinished:
        found = export(
            opened.weights(id), unfinished, layer=layer, pooling=pooling, prefix=prefix, max_tokens=max_tokens
        )
        made = Made(
            name=push or f"{Path(encoder_of(plan, opened, id)[1] or 'encoder').name}-{id}",
            stage=id,
            layer=found.layer,
            num_layers=found.num_layers,
            truncated=found.truncated,
            pooling=pooling,
            prefix=prefix,
            max_tokens=found.max_tokens,
            chosen=chosen,
            licence=licence,
        )
        (unfinished / "README.md").write_text(card(opened, plan, made), encoding="utf-8")
        (unfinished / "xstilts.json").write_text(provenance(opened, plan, made), encoding="utf-8")
    url = _pushed(out, push) if push else None
    facts: dict[str, Any] = {"folder": str(out), **vars(made), "pushed": url}
    if as_json:
        return ending.document(facts)
    lines = [f"chosen: {chosen}"] * bool(chosen)
    how = "truncated there" if found.truncated else "whole"
    lines.append(f"{id} written to {out}: {pooling} of layer {found.layer} of {found.num_layers}, {how}")
    lines += [f"uploaded to {url}"] * bool(url)
    return ending.text([] if quiet else lines)


def _best(store: Store, study: str, task: str, **how: Any) -> tuple[str, str]:
    """The id of a study's best model by held-out bitext, and how it was chosen."""
    from .options import check_tasks
    from .report.best import best
    from .spec import one_of

    names = store.plans()
    if not study and len(names) != 1:
        raise ValueError(f"--best is of one study: expected --study with one of {', '.join(names) or 'none'}")
    study = study or names[0]
    one_of("study", study, names)
    check_tasks(store, study)
    return best(store, store.plan(study), task, **how)


def _stage(store: Store, given: str, study: str) -> str:
    """The trained or merged model whose id is given, or how it begins.

    Raises:
        ValueError: for none, several, or a stage that has no encoder.
    """
    from .spec import near

    known = store.plan(study)["stages"] if study else None
    ids = [id for id in store.ids() if known is None or id in known]
    models = [id for id in ids if store.record(id)["kind"] in ("train", "merge")]
    found = [given] if given in models else [id for id in models if id.startswith(given)]
    if len(found) == 1:
        return found[0]
    if found:
        shown = "".join(f"\n  {id}  {store.record(id)['names'].get('label', '')}" for id in found[:20])
        raise ValueError(f"{len(found)} models have ids that begin with {given!r}: expected one{shown}")
    if others := [id for id in ids if id.startswith(given)]:
        model = store.record(others[0])["declaration"].get("model", {}).get("stage")
        hint = f"; it is of the model {model}" if model else ""
        raise ValueError(f"{others[0]} is a stage of kind {store.record(others[0])['kind']!r}, no encoder{hint}")
    raise ValueError(f"no trained or merged model {given!r} in {store.root}{near(given, models)}")


def _check_weights(store: Store, id: str, study: str) -> None:
    """Refuse, with a `ValueError`, weights that are damaged, or dropped, with the command that makes them again."""
    if problems := store.verify([id]):
        raise ValueError(f"{problems[0]}; move {store.folder(id)} out of the store and run the study again")
    if store.usable(id):
        return
    from .report.stages import command

    names = [study] if study else store.plans()
    plan = next((plan for name in names if id in (plan := store.plan(name))["stages"]), None)
    how = f"{command(plan).removesuffix(' --report report')} --remake {id} --store {store.root}" if plan else ""
    again = f"make them again, under the same id: {how}" if how else "no stored study says how to make them again"
    raise ValueError(f"{id}: its weights were dropped; {again}")


def _as_measured(plan: Mapping[str, Any], prefix: str | None, max_tokens: int | None) -> tuple[str, int]:
    """Prefix and length, where they are not given those that all measurements by vectors have; else none and 256."""
    leaves = [plan["stages"][id]["declaration"] for id in plan["leaves"]]
    by_vectors = [leaf for leaf in leaves if leaf["views"]]
    prefixes = sorted({leaf["views"]["prefix"] for leaf in by_vectors})
    lengths = sorted({leaf["max_tokens"] for leaf in by_vectors})
    if prefix is None and len(prefixes) > 1:
        raise ValueError(f"it was measured with the prefixes {', '.join(map(repr, prefixes))}: expected --prefix")
    if max_tokens is None and len(lengths) > 1:
        raise ValueError(f"it was measured with at most {', '.join(map(str, lengths))} tokens: expected --max-tokens")
    return (
        (prefixes[0] if prefixes else "") if prefix is None else prefix,
        (lengths[0] if lengths else _MAX_TOKENS) if max_tokens is None else max_tokens,
    )


def _pushed(folder: Path, repository: str) -> str:
    """Upload a folder into a repository of the hub, made private unless it is there; where it is now.

    Raises:
        ConnectionError: when that fails, without the token, whatever the client says.
    """
    from huggingface_hub import HfApi, get_token

    try:
        api = HfApi()
        api.create_repo(repository, private=True, exist_ok=True)
        return str(api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Exported by xstilts"))
    except Exception as error:  # of the hub's client and of the network below it
        words = " ".join(ending.said(error).split()).rstrip(".")
        if token := get_token():
            words = words.replace(token, "***")
        raise ConnectionError(
            f"{folder} is written, but cannot be uploaded to {repository}: {words}; log in with `hf auth login`"
        ) from None
