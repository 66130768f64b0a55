"""Encoders: packed rows against transformers' forward per architecture; folders, tokenizers, hub cache."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig, BertModel

from xstilts.engine import encoder as encoders
from xstilts.engine.attention import PACKED, Packing, packed, packed_attention, reference_attention
from xstilts.engine.encoder import Encoder, load
from xstilts.engine.folders import build_tiny, load_tokenizer, tokenizer_fingerprint

SIZES: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 66,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "initializer_range": 0.2,  # large weights, so that a leak or a wrong position is seen
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "bert": {},
    "xlm-roberta": {"type_vocab_size": 1},
    "distilbert": {"hidden_dim": 48},
    # layer 0 sees all, layers 1 and 2 see |i - j| <= 4; the longest sequence below has 23 tokens
    "modernbert": {
        "local_attention": 8,
        "cls_token_id": 0,
        "sep_token_id": 2,
        "initializer_cutoff_factor": 3.0,
    },
    "eurobert": {"num_key_value_heads": 2},
    "deberta-v2": {
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 8,
        "position_biased_input": False,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "type_vocab_size": 0,
    },
}
LENGTHS = [7, 7, 2, 23, 1, 7, 12, 23]  # runs of one and of two, unsorted; sequences 0 and 5 are equal below
TEXTS = [
    "the cat sat on the mat",
    "le chat est assis",
    "кошка сидит на ковре",
    "die Katze sitzt",
    "猫が座っている",
]


def make_folder(architecture: str, folder: Path) -> Path:
    fields = {**SIZES, **ARCHITECTURES[architecture]}
    if architecture == "distilbert":
        del fields["intermediate_size"]
    config = AutoConfig.for_model(architecture, **fields)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModel.from_config(config)
        with torch.no_grad():  # biases and norms start as 0 and 1, where mistakes with them do not show
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("encoders")
    return {name: make_folder(name, root / name) for name in ARCHITECTURES}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "encoder"
    build_tiny(folder, TEXTS, vocab_size=120, hidden_size=16, num_heads=2, intermediate_size=16, max_positions=32)
    return folder


def batch() -> tuple[torch.Tensor, list[int]]:
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, SIZES["vocab_size"], (sum(LENGTHS),), generator=generator)
    ids[51 - 12 + 1 : 51 - 12 + 8] = ids[:7]  # sequence 5 is sequence 0
    return ids, LENGTHS


def parts(row: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return row.split(LENGTHS)


def padded_forward(model: torch.nn.Module, ids: torch.Tensor, types: torch.Tensor | None) -> list[torch.Tensor]:
    """All hidden states `[T, H]` of transformers' own right-padded forward."""
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    grid = torch.full(mask.shape, 1)
    grid[mask] = ids
    inputs = {"input_ids": grid, "attention_mask": mask.long()}
    if types is not None:
        inputs["token_type_ids"] = torch.zeros_like(grid)
        inputs["token_type_ids"][mask] = types
    return [hidden[mask] for hidden in model(**inputs, output_hidden_states=True).hidden_states]


def gradients(model: torch.nn.Module, states: Any) -> dict[str, torch.Tensor]:
    model.zero_grad()
    weight = torch.randn(states[0].shape, generator=torch.Generator().manual_seed(5))
    sum((state * weight).sum() for state in states[1:]).div(100).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packed_equals_transformers_padded_and_alone(architecture: str, folders: dict[str, Path]) -> None:
    encoder = load(folders[architecture], attention_dropout=None, hidden_dropout=None)
    plain = AutoModel.from_pretrained(folders[architecture], attn_implementation="eager").eval()
    assert encoder.padded == (architecture == "deberta-v2")
    ids, lengths = batch()
    types = torch.arange(len(ids)) % 2 if architecture == "bert" else None

    ours = encoder(ids, lengths, types, all_layers=True)
    theirs = padded_forward(plain, ids, types)
    assert len(ours) == len(theirs) == encoder.num_layers + 1
    for mine, its in zip(ours, theirs, strict=True):
        assert mine.shape == (len(ids), encoder.hidden_size)
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(encoder(ids, lengths, types), ours[-1], rtol=0, atol=0)

    alone = [
        encoder(part, [len(part)], kind, all_layers=True)
        for part, kind in zip(parts(ids), parts(types) if types is not None else [None] * len(LENGTHS), strict=True)
    ]
    for layer, mine in enumerate(ours):
        torch.testing.assert_close(mine, torch.cat([a[layer] for a in alone]), rtol=1e-5, atol=1e-5)

    my_gradients, its_gradients = gradients(encoder.model, ours), gradients(plain, theirs)
    its_gradients = {name: g for name, g in its_gradients.items() if not name.startswith("pooler.")}
    assert my_gradients.keys() == its_gradients.keys()
    assert sum(bool(g.any()) for g in my_gradients.values()) >= 20
    for name, gradient in my_gradients.items():
        scale = max(1.0, float(its_gradients[name].abs().max()))
        torch.testing.assert_close(gradient / scale, its_gradients[name] / scale, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sequences_do_not_see_their_neighbours(architecture: str, folders: dict[str, Path]) -> None:
    encoder = load(folders[architecture], attention_dropout=None, hidden_dropout=None)
    ids, lengths = batch()
    changed = ids.clone()
    changed[-23:] = 5
    before, after = parts(encoder(ids, lengths)), parts(encoder(changed, lengths))
    torch.testing.assert_close(before[0], before[5], rtol=1e-5, atol=1e-5)
    for mine, its in zip(before[:-1], after[:-1], strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-5)
    assert (before[-1] - after[-1]).abs().max() > 0.1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_perturbed_is_what_transformers_makes_of_other_embeddings(architecture: str, folders: dict[str, Path]) -> None:
    encoder = load(folders[architecture], attention_dropout=None, hidden_dropout=None)
    own = AutoModel.from_pretrained(folders[architecture]).eval()
    words = own.get_input_embeddings()
    ids, lengths = batch()
    delta = torch.randn(len(ids), words.embedding_dim, generator=torch.Generator().manual_seed(0), requires_grad=True)
    plain = encoder(ids, lengths)
    with encoder.perturbed(delta):
        found = [encoder(ids, lengths) for _ in range(2)]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    torch.testing.assert_close(encoder(ids, lengths), plain, rtol=0, atol=0)
    given = (words(ids) + delta).split(lengths)
    expected = torch.cat([own(inputs_embeds=part[None]).last_hidden_state[0] for part in given])
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-4)
    assert (found[0] - plain).abs().max() > 0.1
    weights = torch.randn(found[0].shape, generator=torch.Generator().manual_seed(1))
    (mine,), (theirs,) = (torch.autograd.grad((f * weights).sum(), delta) for f in (found[0], expected))
    torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)


def test_the_sliding_window_bites(folders: dict[str, Path]) -> None:
    encoder = load(folders["modernbert"], attention_dropout=None, hidden_dropout=None)
    ids, lengths = batch()
    local = encoder(ids, lengths)
    for layer in encoder.model.layers:
        layer.attn.sliding_window = None
    everywhere = encoder(ids, lengths)
    differs = [bool((a - b).abs().max() > 1e-3) for a, b in zip(parts(local), parts(everywhere), strict=True)]
    assert differs == [length - 1 > 4 for length in LENGTHS]


@pytest.mark.parametrize("sliding_window", [None, 1, 4, 50])
@pytest.mark.parametrize("num_key_value_heads", [1, 2, 4])
@pytest.mark.parametrize("lengths", [[5, 5, 5], [1], [3, 9, 9, 1, 3]])
def test_attention_equals_its_definition(
    lengths: list[int], num_key_value_heads: int, sliding_window: int | None
) -> None:
    generator = torch.Generator().manual_seed(0)
    heads = (4, num_key_value_heads, num_key_value_heads)
    q, k, v = (torch.randn(1, n, sum(lengths), 8, generator=generator, dtype=torch.float64) for n in heads)
    with packed(lengths):
        context, _ = packed_attention(torch.nn.Module(), q, k, v, None, scaling=0.3, sliding_window=sliding_window)
    expected = reference_attention(q, k, v, lengths, scaling=0.3, sliding_window=sliding_window)
    torch.testing.assert_close(context, expected, rtol=1e-12, atol=1e-12)


def test_reference_attention_by_hand() -> None:
    q, k = torch.zeros(1, 1, 3, 2), torch.randn(1, 1, 3, 2)
    v = torch.tensor([[1.0, 2.0], [3.0, 6.0], [7.0, 7.0]])[None, None]
    context = reference_attention(q, k, v, [2, 1])
    assert context[0, :, 0].tolist() == [[2, 4], [2, 4], [7, 7]]


def test_attention_dropout_drops_weights_and_keeps_their_mean() -> None:
    q = k = torch.zeros(1, 1, 6, 4)
    v = torch.ones(1, 1, 6, 4)
    with packed([3, 3]), torch.random.fork_rng():
        torch.manual_seed(0)
        draws = torch.cat([packed_attention(torch.nn.Module(), q, k, v, None, dropout=0.5)[0] for _ in range(300)])
    values = draws[..., 0].flatten()
    assert {round(x, 4) for x in values.tolist()} == {
        0.0,
        0.6667,
        1.3333,
        2.0,
    }  # 0..3 of 3 weights kept, doubled
    assert abs(values.mean() - 1) < 0.05


def test_equal_neighbours_are_one_run() -> None:
    runs = Packing.of([4, 4, 4, 2, 4]).runs
    assert [(r.start, r.num_sequences, r.length) for r in runs] == [(0, 3, 4), (12, 1, 2), (14, 1, 4)]


def test_packed_attention_refuses_what_it_would_get_wrong(folders: dict[str, Path]) -> None:
    encoder = load(folders["bert"], attention_dropout=None, hidden_dropout=None)
    grid = torch.full((2, 3), 5)
    with pytest.raises(RuntimeError, match="inside `with packed"):
        encoder.model(grid)
    with packed([3]), pytest.raises(NotImplementedError, match="padded batch"):
        encoder.model(grid[:1], attention_mask=torch.tensor([[1, 1, 0]]))
    with packed([3, 3]), pytest.raises(RuntimeError, match="one row of 6 tokens"):
        encoder.model(grid)
    q = torch.zeros(1, 1, 3, 2)
    with packed([3]), pytest.raises(NotImplementedError, match="position_bias"):
        packed_attention(encoder, q, q, q, None, position_bias=q)
    with pytest.raises(ValueError, match="at least one token"), packed([3, 0]):
        pass


def test_lengths_must_fit(folders: dict[str, Path]) -> None:
    encoder = load(folders["xlm-roberta"], attention_dropout=None, hidden_dropout=None)
    assert encoder.max_positions == 64
    encoder(torch.full((64,), 5), [64])
    with pytest.raises(ValueError, match="65 tokens, the encoder takes at most 64"):
        encoder(torch.full((65,), 5), [65])
    for lengths in ([3, 3], [5, 0], []):
        with pytest.raises(ValueError, match="do not fit"):
            encoder(torch.full((5,), 5), lengths)


@pytest.mark.parametrize("architecture", ["xlm-roberta", "deberta-v2"])
def test_bf16_autocast(architecture: str, folders: dict[str, Path]) -> None:
    encoder = load(folders[architecture], attention_dropout=None, hidden_dropout=None)
    ids, lengths = batch()
    exact = encoder(ids, lengths)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = encoder(ids, lengths)
    rounded.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in encoder.parameters() if p.grad is not None)
    error = (rounded.float() - exact).norm() / exact.norm()
    assert 1e-4 < error < 0.05


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_dropout_overrides_reach_every_layer(architecture: str, folders: dict[str, Path], tmp_path: Path) -> None:
    has_hidden = architecture != "eurobert"
    before = json.loads((folders[architecture] / "config.json").read_text())
    encoder = load(folders[architecture], attention_dropout=0.25, hidden_dropout=0.375 if has_hidden else None)
    dropouts = {m.p for m in encoder.modules() if isinstance(m, torch.nn.Dropout)}
    attributes = {
        getattr(m, name)
        for m in encoder.modules()
        for name in ("attention_dropout", "dropout_prob")
        if isinstance(getattr(m, name, None), float)
    }
    assert dropouts | attributes == ({0.25, 0.375} if has_hidden else {0.25})

    ids, lengths = batch()
    evaluated = encoder(ids, lengths)
    torch.testing.assert_close(encoder(ids, lengths), evaluated, rtol=0, atol=0)
    encoder.train()
    assert (encoder(ids, lengths) - evaluated).abs().max() > 0.1
    none = load(folders[architecture], attention_dropout=0.0, hidden_dropout=0.0).train()
    torch.testing.assert_close(none(ids, lengths), evaluated, rtol=1e-5, atol=1e-5)

    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "tokenizer.json").write_text("{}")
    overridden = encoder.model.config.to_dict()
    encoders.save(encoder, tokenizer, tmp_path / "saved")
    assert encoder.model.config.to_dict() == overridden
    after = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert {k: v for k, v in after.items() if "drop" in k} == {k: v for k, v in before.items() if "drop" in k}


def test_dropout_that_cannot_be_set(folders: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="eurobert has no hidden dropout"):
        load(folders["eurobert"], attention_dropout=None, hidden_dropout=0.1)
    with pytest.raises(ValueError, match=r"attention dropout must be in \[0, 1\)"):
        load(folders["bert"], attention_dropout=1.0, hidden_dropout=None)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_saved_folder_loads_without_us(architecture: str, folders: dict[str, Path], tiny: Path, tmp_path: Path) -> None:
    encoder = load(folders[architecture], attention_dropout=0.0, hidden_dropout=0.0)
    with torch.no_grad():
        next(encoder.parameters()).add_(1.0)
    encoders.save(encoder, tiny, tmp_path / "saved")
    text = (tmp_path / "saved" / "config.json").read_text()
    assert PACKED not in text
    assert "attn_implementation" not in text
    assert str(folders[architecture]) not in text
    assert (tmp_path / "saved" / "tokenizer.json").read_bytes() == (tiny / "tokenizer.json").read_bytes()

    plain = AutoModel.from_pretrained(tmp_path / "saved").eval()
    ids, lengths = batch()
    torch.testing.assert_close(padded_forward(plain, ids, None)[-1], encoder(ids, lengths), rtol=1e-5, atol=1e-5)
    ours = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert tokenizer_fingerprint(ours) == tokenizer_fingerprint(load_tokenizer(tiny))


def test_half_precision_checkpoints_load_as_float32(folders: dict[str, Path], tmp_path: Path) -> None:
    AutoModel.from_pretrained(folders["bert"]).bfloat16().save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    encoder = load(tmp_path, attention_dropout=None, hidden_dropout=None)
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}


def test_an_architecture_that_ignores_us_is_padded(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever claims to take an attention function and leaks between sequences must not be run packed."""
    forward = BertModel.forward

    def leaking(self: BertModel, input_ids: torch.Tensor, *args: Any, position_ids: Any = None, **kwargs: Any) -> Any:
        output = forward(self, input_ids, *args, position_ids=position_ids, **kwargs)
        output.last_hidden_state = output.last_hidden_state + 0.01 * output.last_hidden_state.roll(1, dims=1)
        return output

    monkeypatch.setattr(BertModel, "forward", leaking)
    monkeypatch.setattr(encoders, "_padded", {})  # it was tried before, without the leak
    encoder = load(folders["bert"], attention_dropout=None, hidden_dropout=None)
    assert encoder.padded
    assert encoder.model.config._attn_implementation != PACKED
    assert encoder(*batch()).isfinite().all()


def test_refused_folders(folders: dict[str, Path], tmp_path: Path) -> None:
    def refuse(match: str) -> None:
        with pytest.raises(ValueError, match=match):
            load(tmp_path, attention_dropout=None, hidden_dropout=None)

    refuse("no config.json")
    config = json.loads((folders["bert"] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    refuse("expected safetensors weights, found no weights")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    refuse(r"found pytorch_model\.bin; pickled weights are never loaded")
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "modern_bert", "auto_map": {}}))
    refuse("'modern_bert'; it asks for remote code.*never run; near names: modernbert")


def test_missing_weights_are_not_made_up(folders: dict[str, Path], tmp_path: Path) -> None:
    config = BertConfig.from_pretrained(folders["bert"])
    AutoModel.from_config(config).save_pretrained(tmp_path)
    config.num_hidden_layers += 1
    config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"the weights lack 16 tensors of BertModel: .*encoder\.layer\.3"):
        load(tmp_path, attention_dropout=None, hidden_dropout=None)


def digest_of(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def test_tiny_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    sizes = {"vocab_size": 60, "hidden_size": 16, "intermediate_size": 16}  # fewer than there are characters
    build_tiny(tmp_path / "a", iter(TEXTS), **sizes)
    call = f"build_tiny(Path({str(tmp_path / 'b')!r}), {TEXTS!r}, **{sizes!r})"
    code = f"from pathlib import Path; from xstilts.engine.folders import build_tiny; {call}"
    subprocess.run([sys.executable, "-c", code], check=True)
    build_tiny(tmp_path / "seed", TEXTS, **sizes, seed=1)
    build_tiny(tmp_path / "texts", TEXTS[:-1], **sizes)
    first, seed, texts = (
        digest_of(tmp_path / "a"),
        digest_of(tmp_path / "seed"),
        digest_of(tmp_path / "texts"),
    )
    assert digest_of(tmp_path / "b") == first
    assert {name for name in first if seed[name] != first[name]} == {"model.safetensors"}
    assert texts["tokenizer.json"] != first["tokenizer.json"]
    vocabulary = load_tokenizer(tmp_path / "a").get_vocab()
    assert len(vocabulary) <= 60
    assert sum(len(token) == 1 for token in vocabulary) == 30
    with pytest.raises(ValueError, match="is not empty"):
        build_tiny(tmp_path / "a", TEXTS, **sizes, seed=1)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tiny_of_every_architecture(architecture: str, tmp_path: Path) -> None:
    sizes = {
        "vocab_size": 100,
        "hidden_size": 16,
        "num_layers": 1,
        "intermediate_size": 24,
        "max_positions": 40,
    }
    build_tiny(tmp_path / "tiny", TEXTS, architecture=architecture, **sizes)
    tokenizer = load_tokenizer(tmp_path / "tiny")
    encoder = load(tmp_path / "tiny", attention_dropout=None, hidden_dropout=None)
    assert (encoder.hidden_size, encoder.num_layers, encoder.max_positions) == (16, 1, 40)
    assert encoder.vocab_size == len(tokenizer) <= 100
    assert encoder.padded == (architecture == "deberta-v2")
    ids = tokenizer("the cat", "le chat")["input_ids"]
    assert [ids[0], ids[-1], ids.count(2)] == [0, 2, 3]
    assert tokenizer.decode(ids, skip_special_tokens=True).split() == ["the", "cat", "le", "chat"]
    assert tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]) == [
        0,
        1,
        2,
        3,
        len(tokenizer) - 1,
    ]
    assert encoder(torch.tensor(ids), [len(ids)]).isfinite().all()


def test_tiny_of_an_unknown_architecture(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'xlm-robert'; near names: xlm-roberta"):
        build_tiny(tmp_path / "tiny", TEXTS, architecture="xlm-robert")


def test_fingerprint_sees_another_tokenizer_class(tiny: Path, tmp_path: Path) -> None:
    first = tokenizer_fingerprint(load_tokenizer(tiny))
    assert len(first) == 16
    assert int(first, 16)

    def changed(**values: Any) -> str:
        for file in ("config.json", "tokenizer.json"):
            (tmp_path / file).write_bytes((tiny / file).read_bytes())
        config = json.loads((tiny / "tokenizer_config.json").read_text())
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | values))
        return tokenizer_fingerprint(load_tokenizer(tmp_path))

    assert changed() == first
    assert changed(tokenizer_class="PreTrainedTokenizerFast") == first
    assert changed(tokenizer_class="BertTokenizer") != first
    assert changed(mask_token="<unk>") != first
    assert changed(model_input_names=["input_ids", "token_type_ids"]) != first


def test_tokenizer_folder_without_files(folders: dict[str, Path], tmp_path: Path) -> None:
    encoder = load(folders["bert"], attention_dropout=None, hidden_dropout=None)
    with pytest.raises(ValueError, match="no tokenizer files"):
        encoders.save(encoder, folders["bert"], tmp_path / "saved")


def test_encoder_is_a_plain_module(folders: dict[str, Path]) -> None:
    encoder = load(folders["bert"], attention_dropout=None, hidden_dropout=None)
    assert isinstance(encoder, Encoder)
    assert not encoder.training
    assert not any("pooler" in name for name, _ in encoder.named_parameters())


def trained_step(encoder: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor], int]:
    """A loss with dropout, its gradients, and the bytes that the forward pass saved for them."""
    ids, lengths = batch()
    saved: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor.nbytes)
        return tensor

    encoder.train()
    encoder.zero_grad()
    torch.manual_seed(11)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = encoder(ids, lengths).pow(2).mean()
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}, sum(saved)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_recomputed_activations_change_no_bit_and_save_less(architecture: str, folders: dict[str, Path]) -> None:
    hidden = None if architecture == "eurobert" else 0.1  # which has none
    plain = load(folders[architecture], attention_dropout=0.1, hidden_dropout=hidden)
    again = load(folders[architecture], attention_dropout=0.1, hidden_dropout=hidden)
    again.recompute_activations()
    loss, expected, saved = trained_step(plain)
    other, found, kept = trained_step(again)
    assert torch.equal(loss, other)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], gradient) for name, gradient in expected.items())
    assert kept < saved / 3, f"{kept} of {saved} bytes"
    torch.manual_seed(12)
    ids, lengths = batch()
    assert not torch.equal(loss, plain(ids, lengths).pow(2).mean()), "there is dropout"


def test_recomputed_layers_serve_more_than_one_backward_pass(folders: dict[str, Path]) -> None:
    encoder = load(folders["xlm-roberta"], attention_dropout=0.0, hidden_dropout=0.1).train()
    encoder.recompute_activations()
    ids, lengths = batch()
    loss = encoder(ids, lengths).pow(2).mean()
    weights = [p for p in encoder.parameters() if p.ndim > 1]
    first, second = (torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None)
    assert sum(a is not None for a in first) > 10


def test_an_architecture_without_marked_layers_cannot_be_recomputed(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load(folders["bert"], attention_dropout=0.0, hidden_dropout=None)
    monkeypatch.setattr(encoders, "GradientCheckpointingLayer", torch.nn.Bilinear)
    with pytest.raises(ValueError, match="no layer of bert to be computed again"):
        encoder.recompute_activations()
