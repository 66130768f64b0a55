"""Exported encoders: the vectors of a measurement in other libraries, the card, what is chosen and what is refused."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import ModelCard
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from program import Call, refused
from small import CPU, table_of
from test_encoder import TEXTS
from test_report import ENCODER, LANGUAGES, MODELS, NUM_LAYERS, fill, measure, train, value_of
from xstilts.engine import evaluate
from xstilts.engine.export import export
from xstilts.engine.folders import build_tiny
from xstilts.engine.kinds import embed
from xstilts.engine.model import Model
from xstilts.engine.retrieval import Cell, Vectors
from xstilts.recipe import STILTS
from xstilts.report.best import best
from xstilts.stage import Evaluate, Merge, Train, label
from xstilts.store import Store
from xstilts.tasks import Entry, find

ARCHITECTURES = ("xlm-roberta", "bert", "distilbert", "modernbert", "deberta-v2", "albert")
NORMED = ("modernbert",)  # what their last layer gives is normalised, so that a middle one cannot be the last
LAST = NUM_LAYERS
PREFIX = "query: "
LONG = " ".join(TEXTS * 3)
needs_library = pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None,
    reason="sentence-transformers is not installed: pip install 'xstilts[bench]'",
)


def weights_of(folder: Path, architecture: str = "xlm-roberta") -> Path:
    """The weights of a training: an encoder of large random weights, without heads."""
    sizes = {"hidden_size": 16, "num_heads": 2, "intermediate_size": 32, "num_layers": NUM_LAYERS}
    build_tiny(
        folder / "encoder",
        [*TEXTS, PREFIX],
        architecture=architecture,
        vocab_size=150,
        max_positions=64,
        initializer_range=0.2,
        **sizes,
    )
    return folder


@pytest.fixture(scope="module", params=ARCHITECTURES)
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weights_of(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weights_of(tmp_path_factory.mktemp("plain"))


def measured(
    model: Model, texts: Sequence[str], layer: int, pooling: str, *, prefix: str, max_tokens: int, head: Any = None
) -> Tensor:
    """The vectors [N, H] that a measurement of these texts compares."""
    entries = [Entry(text, str(number), True, "en") for number, text in enumerate(texts)]
    data = table_of(embed.encode(find("mini-lareqa").kind, entries, model.tokenizer, max_tokens, prefix))
    cell = Cell(layer, pooling)
    with evaluate._inference(CPU, "float32"):
        batches = evaluate._batches(data, None, CPU, None)
        vectors = Vectors(model, head, [cell], batches, len(texts), CPU)
        return vectors._all[:, 0].clone()


def encoded(folder: Path, texts: Sequence[str]) -> Tensor:
    """What sentence-transformers makes of the same texts, with the defaults of the folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of that library about itself
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        found = [model.encode(list(texts)), model.encode_query(list(texts)), model.encode_document(list(texts))]
    assert all((one == found[0]).all() for one in found)
    return torch.from_numpy(found[0])


# ------------------------------------------------------------ vectors


@needs_library
@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("layer", [0, 2, -1])
def test_encode_gives_the_vectors_of_a_measurement(weights: Path, layer: int, pooling: str, tmp_path: Path) -> None:
    (out := tmp_path / "out").mkdir()
    found = export(weights, out, layer=layer, pooling=pooling, prefix=PREFIX, max_tokens=20)
    texts = [*TEXTS, LONG, "", "  spaces  "]
    model = Model(weights / "encoder").eval()
    expected = measured(model, texts, found.layer, pooling, prefix=PREFIX, max_tokens=20)
    assert expected.std() > 0.01
    torch.testing.assert_close(encoded(out, texts), expected, rtol=1e-5, atol=1e-5)


@needs_library
def test_the_pooler_of_a_dual_encoder_is_a_layer_of_its_own(plain: Path, tmp_path: Path) -> None:
    model = Model(plain / "encoder").eval()
    model.add_heads(("mini-nli", "mini-nli-triples"), STILTS, seed=1)
    model.save(tmp_path / "weights")
    (out := tmp_path / "out").mkdir()
    export(tmp_path / "weights", out, layer=-1, pooling="pooler", prefix="", max_tokens=30)
    head = model.head("mini-nli-triples")
    expected = measured(model, TEXTS, LAST, "pooler", prefix="", max_tokens=30, head=head)
    torch.testing.assert_close(encoded(out, TEXTS), expected, rtol=1e-5, atol=1e-5)


def test_a_middle_layer_is_the_end_of_a_shorter_encoder_or_is_named(weights: Path, tmp_path: Path) -> None:
    (out := tmp_path / "out").mkdir()
    found = export(weights, out, layer=2, pooling="mean", prefix="", max_tokens=1000)
    tokenizer = AutoTokenizer.from_pretrained(out, local_files_only=True)
    short = AutoModel.from_pretrained(out, local_files_only=True).eval()
    whole = AutoModel.from_pretrained(weights / "encoder", local_files_only=True).eval()
    given = tokenizer(TEXTS[0], return_tensors="pt")
    normed = weights.name.startswith(NORMED)
    with torch.inference_mode():
        wanted = whole(**given, output_hidden_states=True).hidden_states[2]
        states = short(**given, output_hidden_states=True)
    settings = json.loads((out / "sentence_bert_config.json").read_text())
    assert found.truncated != normed
    assert settings["max_seq_length"] == found.max_tokens <= 64
    if normed:
        assert settings["modality_config"]["text"]["method_output_name"] == ["hidden_states", 2]
        torch.testing.assert_close(states.hidden_states[2], wanted)
    else:
        assert "modality_config" not in settings
        assert short.config.num_hidden_layers == 2
        torch.testing.assert_close(states.last_hidden_state, wanted)
        smaller = (out / "model.safetensors").stat().st_size < (weights / "encoder/model.safetensors").stat().st_size
        assert smaller != weights.name.startswith("albert")  # whose layers are one


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": "mean-no-special"}, "has no pooling 'mean-no-special': expected one of mean, cls, pooler"),
        ({"pooling": "men"}, "unknown pooling 'men'.*did you mean 'mean'"),
        ({"layer": 5}, "layer 5: expected a hidden state 0 to 4"),
        ({"layer": -6}, "layer -6: expected a hidden state 0 to 4"),
        ({"pooling": "pooler"}, "this model has no dual encoder"),
    ],
)
def test_what_cannot_be_exported(plain: Path, settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    given = {"layer": -1, "pooling": "mean", "prefix": "", "max_tokens": 20} | settings
    with pytest.raises(ValueError, match=message):
        export(plain, tmp_path, **given)
    assert list(tmp_path.iterdir()) == []


def test_a_pooler_that_reads_more_than_the_last_layer_is_refused(plain: Path, tmp_path: Path) -> None:
    for name, recipe in {"last": STILTS, "mixed": dataclasses.replace(STILTS, aggregation="mix")}.items():
        model = Model(plain / "encoder")
        model.add_heads(("mini-nli-triples",), recipe, seed=1)
        model.save(tmp_path / name)
    (out := tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match=r"reads the last hidden state, 4, alone"):
        export(tmp_path / "last", out, layer=2, pooling="pooler", prefix="", max_tokens=20)
    with pytest.raises(ValueError, match=r"reads all hidden states"):
        export(tmp_path / "mixed", out, layer=-1, pooling="pooler", prefix="", max_tokens=20)


# ------------------------------------------------------------ a study's model

TRAINED = MODELS[1]
HELD_OUT = [measure(model, code, "ntrex", split="dev") for model in MODELS for code in LANGUAGES]


def publish(store: Store, stage: Train | Merge, weights: Path) -> None:
    """A model with weights, as a run publishes it."""
    staged = store.work(stage.id) / "out"
    (staged / "weights").mkdir(parents=True)
    for file in (weights / "encoder").iterdir():
        target = staged / "weights" / "encoder" / file.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(file.read_bytes())
    environment = {"xstilts": "0.1.0", "numeric_path": "cuda-bfloat16-varlen", "packages": {"torch": "2.13.0"}}
    store.publish(
        stage.id,
        staged,
        {
            "kind": stage.kind,
            "declaration": stage.declaration(),
            "inputs": [other.id for other in stage.inputs],
            "names": {"encoder": "/home/someone/models/made", "label": label(stage)},
            "result": {"num_layers": NUM_LAYERS, "tokenizer_fingerprint": "f" * 16, "collapsed": False},
            "environment": environment,
            "wall_seconds": 2.0,
        },
    )


@pytest.fixture(scope="module")
def store(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A study of seven models with held-out bitext, two of them with weights; not to be changed."""
    root = tmp_path_factory.mktemp("project") / "store"
    for model in MODELS[1:]:
        publish(Store.open(root), model, plain)
    tatoeba = [measure(model, code) for model in MODELS for code in LANGUAGES]
    return fill(root, [*tatoeba, *HELD_OUT])


def test_an_exported_folder_has_its_card_and_provenance(store: Store, call: Call) -> None:
    prefix = TRAINED.id[:12]
    where = ("--store", str(store.root))
    ended = call("export", "encoder", prefix, "out", "--layer", "2", "--licence", "mit", *where, "--json")
    assert ended.code == 0, ended
    document = json.loads(ended.out)
    assert (document["stage"], document["layer"], document["num_layers"]) == (TRAINED.id, 2, NUM_LAYERS)
    assert document["pushed"] is None
    names = {path.name for path in Path("out").iterdir()}
    wanted = {"README.md", "xstilts.json", "config.json", "model.safetensors", "modules.json", "1_Pooling"}
    assert wanted | {"tokenizer.json", "config_sentence_transformers.json", "sentence_bert_config.json"} <= names
    card = ModelCard.load("out/README.md")
    data = card.data.to_dict()
    assert data["license"] == "mit"
    assert data["library_name"] == "sentence-transformers"
    assert data["language"] == ["de", "fr", "sw"]
    assert data["datasets"] == ["nyu-mll/glue"]  # a slice is of its whole
    assert "base_model" not in data  # a folder of one's own is no name on the hub
    text = Path("out/README.md").read_text()
    for part in (
        "hidden state 2 of 4, after which the encoder ends",
        f"trained on mnli@sample: 2000 examples, AdamW, rate 1e-05, warm-up 10%, linear decay, {'weight decay 0.01'}",
        f"`{TRAINED.id}`",
        "cuda-bfloat16-varlen",
        "torch 2.13.0",
        find("mnli@sample").licence,
        "| layer 2, mean, en->xx, scaled: **not the published protocol** | 3 of 36 | – |",
    ):
        assert part in text, part
    values = [value_of(measure(TRAINED, code), 2, "mean", "en->xx") for code in LANGUAGES]
    assert f"| {100 * sum(values) / 3:.1f} (3) |" in text
    assert "/home/" not in text + Path("out/xstilts.json").read_text()
    assert str(store.root) not in text + Path("out/xstilts.json").read_text()
    stages = json.loads(Path("out/xstilts.json").read_text())["stages"]
    assert stages[TRAINED.id]["declaration"] == TRAINED.declaration()
    refused(call("export", "encoder", prefix, "out", *where), "out is not empty")


def test_the_best_model_is_the_best_on_held_out_bitext(store: Store, call: Call) -> None:
    plan = store.plan("scaling")
    chosen = set()
    for layer in range(-1, NUM_LAYERS):
        for pooling in ("mean", "cls"):
            at = layer % (NUM_LAYERS + 1)
            means = {
                model.id: sum(
                    value_of(measure(model, code, "ntrex", split="dev"), at, pooling, direction)
                    for code in LANGUAGES
                    for direction in ("en->xx", "xx->en")
                )
                for model in MODELS
            }
            wanted = max(means, key=lambda id: means[id])
            if wanted == ENCODER.id:
                with pytest.raises(ValueError, match="nothing is better than the encoder as it was published"):
                    best(store, plan, "ntrex", layer=layer, pooling=pooling)
                continue
            found = best(store, plan, "ntrex", layer=layer, pooling=pooling)
            assert found.model == wanted
            assert f"{100 * means[wanted] / 6:.1f} % accuracy on ntrex/dev" in found.words
            assert "the best of 7 models" in found.words
            chosen.add(wanted)
    assert len(chosen) > 2
    ended = call("export", "encoder", "out", "--best", "ntrex", "--layer", "2", "--store", str(store.root))
    found = best(store, plan, "ntrex", layer=2, pooling="mean")
    assert (ended.code, ended.out.splitlines()[0]) == (0, f"chosen: {found.words}")
    assert f"Chosen by held-out bitext and by no test set: {found.words}." in Path("out/README.md").read_text()


def test_a_test_set_never_chooses(store: Store) -> None:
    plan = store.plan("scaling")
    with pytest.raises(ValueError, match=r"never by a test set; the study measures ntrex, and not 'tatoeba'"):
        best(store, plan, "tatoeba", layer=2, pooling="mean")
    with pytest.raises(ValueError, match=r"did you mean 'ntrex'"):
        best(store, plan, "ntrx", layer=2, pooling="mean")
    with pytest.raises(ValueError, match=r"unknown metric of ntrex 'csls'"):
        best(store, plan, "ntrex", layer=2, pooling="mean", metric="csls")
    with pytest.raises(ValueError, match=r"no model has every language of ntrex/dev by accuracy at mean-no-special"):
        best(store, plan, "ntrex", layer=2, pooling="mean-no-special")


def test_what_was_measured_in_two_ways_or_in_part_does_not_choose(tmp_path: Path) -> None:
    one, two, three = MODELS[1:4]

    def path(stage: Any) -> str:
        return "cuda" if isinstance(stage, Evaluate) and stage.model == one else "cpu"

    mixed = fill(tmp_path / "mixed", HELD_OUT, path=path)
    with pytest.raises(ValueError, match="ntrex was measured in 2 ways"):
        best(mixed, mixed.plan("scaling"), "ntrex", layer=2, pooling="mean")
    lacking = measure(two, "fr", "ntrex", split="dev")
    leaves = [measure(model, code, "ntrex", split="dev") for model in (two, three) for code in LANGUAGES]
    part = fill(tmp_path / "part", leaves, score=lambda stage: stage != lacking)
    found = best(part, part.plan("scaling"), "ntrex", layer=2, pooling="mean")
    assert found.model == three.id
    assert "the best of 1 models; 1 more lack a language or direction" in found.words


def test_stages_are_named_by_a_unique_beginning_and_must_be_models(store: Store, call: Call) -> None:
    where = ("--store", str(store.root))
    leaf = measure(TRAINED, "de").id
    refused(
        call("export", "encoder", "train-", "out", *where), "6 models have ids that begin with 'train-'", TRAINED.id
    )
    refused(call("export", "encoder", leaf, "out", *where), "'evaluate', no encoder", f"of the model {TRAINED.id}")
    refused(call("export", "encoder", "train-x", "out", *where), "no trained or merged model 'train-x'")
    refused(call("export", "encoder", TRAINED.id, *where), "expected STAGE and DIR, or DIR alone with --best BITEXT")
    refused(call("export", "encoder", "out", "--metric", "csls", *where), "expected STAGE and DIR")
    refused(call("export", "encoder", TRAINED.id, "out", "--licence", "A B", *where), "licence 'A B'")
    refused(call("export", "encoder", TRAINED.id, "out", "--push", "name", *where), "--push name: expected OWNER/NAME")
    refused(call("export", "encoder", TRAINED.id, "out", "--layer", "9", *where), "expected a hidden state 0 to 4")
    assert list(Path().iterdir()) == []


def test_prefix_and_length_are_those_of_the_measurements(plain: Path, call: Call, tmp_path: Path) -> None:
    model = train("mnli@sample")
    views = dataclasses.replace(measure(model, "de").views, prefix=PREFIX)
    leaves = [
        dataclasses.replace(measure(model, "de"), views=views, max_tokens=48),
        measure(model, "fr", max_tokens=48),
    ]
    publish(Store.open(tmp_path / "one"), model, plain)
    publish(Store.open(tmp_path / "two"), model, plain)
    fill(tmp_path / "one", leaves[:1])
    fill(tmp_path / "two", leaves)
    ended = call("export", "encoder", model.id, "out", "--store", str(tmp_path / "one"))
    assert ended.code == 0, ended
    prompts = json.loads(Path("out/config_sentence_transformers.json").read_text())
    assert prompts["prompts"] == {"query": PREFIX, "document": PREFIX}
    assert prompts["default_prompt_name"] == "query"
    assert json.loads(Path("out/sentence_bert_config.json").read_text())["max_seq_length"] == 48
    two = ("--store", str(tmp_path / "two"))
    refused(call("export", "encoder", model.id, "other", *two), "prefixes '', 'query: ': expected --prefix")
    assert call("export", "encoder", model.id, "other", "--prefix", "", *two).code == 0
    assert json.loads(Path("other/config_sentence_transformers.json").read_text())["prompts"] == {}


def test_weights_that_are_damaged_or_gone_are_not_exported(plain: Path, call: Call, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    publish(store, TRAINED, plain)
    fill(tmp_path / "store", [measure(TRAINED, "de")])
    where = ("--store", str(store.root))
    file = store.weights(TRAINED.id) / "encoder" / "config.json"
    content = file.read_bytes()
    file.write_bytes(content + b" ")
    refused(call("export", "encoder", TRAINED.id, "out", *where), "the checksum differs")
    file.write_bytes(content)
    store.drop(TRAINED.id, "to make room")
    again = f"xstilts run scaling k=0,1,2 --remake {TRAINED.id} --store {store.root}"
    refused(
        call("export", "encoder", TRAINED.id, "out", *where), "were dropped; make them again, under the same id", again
    )
    assert list(Path().iterdir()) == []


# ------------------------------------------------------------ uploading

SECRET = "hf_aVerySecretToken"


class FakeHub:
    """The hub's client, which notes what it is asked for; or fails as one that repeats its token would."""

    asked: list[tuple[str, Any]]
    fails = False

    def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> None:
        assert private
        assert exist_ok
        self.asked.append(("create", name))

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> str:
        if self.fails:
            raise RuntimeError(f"401 for the token {SECRET}")
        self.asked.append(("upload", (repo_id, sorted(path.name for path in folder_path.iterdir()))))
        return f"https://hub.example/{repo_id}"


def test_only_push_uploads_and_the_token_stays_secret(
    store: Store, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeHub, "asked", [], raising=False)
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeHub)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: SECRET)
    words = ("export", "encoder", TRAINED.id)
    where = ("--store", str(store.root))
    assert call(*words, "one", *where).code == 0
    assert FakeHub.asked == []
    ended = call(*words, "two", "--push", "someone/model", *where)
    assert ended.code == 0, ended
    assert "uploaded to https://hub.example/someone/model" in ended.out
    files = sorted(path.name for path in Path("two").iterdir())
    assert FakeHub.asked == [("create", "someone/model"), ("upload", ("someone/model", files))]
    assert Path("two/README.md").read_text().count("someone/model") > 1
    monkeypatch.setattr(FakeHub, "fails", True)
    failed = call(*words, "three", "--push", "someone/model", *where)
    assert failed.code == 1
    assert (
        "three is written, but cannot be uploaded to someone/model: RuntimeError: 401 for the token ***" in failed.err
    )
    for text in (ended.out, ended.err, failed.out, failed.err):
        assert SECRET not in text
    for path in Path().rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes()


def test_a_card_says_what_is_missing_and_from_what_it_was_merged(plain: Path, call: Call, tmp_path: Path) -> None:
    models = (train("mini-nli"), train("mini-paraphrase"))
    merged = Merge(models, "ties")
    store = Store.open(tmp_path / "store")
    publish(store, merged, plain)
    fill(tmp_path / "store", [measure(model, "de", "mini-bitext") for model in (*models, merged)])
    assert call("export", "encoder", merged.id, "out", "--store", str(store.root)).code == 0
    text = Path("out/README.md").read_text()
    assert "**Miniature.**" in text
    assert f"merged (ties, density 0.2, scale 1) of {', '.join(f'`{model.id}`' for model in merged.models)}" in text
    data = ModelCard.load("out/README.md").data.to_dict()
    assert (data["license"], data["license_name"]) == ("other", "not-stated")
    alone = Store.open(tmp_path / "alone")
    publish(alone, train("mnli"), plain)
    other = tmp_path / "elsewhere"
    assert call("export", "encoder", train("mnli").id, str(other), "--store", str(alone.root)).code == 0
    assert "No measurement of it is stored." in (other / "README.md").read_text()
    assert ModelCard.load(other / "README.md").data.to_dict()["datasets"] == ["nyu-mll/glue"]
