"""The card of an exported model: what it is, how it was made, from which data under which licences, and its scores."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xstilts.spec import canonical_json
from xstilts.stage import OFFLINE_PACKAGE
from xstilts.store import Store
from xstilts.tasks import PROFILES, Task, average, find, language, with_members
from xstilts.tasks.languages import MULTILINGUAL, PAIR
from xstilts.tasks.task import Hub

from .blocks import Block, Cell, Code, Facts, Heading, Items, Table, Text, code, markdown
from .methods import method
from .rows import STAND_IN, Document, chain, rows
from .stats import is_miniature
from .tables import MISSING, percent

OFFLINE_BASE = "intfloat/multilingual-e5-small"
"""What the package of the encoder ``offline`` holds in 4 bits."""
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True)
class Made:
    """What was exported and how its vectors are made.

    Attributes:
        name: of the model, as the card's title.
        stage: id of the Train or Merge.
        layer: hidden state of its vectors.
        num_layers: of the encoder.
        truncated: whether the layers above it were left out.
        pooling: how a vector is made of it.
        prefix: what stands before every text.
        max_tokens: the longest text in tokens.
        chosen: how it was chosen, in words; nothing where it was named.
        licence: identifier of the licence that its owner gives it; nothing where none is given.
    """

    name: str
    stage: str
    layer: int
    num_layers: int
    truncated: bool
    pooling: str
    prefix: str
    max_tokens: int
    chosen: str = ""
    licence: str = ""


def check_licence(licence: str) -> None:
    """Refuse, with a `ValueError`, what cannot be the identifier of a licence on the hub."""
    if licence and not _LICENCE.fullmatch(licence):
        raise ValueError(f"licence {licence!r}: expected an identifier of the hub, such as apache-2.0 or cc-by-nc-4.0")


def model_plan(store: Store, id: str, study: str = "") -> Document:
    """A stored model as a plan: all that it is made of, and the measurements of it, of one study's if given.

    Raises:
        ValueError: for a stage whose declaration neither a record nor a plan of the store has.
    """
    planned = {name: store.plan(name) for name in ([study] if study else store.plans())}
    known = {other: stage for plan in planned.values() for other, stage in plan["stages"].items()}
    stages: dict[str, Any] = {}

    def add(one: str) -> None:
        if one in stages:
            return
        found = known.get(one)
        if found is None:
            record = store.record(one)
            found = {
                "declaration": record["declaration"],
                "inputs": record["inputs"],
                "label": record["names"]["label"],
            }
        for other in found["inputs"]:
            add(other)
        stages[one] = found

    add(id)
    measured = (record for record in store.records("evaluate") if record["declaration"]["model"] == {"stage": id})
    ids = [record["id"] for record in measured if not study or record["id"] in known]
    for leaf in ids:
        add(leaf)
    return {"study": study, "parameters": {}, "stages": stages, "leaves": ids}


def encoder_of(plan: Document, store: Store, id: str) -> tuple[str, str]:
    """The name of the encoder that a model starts from, a folder without its path, and the name on the hub if any."""
    encoder = chain(plan, {"model": {"stage": id}}).encoder
    content = str(encoder["content"])
    if content.startswith("hub:"):
        name = content.removeprefix("hub:").partition("@")[0]
        return name, name
    if content.startswith(f"{OFFLINE_PACKAGE}-"):
        return f"{OFFLINE_BASE}, 4 bits, from the package {OFFLINE_PACKAGE}", OFFLINE_BASE
    if "tiny" in encoder:
        return "tiny (random weights)", ""
    given = store.record(id)["names"].get("encoder", "") if store.exists(id) else ""
    return Path(given).name or "a folder", ""


def card(store: Store, plan: Document, made: Made) -> str:
    """``README.md`` of the folder: the hub's front matter, then text.

    Args:
        store: where the records are.
        plan: `model_plan` of it.
        made: what was exported.
    """
    return front_matter(store, plan, made) + "\n" + markdown(_blocks(store, plan, made))


def provenance(store: Store, plan: Document, made: Made) -> str:
    """``xstilts.json`` of the folder: every declaration below the model, and the record of each that is stored."""
    kept = ("result", "environment", "started", "wall_seconds", "names")
    stages = {}
    for id, stage in plan["stages"].items():
        if id in plan["leaves"]:
            continue
        record = store.record(id) if store.exists(id) else {}
        own = {name: record[name] for name in kept if name in record}
        if "names" in own:  # the name of an encoder may be a path of the machine
            own["names"] = {key: value for key, value in own["names"].items() if key not in ("encoder", "label")}
        stages[id] = {"declaration": stage["declaration"], "inputs": stage["inputs"], **own}
    facts = {name: value for name, value in vars(made).items() if value != ""}
    document = {"model": facts, "stages": stages, "measurements": plan["leaves"]}
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def front_matter(store: Store, plan: Document, made: Made) -> str:
    """The YAML between ``---`` that the hub reads; every text in it is quoted as JSON is, which YAML reads too."""
    _, base = encoder_of(plan, store, made.stage)
    merged = plan["stages"][made.stage]["declaration"]["kind"] == "merge"
    codes = sorted({part for code in _languages(plan) for part in code.split(PAIR)} - {MULTILINGUAL.code})
    hubs = {hub for name in _trained(plan) for task in with_members(name) if (hub := _hub(task))}
    fields: dict[str, Any] = {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "license": made.licence or "other",
        **({} if made.licence else {"license_name": "not-stated"}),
        **({"base_model": base, "base_model_relation": "merge" if merged else "finetune"} if base else {}),
        "language": codes,
        "datasets": sorted(hubs),
        "tags": ["sentence-transformers", "feature-extraction", "xstilts"],
    }
    lines = ["---"]
    for name, value in fields.items():
        if isinstance(value, str):
            lines.append(f"{name}: {json.dumps(value)}")
        elif value:
            lines += [f"{name}:", *(f"- {json.dumps(item)}" for item in value)]
    return "\n".join([*lines, "---", ""])


def _trained(plan: Document) -> list[str]:
    """Every task that a stage below the model was trained on or chosen by, once."""
    found: dict[str, None] = {}
    for stage in plan["stages"].values():
        declared = stage["declaration"]
        found |= dict.fromkeys(declared["mixture"]["tasks"] if declared["kind"] == "train" else ())
        found |= {declared["held_out"]["task"]: None} if "held_out" in declared else {}
    return list(found)


def _hub(task: Task) -> str:
    """The data set of a task on the hub, a slice's that of its whole; nothing where none is declared."""
    of = (task, *([find(task.slice_of)] if task.slice_of else []))
    return next((source.repo for one in of for source in one.sources if isinstance(source, Hub)), "")


def _languages(plan: Document) -> set[str]:
    """The languages of all rows that the model was trained on or measured in."""
    declared = [stage["declaration"] for stage in plan["stages"].values()]
    own = {data["language"] for one in declared for data in one.get("data", ())}
    return own | {one["target"] for one in declared if one["kind"] == "translate"}


def _blocks(store: Store, plan: Document, made: Made) -> Iterator[Block]:
    yield Heading(1, made.name)
    name, _ = encoder_of(plan, store, made.stage)
    yield Text(f"A multilingual encoder of sentences: {name}, trained on further tasks by xstilts.")
    if names := sorted(name for name in _trained(plan) if is_miniature(name)):
        yield Text(
            f"**Miniature.** It was trained on embedded data made for trying things out ({', '.join(names)}): it shows "
            "that everything works, and is of no use.",
            notice=True,
        )
    if any(store.exists(id) and store.record(id)["result"].get("collapsed") for id in plan["stages"]):
        yield Text("**Collapsed.** A training of it stayed at the majority class.", notice=True)
    yield Heading(2, "Use")
    prompt = f" {code(made.prefix)} is put before every text, by itself." * bool(made.prefix)
    yield Text(
        f"A vector is the {made.pooling} pooling of hidden state {made.layer} of {made.num_layers}"
        f"{', after which the encoder ends' * made.truncated}. A text has at most {made.max_tokens} tokens; vectors "
        f"are compared by cosine.{prompt}"
    )
    yield Code(
        "from sentence_transformers import SentenceTransformer\n\n"
        f"model = SentenceTransformer({json.dumps(made.name)})  # or the path of this folder\n"
        'vectors = model.encode(["A sentence.", "Ein Satz."])'
    )
    yield Text(f"{code('AutoModel')} and {code('AutoTokenizer')} of transformers load the encoder alone.")
    yield Heading(2, "How it was made")
    if made.chosen:
        yield Text(f"Chosen by held-out bitext and by no test set: {made.chosen}.")
    yield Items(tuple(_steps(plan, made, name)))
    yield Heading(2, "Data and licences")
    stated = f"the licence {code(made.licence)}" if made.licence else "no licence"
    yield Text(
        f"Whoever exported this model gave it {stated}. What the licences of the encoder that it starts from and of "
        "the data below allow is theirs to say; each data set is named with the licence that its release states."
    )
    yield _data(plan)
    yield Heading(2, "Scores")
    yield from _scores(store, plan, made)
    yield Heading(2, "What it rests on")
    yield Facts(_rests_on(store, plan, made))


def _steps(plan: Document, made: Made, encoder: str) -> Iterator[str]:
    """Every stage below the model in words, in the order in which they were done."""
    yield f"start: {encoder}, content {code(chain(plan, {'model': {'stage': made.stage}}).encoder['content'])}"
    for id, stage in plan["stages"].items():
        declared = stage["declaration"]
        if declared["kind"] == "train":
            yield f"{_training(declared)}; {code(id)}"
        elif declared["kind"] == "merge":
            models = ", ".join(code(model["stage"]) for model in declared["models"])
            settings = {"scale", "density", "seed"} & declared.keys()
            how = "".join(f", {name} {declared[name]:g}" for name in sorted(settings))
            yield f"merged ({declared['method']}{how}) of {models}; {code(id)}"
        elif declared["kind"] == "translate":
            by = canonical_json(declared["translator"])
            yield (
                f"{declared['task']}/{declared['split']} translated from {declared['source']} to {declared['target']} "
                f"by {code(by)}; {code(id)}"
            )


def _training(declared: Document) -> str:
    """A training in words: on what, how much, and how."""
    mixture, budget, recipe = declared["mixture"], declared["budget"], declared["recipe"]
    unit = budget["unit"].removesuffix("s") if budget["amount"] == 1 else budget["unit"]
    words = [f"trained on {' + '.join(mixture['tasks'])}: {budget['amount']:g} {unit}"]
    words += [f"{mixture['policy']} mixing"] if len(mixture["tasks"]) > 1 else []
    words.append(
        f"AdamW, rate {recipe['learning_rate']:g}, warm-up {recipe['warmup_share']:.0%}, {recipe['decay']} decay, "
        f"weight decay {recipe['weight_decay']:g}, clipping {recipe['max_grad_norm']:g}, "
        f"{recipe['batch_examples']} examples a step, {recipe['max_tokens']} tokens, {recipe['precision']}"
    )
    words += [other] if (other := method([declared])) else []
    return ", ".join([*words, f"seed {declared['seed']}"])


def _data(plan: Document) -> Table:
    lines: list[tuple[Cell, ...]] = []
    for name in _trained(plan):
        for task in with_members(name):
            used = {
                f"{data['split']} {data['language']}"
                for stage in plan["stages"].values()
                if stage["declaration"]["kind"] in ("train", "merge")
                for data in stage["declaration"].get("data", ())
                if data["task"] == name
            }
            lines.append((task.name, ", ".join(sorted(used)), _hub(task) or MISSING, task.licence))
    return Table(
        "Rows that it was trained on, or chosen by", ("data set", "rows", "on the hub", "licence"), tuple(lines), 4
    )


def _scores(store: Store, plan: Document, made: Made) -> Iterator[Block]:
    table = rows(store, plan)
    own = [row for row in table.to_pylist() if row["model"] == made.stage]
    if not own:
        yield Text("No measurement of it is stored.")
        return
    yield Text(
        "Scores of stored predictions, in %; an average exists only where every language of it does. Each line is of "
        "one numeric path and one way of measuring. A profile reads its own layer, which need not be the exported one."
    )
    for name, profile in PROFILES.items():
        lines: list[tuple[Cell, ...]] = []
        for protocol in profile.protocols:
            marks = {name, name + STAND_IN}
            fitting = [row for row in own if row["task"] == protocol.task and marks & {*row["profiles"].split(";")}]
            for key, found in _grouped(fitting):
                parts = {row["language"]: _value(row, protocol.numbers) for row in found}
                known = {language: value for language, value in parts.items() if value is not None}
                value = average(known, protocol.languages)
                stand_in = " ‡" * any(name + STAND_IN in row["profiles"].split(";") for row in found)
                scaled = ", scaled: **not the published protocol**" * protocol.cell(made.num_layers)[1]
                count = f"{len(known.keys() & {*protocol.languages})} of {len(protocol.languages)}"
                score = percent(value) + stand_in * (value is not None)
                lines.append((*key[:2], key[2] + scaled, count, score, *key[3:]))
        if lines:
            header = ("task", "metric", "vectors", "languages", "mean", "measured with", "numeric path")
            yield Table(f"Profile {name}", header, tuple(lines), 3)
    if any(STAND_IN in row["profiles"] for row in own):
        yield Text("‡ The model was trained on a slice that stands in for the training set that the profile asks for.")
    here = [row for row in own if (row["layer"], row["pooling"]) in ((made.layer, made.pooling), (None, None))]
    lines = []
    for key, found in _grouped(here):
        values = {row["language"]: row["value"] for row in found}
        codes = " ".join(f"{one} {_percent(row)}" for one, row in sorted({r["language"]: r for r in found}.items()))
        mean = average(values, values)
        lines.append((*key[:3], f"{_percent(found[0], mean)} ({len(values)})", codes, *key[3:]))
    if lines:
        header = ("task", "metric", "vectors", "mean (languages)", "by language", "measured with", "numeric path")
        yield Table("Every measurement of the exported vectors, and of what has none", header, tuple(lines), 3)


def _value(row: Mapping[str, Any], numbers: Sequence[str]) -> float | None:
    return average({"value": row["value"], **json.loads(row["parts"] or "{}")}, numbers)


def _percent(row: Mapping[str, Any], value: float | None = None) -> str:
    return percent(row["value"] if value is None else value, row["metric"] not in ("perplexity", "loss"))


def _grouped(found: Sequence[Mapping[str, Any]]) -> Iterator[tuple[tuple[str, ...], list[Mapping[str, Any]]]]:
    """Rows that may stand in one average: of one task, metric, cell, way of measuring and numeric path."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in found:
        layer = "" if row["layer"] is None else f"layer {row['layer']}, {row['pooling']}, {row['direction']}"
        metric = f"{row['metric']} v{row['metric_version']}"
        groups[f"{row['task']}/{row['split']}", metric, layer, row["protocol"], row["numeric_path"]].append(row)
    yield from sorted(groups.items())


def _rests_on(store: Store, plan: Document, made: Made) -> dict[str, str]:
    stage = plan["stages"][made.stage]
    facts = {"id": code(made.stage)}
    facts |= {"study": code(str(plan["study"]))} if plan["study"] else {}
    paths: dict[str, None] = {}
    for id in [id for id in plan["stages"] if id not in plan["leaves"] and store.exists(id)]:
        paths[str(store.record(id)["environment"].get("numeric_path", ""))] = None
    facts["numeric path of the trainings"] = ", ".join(filter(None, paths)) or "not stored"
    if store.exists(made.stage):
        environment = store.record(made.stage)["environment"]
        versions = {"xstilts": environment.get("xstilts"), "python": environment.get("python")}
        versions |= environment.get("packages", {})
        facts["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        facts |= {"commit": code(environment["commit"])} if environment.get("commit") else {}
        facts |= {"device": environment["device"]} if environment.get("device") else {}
    names = sorted(language(one).name for one in _languages(plan) if PAIR not in one)
    facts["languages of its data"] = ", ".join(names)
    facts["inputs"] = ", ".join(map(code, stage["inputs"])) or "none but the encoder"
    facts["every declaration"] = code("xstilts.json")
    return facts
