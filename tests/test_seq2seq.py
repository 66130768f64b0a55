"""Translation models: batches by length give what one sentence at a time gives; languages; whole stages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import M2M100Config, M2M100ForConditionalGeneration, MarianConfig, MarianMTModel, NllbTokenizer

from xstilts.engine import Context, perform, seq2seq
from xstilts.engine.data import ROWS
from xstilts.engine.seq2seq import Translator, flores_code
from xstilts.hub import check_translator
from xstilts.stage import Translate
from xstilts.study import Sources, make_plan
from xstilts.tasks import LANGUAGES, find
from xstilts.tasks.translated import read_rows
from xstilts.translators import Seq2Seq

sentencepiece = pytest.importorskip("sentencepiece", reason="Marian and M2M-100 need the package sentencepiece")

TEXT = ["the cat sat on the mat and the dog ran", "where does she live now", "Anna bought a red hat in Rome"] * 20
SENTENCES = [
    "the cat sat",
    "where does she live",
    "Anna bought a red hat in Rome and the dog ran and the cat sat on the mat",
    "the",
    "dog ran",
    "a red mat in Rome",
    "where",
]
SIZES: dict[str, Any] = {
    **{"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32},
    **{"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 64, "init_std": 1.0},
}


def pieces(folder: Path, name: str) -> list[str]:
    """A trained sentencepiece model, written as ``name``; its pieces without the special ones."""
    trainer = sentencepiece.SentencePieceTrainer
    trainer.train(  # its words are the pieces' only source
        sentence_iterator=iter(TEXT),
        model_prefix=str(folder / "made"),
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "made.model").rename(folder / name)
    (folder / "made.vocab").unlink()
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / name))
    return [processor.id_to_piece(i) for i in range(processor.get_piece_size()) if not processor.is_control(i)][1:]


def marian(folder: Path) -> Path:
    pieces(folder, "target.spm")
    vocabulary = ["</s>", "<unk>", *pieces(folder, "source.spm"), ">>fra<<", "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(vocabulary)}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "MarianTokenizer"}))
    last = len(vocabulary) - 1
    special = {"pad_token_id": last, "decoder_start_token_id": last, "eos_token_id": 0, "forced_eos_token_id": 0}
    torch.manual_seed(0)
    MarianMTModel(MarianConfig(vocab_size=len(vocabulary), **special, **SIZES)).save_pretrained(folder)
    return folder


def m2m(folder: Path) -> Path:
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *pieces(folder, "sentencepiece.bpe.model")]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(vocabulary)}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "M2M100Tokenizer"}))
    torch.manual_seed(0)
    config = M2M100Config(vocab_size=len(vocabulary) + 110, **SIZES)
    M2M100ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def nllb(folder: Path) -> Path:
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    backend.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=90, special_tokens=special, show_progress=False))
    model = json.loads(backend.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    tokenizer = NllbTokenizer(vocab=model["vocab"], merges=merges, extra_special_tokens=["eng_Latn", "spa_Latn"])
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    M2M100ForConditionalGeneration(M2M100Config(vocab_size=len(tokenizer), **SIZES)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for make in (marian, m2m, nllb):
        folder = tmp_path_factory.mktemp(make.__name__)
        made[make.__name__] = make(folder)
    return made


def loaded(folder: Path, target: str = "es", **settings: Any) -> Translator:
    return Translator(Seq2Seq(str(folder), **{"max_tokens": 24, **settings}), "en", target, "cpu")


@pytest.mark.parametrize("name", ["marian", "m2m", "nllb"])
@pytest.mark.parametrize("num_beams", [1, 3])
def test_batches_by_length_give_what_one_sentence_at_a_time_gives(
    folders: dict[str, Path], name: str, num_beams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seq2seq, "TOKENS_PER_BATCH", 40)
    translator = loaded(folders[name], num_beams=num_beams)
    batches = translator.batches(SENTENCES)
    assert 1 < len(batches) < len(SENTENCES)
    assert sorted(index for batch in batches for index in batch) == list(range(len(SENTENCES)))
    lengths = [len(ids) for ids in translator.tokenizer(SENTENCES)["input_ids"]]
    order = [lengths[index] for batch in batches for index in batch]
    assert order == sorted(order, reverse=True)
    found = {index: text for batch in batches for index, text in zip(batch, together(translator, batch), strict=True)}
    assert [found[i] for i in range(len(SENTENCES))] == [translator([sentence])[0] for sentence in SENTENCES]
    assert len(set(found.values())) > 2, "random weights that say different things"


def together(translator: Translator, batch: list[int]) -> list[str]:
    return translator([SENTENCES[index] for index in batch])


@pytest.mark.parametrize("name", ["marian", "m2m", "nllb"])
def test_greedy_decoding_takes_the_best_next_token(folders: dict[str, Path], name: str) -> None:
    """Against a loop that runs the whole model again for every token."""
    translator = loaded(folders[name])
    model, tokenizer = translator.model, translator.tokenizer
    given = tokenizer(SENTENCES[1], return_tensors="pt")
    made = [model.config.decoder_start_token_id]
    first = translator.decoding["forced_bos_token_id"]
    with torch.no_grad():
        while len(made) <= translator.max_source and (made[-1] != model.config.eos_token_id or len(made) == 1):
            logits = model(**given, decoder_input_ids=torch.tensor([made])).logits[0, -1]
            if name == "marian":
                logits[model.config.pad_token_id] = -torch.inf  # as in Marian's own decoder
            best = int(logits.argmax())
            if len(made) == 1 and first is not None:
                best = int(first)
            if len(made) == translator.max_source and model.generation_config.forced_eos_token_id is not None:
                best = model.config.eos_token_id
            made.append(best)
    expected = " ".join(tokenizer.decode(made[1 + (first is not None) :], skip_special_tokens=True).split())
    assert translator([SENTENCES[1]]) == [expected]


def test_a_translation_begins_with_the_token_of_its_language(folders: dict[str, Path]) -> None:
    for name, token in (("m2m", "__es__"), ("nllb", "spa_Latn")):
        translator = loaded(folders[name])
        assert translator.decoding["forced_bos_token_id"] == translator.tokenizer.convert_tokens_to_ids(token)
        ids = translator.tokenizer("the cat")["input_ids"]
        source = {"m2m": "__en__", "nllb": "eng_Latn"}[name]
        assert ids[0] == translator.tokenizer.convert_tokens_to_ids(source)
        assert not any(token in text for text in translator(SENTENCES))
        back = Translator(Seq2Seq(str(folders[name])), "es", "en", "cpu")
        assert back.tokenizer("the cat")["input_ids"][0] == back.tokenizer.convert_tokens_to_ids(token)
        assert back.decoding["forced_bos_token_id"] == back.tokenizer.convert_tokens_to_ids(source)
    assert loaded(folders["marian"]).decoding["forced_bos_token_id"] is None


def test_a_language_that_the_model_has_not_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="has no language 'eu'"):
        loaded(folders["m2m"], "eu")
    with pytest.raises(ValueError, match="has no language 'eus_Latn'"):
        loaded(folders["nllb"], "eu")
    with pytest.raises(ValueError, match="unknown language of an NLLB 'xx'"):
        flores_code("xx")


def test_flores_codes_have_the_form_of_the_release() -> None:
    codes = [flores_code(code) for code in LANGUAGES]
    assert len(set(codes)) == len(codes)
    assert all(code[:3].islower() and code[3] == "_" and code[4].isupper() and len(code) == 8 for code in codes)
    expected = {
        "ar": "arb_Arab",
        "zh": "zho_Hans",
        "sw": "swh_Latn",
        "ko": "kor_Hang",
        "fa": "pes_Arab",
        "ja": "jpn_Jpan",
    }
    assert {code: flores_code(code) for code in expected} == expected


def test_a_long_sentence_is_cut_and_counted(folders: dict[str, Path]) -> None:
    translator = loaded(folders["marian"], max_tokens=8)
    translator.batches(SENTENCES)
    lengths = [len(ids) for ids in translator.tokenizer(SENTENCES)["input_ids"]]
    assert translator.num_cut == sum(length > 8 for length in lengths) > 0
    assert translator([SENTENCES[2]]) == translator([SENTENCES[2]])


def test_a_prefix_stands_before_every_sentence(folders: dict[str, Path]) -> None:
    with_prefix, without = loaded(folders["marian"], prefix=">>fra<< "), loaded(folders["marian"])
    assert with_prefix(SENTENCES) == [without([f">>fra<< {sentence}"])[0] for sentence in SENTENCES]
    assert with_prefix(SENTENCES) != without(SENTENCES)


def test_a_folder_that_is_no_translator_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["marian"], tmp_path / "other")
    config = json.loads((tmp_path / "other" / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    with pytest.raises(ValueError, match="model_type 'bert' is no translator: expected m2m_100 or marian"):
        check_translator(tmp_path / "other")
    (tmp_path / "other" / "model.safetensors").rename(tmp_path / "other" / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"found pytorch_model\.bin; pickled weights are never loaded"):
        check_translator(tmp_path / "other")


def test_a_stage_translates_with_a_model_and_names_it_by_content(folders: dict[str, Path], tmp_path: Path) -> None:
    def planned(folder: Path, **settings: Any) -> Translate:
        stage = Translate("mini-answers", "es", Seq2Seq(str(folder), max_tokens=8, **settings), "dev")
        (found,) = make_plan("own", [stage], Sources(None, tmp_path)).stages.values()
        assert isinstance(found, Translate)
        return found

    stage = planned(folders["marian"])
    copy = Path(shutil.copytree(folders["marian"], tmp_path / "copy"))
    assert planned(copy).id == stage.id
    assert planned(copy, num_beams=2).id != stage.id
    (copy / "target.spm").write_bytes((copy / "target.spm").read_bytes() + b"\0")
    assert planned(copy).id != stage.id
    work, out = tmp_path / "work", tmp_path / "out"
    work.mkdir()
    out.mkdir()
    done = perform(stage, out, Context({}, work, None, tmp_path))
    rows = read_rows(out / ROWS, find("mini-answers"))
    assert len(rows) == done["result"]["num_rows_out"] == 600
    assert done["result"]["decoding"]["max_new_tokens"] == 8
    assert done["environment"]["numeric_path"] == "cpu-float32-sdpa-1thread"
