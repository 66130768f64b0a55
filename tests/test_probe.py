"""Probes: what is kept against transformers' own states and finite differences, and what a plan refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor
from transformers import AutoModel

from small import CPU, TINY, encoded, resolved, shaken, small_folders
from xstilts import tasks
from xstilts.engine import Context, Interrupted, encoder_folder, moments, perform
from xstilts.engine.encoder import layers_of
from xstilts.engine.kinds import KINDS
from xstilts.engine.model import Model
from xstilts.engine.packing import collate
from xstilts.engine.probe import drawn, squared_gradients
from xstilts.metrics.transferability import MOMENTS
from xstilts.mixture import Budget, Mixture
from xstilts.probes import Probe
from xstilts.recipe import STILTS
from xstilts.stage import Encoder, Evaluate, Stage, Train, Views, label, root
from xstilts.study import Plan, Sources, make_plan
from xstilts.tasks import Files, Splits, examples, find, register

NAMES = {"classify": "mini-nli", "choose": "mini-choice", "tag": "mini-tags", "span": "mini-qa"}
TRAINED = Train(TINY, Mixture(("mini-nli",)), Budget(32))


@pytest.fixture(scope="module")
def model(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    made = shaken(small_folders(cache_dir, tmp_path_factory.mktemp("folders"))["pieces"])
    made.add_heads(tuple(NAMES.values()), STILTS, 0)
    return made.eval()


def planned(stage: Stage, cache_dir: Path) -> Any:
    plan = make_plan("own", [stage], Sources(None, cache_dir))
    return plan.stages[plan.leaves[0]]


def kept(stage: Probe, cache_dir: Path, out: Path, **context: Any) -> tuple[Any, Any, dict[str, Any]]:
    """The tables that a probe writes, and its result."""
    out.mkdir()
    own = Context(inputs={}, work=out, data_dir=None, cache_dir=cache_dir, **context)
    done = perform(planned(stage, cache_dir), out, own)
    features = out / "features.parquet"
    return pq.read_table(out / "embedding.parquet"), features.is_file() and pq.read_table(features), done["result"]


def matrix(column: Any) -> np.ndarray:
    return np.array(column.to_pylist())


# ------------------------------------------------------------ vectors


def states(folder: Path, texts: list[tuple[str, ...]], tokenizer: Any) -> list[Tensor]:
    """The last hidden state [t, H] of every text alone, by transformers itself."""
    plain = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    with torch.no_grad():
        return [plain(**tokenizer(*text, return_tensors="pt")).last_hidden_state[0] for text in texts]


def test_labelled_vectors_are_means_of_transformers_states(model: Model, cache_dir: Path, tmp_path: Path) -> None:
    stage = Probe(TINY, "mini-nli", "dev", num_examples=7)
    embedding, features, result = kept(stage, cache_dir, tmp_path / "out")
    own = Context(inputs={}, work=tmp_path, data_dir=None, cache_dir=cache_dir)
    chosen = [examples(find("mini-nli"), "dev", "en")[at] for at in features["example"].to_pylist()]
    found = states(
        encoder_folder(resolved(cache_dir), own),
        [(one.first, one.second) for one in chosen],
        model.tokenizer,
    )
    expected = torch.stack([hidden.mean(0) for hidden in found]).numpy()
    np.testing.assert_allclose(matrix(features["vector"]), expected, atol=1e-5)
    assert features["label"].to_pylist() == [one.label for one in chosen]
    assert embedding["what"].to_pylist() == ["text"]
    np.testing.assert_allclose(matrix(embedding["vector"])[0], expected.mean(0), atol=1e-5)
    assert (result["num_examples"], result["num_vectors"], result["layer"]) == (7, 7, TINY.tiny.num_layers)  # type: ignore[union-attr]
    assert result["num_tokens"] == sum(map(len, found))


def test_a_choice_and_a_word_have_a_vector_each(model: Model, cache_dir: Path, tmp_path: Path) -> None:
    own = Context(inputs={}, work=tmp_path, data_dir=None, cache_dir=cache_dir)
    folder = encoder_folder(resolved(cache_dir), own)
    _, features, _ = kept(Probe(TINY, "mini-choice", "dev", num_examples=12), cache_dir, tmp_path / "choice")
    rows = examples(find("mini-choice"), "dev", "en")
    numbers = features["example"].to_pylist()
    every = {at: [(rows[at].prompt, choice) for choice in rows[at].choices] for at in dict.fromkeys(numbers)}
    vectors = {text: hidden.mean(0).numpy() for at in every for text, hidden in
               zip(every[at], states(folder, every[at], model.tokenizer), strict=True)}  # fmt: skip
    assert len(numbers) == 12, "at most as many vectors as examples"
    assert set(features["label"].to_pylist()) == {"right", "wrong"}
    for at, name, vector in zip(numbers, features["label"].to_pylist(), matrix(features["vector"]), strict=True):
        near = min(vectors, key=lambda text: float(np.abs(vectors[text] - vector).max()))
        np.testing.assert_allclose(vector, vectors[near], atol=1e-5)
        assert (name == "right") == (every[at].index(near) == rows[at].label)

    _, features, _ = kept(Probe(TINY, "mini-tags", "dev", num_examples=30), cache_dir, tmp_path / "tags")
    numbers = features["example"].to_pylist()
    assert len(numbers) == 30
    assert len(set(numbers)) < 30, "words of one sentence"
    rows = examples(find("mini-tags"), "dev", "en")
    for at, tag in zip(numbers, features["label"].to_pylist(), strict=True):
        assert tag in rows[at].tags


def test_text_without_labels_has_a_mean_vector_alone(cache_dir: Path, tmp_path: Path) -> None:
    embedding, features, result = kept(Probe(TINY, "mini-bitext", "dev", "de", 5), cache_dir, tmp_path / "out")
    assert embedding.num_rows == 1
    assert not features
    assert result["num_vectors"] == 0


def test_layers_are_counted_from_both_ends(cache_dir: Path, tmp_path: Path) -> None:
    stages = [Probe(TINY, "mini-nli", "dev", num_examples=3, layer=layer) for layer in (0, -3, -1)]
    layers = [matrix(kept(one, cache_dir, tmp_path / str(one.layer))[0]["vector"]) for one in stages]
    np.testing.assert_array_equal(layers[0], layers[1])
    assert not np.allclose(layers[0], layers[2])
    with pytest.raises(ValueError, match=r"probe.layer is 3: expected a hidden state, 0 to 2"):
        kept(Probe(TINY, "mini-nli", "dev", layer=3), cache_dir, tmp_path / "none")


def test_the_same_rows_are_drawn_for_every_model_and_any_number_of_them() -> None:
    assert drawn(10, 99, "a").tolist() == list(range(10))
    assert set(drawn(1000, 5, "a")) < set(drawn(1000, 50, "a"))
    assert drawn(1000, 5, "a").tolist() != drawn(1000, 5, "b").tolist()


def test_a_stopped_probe_writes_nothing(cache_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        kept(Probe(TINY, "mini-nli", "dev", num_examples=3), cache_dir, tmp_path / "out", stop=lambda: True)
    assert not list((tmp_path / "out").iterdir())


# ------------------------------------------------------------ gradients


def alone(model: Model, kind: str, data: Any, row: int, deltas: list[Tensor]) -> Tensor:
    """The summed loss of one example with ``deltas`` [t, H] added to the layers' outputs."""
    _, layers = layers_of(model.encoder)
    hooks = []
    for layer, delta in zip(layers, deltas, strict=True):

        def add(module: Any, given: Any, found: Any, delta: Tensor = delta) -> Any:
            return (found[0] + delta, *found[1:]) if isinstance(found, tuple) else found + delta

        hooks.append(layer.register_forward_hook(add))
    batch = collate(data, [row], CPU)
    try:
        loss = KINDS[kind].loss(model.encoder, model.head(NAMES[kind]), batch, torch.Generator())
        return loss * KINDS[kind].num_terms(batch)
    finally:
        for hook in hooks:
            hook.remove()


def batches(data: Any, *groups: list[int]) -> Any:
    return ((np.array(rows), collate(data, rows, CPU)) for rows in groups)


@pytest.mark.parametrize("kind", NAMES)
def test_squared_gradients_are_those_of_each_example_alone(model: Model, kind: str) -> None:
    task = find(NAMES[kind])
    data = encoded(task.kind, examples(task, "dev", "en")[:4], model.tokenizer, 64)
    found = squared_gradients(model, model.head(task.name), kind, batches(data, [0, 1, 2], [3]))
    expected, num_tokens = torch.zeros(found.shape, dtype=torch.float64), 0
    for row in range(4):
        size = int(data.num_tokens[row])
        deltas = [torch.zeros(size, model.encoder.hidden_size, requires_grad=True) for _ in range(len(found))]
        gradients = torch.autograd.grad(alone(model, kind, data, row, deltas), deltas)
        expected += torch.stack([gradient.double().square().sum(0) for gradient in gradients])
        num_tokens += size
    assert expected[0].min() > 0
    np.testing.assert_allclose(found, expected / num_tokens, rtol=1e-3, atol=1e-9)


def test_squared_gradients_are_finite_differences(model: Model) -> None:
    task = find("mini-nli")
    data = encoded(task.kind, examples(task, "dev", "en")[:1], model.tokenizer, 64)
    found = squared_gradients(model, model.head(task.name), "classify", batches(data, [0]))
    size, step = int(data.num_tokens[0]), 0.05
    for layer, dimension in ((0, 3), (1, 5)):
        total = 0.0
        for token in range(size):
            losses = []
            for sign in (1, -1):
                deltas = [torch.zeros(size, model.encoder.hidden_size) for _ in range(len(found))]
                deltas[layer][token, dimension] = sign * step
                with torch.no_grad():
                    losses.append(float(alone(model, "classify", data, 0, deltas)))
            total += ((losses[0] - losses[1]) / (2 * step)) ** 2
        assert found[layer, dimension] == pytest.approx(total / size, rel=0.02)


def test_padding_has_no_part_in_squared_gradients(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    task = find("mini-nli")
    data = encoded(task.kind, examples(task, "dev", "en")[:6], model.tokenizer, 64)
    packed = squared_gradients(model, model.head(task.name), "classify", batches(data, list(range(6))))
    own = model.encoder.model.config._attn_implementation
    model.encoder.model.set_attn_implementation("sdpa")
    monkeypatch.setattr(model.encoder, "padded", True)
    try:
        padded = squared_gradients(model, model.head(task.name), "classify", batches(data, list(range(6))))
    finally:
        model.encoder.model.set_attn_implementation(own)
    np.testing.assert_allclose(padded, packed, rtol=1e-3, atol=1e-9)


def test_layers_that_share_weights_are_refused(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xstilts.engine.probe.layers_of", lambda encoder: ("", []))
    with pytest.raises(ValueError, match="no layers with weights of their own"):
        squared_gradients(model, None, "classify", iter(()))


@pytest.mark.usefixtures("small_miniature")
def test_a_trained_model_keeps_gradients_of_every_layer(cache_dir: Path, tmp_path: Path) -> None:
    plan = make_plan("own", [Probe(TRAINED, "mini-nli", num_examples=8, gradients=True)], Sources(None, cache_dir))
    inputs: dict[str, Path] = {}
    for id, stage in plan.stages.items():
        out = tmp_path / id
        out.mkdir()
        perform(stage, out, Context(inputs=inputs, work=tmp_path / f"{id}-w", data_dir=None, cache_dir=cache_dir))
        inputs[id] = out / "weights"
    embedding = pq.read_table(tmp_path / plan.leaves[0] / "embedding.parquet")
    assert embedding["what"].to_pylist() == ["text", "gradients", "gradients"]
    assert embedding["layer"].to_pylist() == [2, 1, 2]
    assert matrix(embedding["vector"])[1:].min() >= 0
    assert matrix(embedding["vector"])[1:].max() > 0
    (trained,) = tmp_path.glob(f"train-*/{MOMENTS}")
    assert matrix(pq.read_table(trained)["vector"]).shape == matrix(embedding["vector"])[1:].shape


def test_a_training_leaves_the_squared_gradients_of_its_layers(model: Model, tmp_path: Path) -> None:
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.0)
    draw = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=draw)
    optimiser.step()
    moments.write(model, optimiser, tmp_path)
    table = pq.read_table(tmp_path / MOMENTS)
    assert table["layer"].to_pylist() == [1, 2]
    size = model.encoder.hidden_size
    for number, found in enumerate(matrix(table["vector"])):
        named = model.encoder.model.encoder.layer[number].named_parameters()
        own = {name: parameter.grad for name, parameter in named if parameter.shape == (size,)}
        assert {"attention.output.LayerNorm.weight", "output.dense.bias"} < set(own)
        expected = sum(0.001 * gradient.square() for gradient in own.values() if gradient is not None)
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    for parameter in model.parameters():
        parameter.grad = None


def test_a_training_that_leaves_a_layer_alone_keeps_no_gradients(model: Model, tmp_path: Path) -> None:
    moments.write(model, torch.optim.AdamW(model.head("mini-nli").parameters()), tmp_path)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------ the declaration


def refusal(cache_dir: Path, *stages: Stage) -> str:
    with pytest.raises(ValueError, match="mini-") as refused:
        make_plan("own", stages, Sources(None, cache_dir))
    return str(refused.value)


def test_a_plan_refuses_probes_of_what_is_scored_and_gradients_without_a_head(cache_dir: Path) -> None:
    assert "a probe of mini-xnli/test: what is scored chooses nothing" in refusal(
        cache_dir, Probe(TINY, "mini-xnli", "test", "de")
    )
    assert "needs a model trained on mini-nli" in refusal(cache_dir, Probe(TINY, "mini-nli", gradients=True))
    text = Train(TINY, Mixture(("mini-text",)), Budget(10))
    assert "takes tasks of kind classify, choose, tag, span: mini-text is mlm" in refusal(
        cache_dir, Probe(text, "mini-text", gradients=True)
    )
    assert "mini-nlo" in refusal(cache_dir, Probe(TINY, "mini-nlo"))


def test_a_probe_of_the_very_rows_that_are_scored_is_a_leak(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_known", dict(tasks._known))
    whole = find("ntrex")
    (tmp_path / "a.txt").write_text("eins\nzwei\n")
    (tmp_path / "b.txt").write_text("one\ntwo\n")
    source = Files(("a.txt", "b.txt"), whole.sources[0].reader, ("first", "second"))  # type: ignore[union-attr]
    both: dict[str, Any] = {"languages": ("de",), "rows": {}, "source": source}
    register(replace(whole, name="chosen", splits=Splits(dev="x"), **both))
    register(replace(whole, name="scored", splits=Splits(test="x"), **both))
    sources = Sources(tmp_path, cache_dir)
    probe, measured = Probe(TINY, "chosen", "dev", "de"), Evaluate(TINY, "scored", "de", views=Views())
    with pytest.raises(ValueError, match="leak: a probe of chosen/dev reads the very rows of scored/test in 'de'"):
        make_plan("own", [probe, measured], sources)
    assert isinstance(make_plan("own", [probe], sources), Plan)


def test_a_probe_says_what_it_is(cache_dir: Path) -> None:
    stage = planned(Probe(TRAINED, "mini-nli", gradients=True), cache_dir)
    assert label(stage) == f"vectors and gradients of mini-nli/train en: {label(stage.model)}"
    assert root(stage) == stage.model.start
    assert isinstance(root(stage), Encoder)
    assert stage.inputs == (stage.model,)
    assert [data.split for data in stage.data] == ["train"]
    for field in ("task", "split", "language", "layer", "num_examples", "pooling", "gradients"):
        changed = {"layer": 0, "num_examples": 5, "pooling": "cls", "gradients": False}.get(field, "other")
        assert replace(stage, **{field: changed}).id != stage.id
    for wrong in ({"pooling": "max"}, {"num_examples": 0}, {"precision": "float16"}):
        with pytest.raises(ValueError, match="expected"):
            Probe(TINY, "mini-nli", **wrong)  # type: ignore[arg-type]


def test_tasks_are_of_the_kinds_that_they_stand_for() -> None:
    assert {kind: find(name).kind.name for kind, name in NAMES.items()} == {kind: kind for kind in NAMES}
