"""The miniature's data sets: sizes, splits, labels that are true, and nothing that gives them away."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import pytest

from xstilts import miniature
from xstilts.miniature import sets
from xstilts.miniature.__main__ import page
from xstilts.miniature.choices import Choice
from xstilts.miniature.grammar import UPOS, Sentence
from xstilts.miniature.inventory import (
    CATEGORIES,
    HYPERNYMS,
    KIN,
    KIN_BY_SEX,
    OBJECTS,
    OPPOSITES,
    QUESTIONS,
    RELATIONS,
    TEMPLATES,
    WOMEN,
)
from xstilts.miniature.items import Inference, Labelled, Reading, Said, denial, questions, templates
from xstilts.miniature.languages import grammar
from xstilts.miniature.pools import Entity, Searched
from xstilts.miniature.world import SPLITS, Fact, Phrase, World
from xstilts.tasks.made import CATEGORIES as SUPERTAGS

FOREIGN = miniature.LANGUAGES[1:]
CELLS = [(name, code) for name in miniature.NAMES for code in sets.SETS[name].languages]
NLI_LABELS = ("entailment", "neutral", "contradiction")
DOCS = Path(__file__).parents[1] / "docs"


def words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def language_of(name: str) -> str:
    """The first language of a set."""
    return sets.SETS[name].languages[0]


def items(name: str, split: str, size: int = 900) -> tuple[Any, ...]:
    return sets._items(name, split, "en", size, 0)


def facts(item: Any) -> list[Fact]:
    """Every fact that an item states or asks about."""
    match item:
        case Inference():
            return [said.fact for said in (*item.premise, item.hypothesis)]
        case Labelled():
            return [item.first.fact, item.second.fact]
        case Reading():
            return [said.fact for said in (*item.passage, item.question)]
        case Choice():
            return [said.fact for said in (*item.told, item.choices[0])]
        case Searched():
            return [said.fact for said in (*item.said, *item.context)]
        case Entity():
            return list(item.facts)
        case Said():
            return [item.fact]
    return [said.fact for said in item]


# ------------------------------------------------------------ what there is


def test_there_are_enough_words_patterns_languages_and_scripts() -> None:
    assert len(miniature.LANGUAGES) == len(set(miniature.LANGUAGES)) >= 8
    assert sum(map(len, CATEGORIES.values())) >= 300
    assert len(TEMPLATES) == len(set(TEMPLATES))
    assert len(TEMPLATES) - len(QUESTIONS) >= 40, "statements alone"
    scripts = set()
    for code in miniature.LANGUAGES:
        found = grammar(code)
        assert set(found.lexicon) == {lexeme for lexemes in CATEGORIES.values() for lexeme in lexemes}, code
        assert set(TEMPLATES) <= set(found.templates), code
        letters = Counter(unicodedata.name(c).split()[0] for e in found.templates.values() for c in e if c > "\x7f")
        scripts.add(letters.most_common(1)[0][0] if letters and code not in ("de", "es", "fr", "tr") else "LATIN")
    assert len(scripts) >= 4, scripts


@pytest.mark.parametrize("language", miniature.LANGUAGES)
def test_two_thousand_sentences_before_one_returns(language: str) -> None:
    speaks = grammar(language)
    world = World("train", "repetition")
    drawn = [speaks.sentence(world.fact()).text for _ in range(4000)]
    assert len(set(drawn)) >= 2000
    rows = miniature.rows("text", "train", language, 2000)
    assert len({row["text"] for row in rows}) == 2000


@pytest.mark.parametrize(("name", "language"), CELLS)
def test_rows_are_whole_clean_text(name: str, language: str) -> None:
    rows = miniature.rows(name, "test", language, 60)
    assert len(rows) == 60
    for row in rows:
        assert row.keys() == rows[0].keys()
        texts = [text for value in row.values() for text in (value if isinstance(value, tuple) else (value,))]
        for text in (text for text in texts if isinstance(text, str) and text):
            assert unicodedata.is_normalized("NFC", text), text
            assert text == " ".join(text.split()), text
            assert not re.search(r"[{}\[\]|/]", text), text
            assert all(char.isprintable() for char in text), text


def test_more_rows_begin_with_fewer_and_another_seed_gives_others() -> None:
    for name in miniature.NAMES:
        language = language_of(name)
        few, more = (miniature.rows(name, "dev", language, size) for size in (31, 90))
        assert more[:31] == few, name
        other = miniature.rows(name, "dev", language, 31, seed=1)
        assert sum(row in few for row in other) < 10, name


def test_rows_are_the_same_in_every_process() -> None:
    script = (
        "import json; from xstilts import miniature as m; "
        "print(json.dumps([m.rows(n, 'dev', s.languages[-1], 60) for n, s in m.SETS.items()]))"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert printed[0] == printed[1]
    here = [miniature.rows(name, "dev", made.languages[-1], 60) for name, made in sets.SETS.items()]
    assert json.loads(printed[0]) == json.loads(json.dumps(here))


def test_rows_are_the_callers_own() -> None:
    first = miniature.rows("nli", "train", "en", 9)
    kept = [dict(row) for row in first]
    first[0]["label"] = "changed"
    first.reverse()
    assert miniature.rows("nli", "train", "en", 9) == kept


def test_rows_are_parallel_in_all_languages_but_for_text() -> None:
    english = miniature.rows("nli", "test", "en", 30)
    for code in FOREIGN:
        assert [row["label"] for row in miniature.rows("nli", "test", code, 30)] == [row["label"] for row in english]
        bitext = miniature.rows("bitext", "test", code, 30)
        assert [row["second"] for row in bitext] == [
            row["second"] for row in miniature.rows("bitext", "test", "de", 30)
        ]
    drawn = [sets._items("text", "train", code, 30, 0) for code in ("de", "fr")]
    assert drawn[0] != drawn[1], "monolingual text is not parallel"


# ------------------------------------------------------------ splits


@pytest.mark.parametrize("name", miniature.NAMES)
def test_no_fact_is_in_two_splits(name: str) -> None:
    keys = {split: {fact.key for item in items(name, split) for fact in facts(item)} for split in SPLITS}
    for split, found in keys.items():
        assert len(found) > 50
        others = set().union(*(keys[other] for other in SPLITS if other != split))
        assert not found & others, (name, split)


def test_one_fact_has_one_key_however_it_is_said() -> None:
    def named(relation: str, **roles: str) -> Fact:
        return Fact(relation, {role: Phrase(lexeme) for role, lexeme in roles.items()})

    mother = named("kin", agent="anna", kin="mother", other="max")
    assert mother.key == named("kin", agent="max", kin="son", other="anna").key
    assert mother.key != named("kin", agent="max", kin="father", other="anna").key
    taller = named("compare", agent="anna", comparison="taller", other="max")
    assert taller.key == named("compare", agent="max", comparison="shorter", other="anna").key
    assert taller.key != named("compare", agent="max", comparison="taller", other="anna").key
    meeting = named("meet", agent="anna", other="max")
    assert meeting.key == named("meet", agent="max", other="anna", place="park").key
    assert named("like", agent="ali", object="tea").key == named("like_not", agent="ali", object="tea").key
    bought = Fact("act", {"agent": Phrase("eva"), "verb": Phrase("to_buy"), "object": Phrase("hat", adjective="red")})
    assert bought.key == denial(bought).key == bought.but(object=Phrase("hat", count=3), place=Phrase("park")).key
    assert bought.key != bought.but(object=Phrase("cup")).key


def test_every_split_has_its_share_of_the_facts() -> None:
    world = World("train", 0)
    shares = Counter(world._draw("act", {}).split for _ in range(5000))
    assert 0.66 < shares["train"] / 5000 < 0.74
    assert 0.08 < shares["dev"] / 5000 < 0.12


# ------------------------------------------------------------ labels are true, by an independent reading of the facts

EXCLUSIVE = {"live": "city", "born": "city", "job": "job", "work_at": "place", "work_for": "company", "age": "age"}
EXCLUSIVE |= {"at": "place", "cost": "price", "opens": "hour", "based": "city", "founded": "year"}
DENIALS = {relation.negates: name for name, relation in RELATIONS.items() if relation.negates}


def covers(general: Phrase, special: Phrase) -> bool:
    """Whether what is true of the special phrase is true of the general one."""
    same = general.lexeme == special.lexeme or HYPERNYMS.get(special.lexeme) == general.lexeme
    counted = general.count in (1, special.count)
    return same and counted and general.adjective in ("", special.adjective) and general.figure == special.figure


def entails(premise: Fact, hypothesis: Fact) -> bool:
    denies = RELATIONS[premise.relation].negates
    for said in (premise, premise.converse()):
        if said is None or said.relation != hypothesis.relation:
            continue
        roles = hypothesis.roles
        if denies:  # who saw no animal saw no dog
            follows = said.roles.keys() == roles.keys() and all(covers(said.roles[r], roles[r]) for r in roles)
        else:
            follows = roles.keys() <= said.roles.keys() and all(covers(roles[r], said.roles[r]) for r in roles)
        if follows:
            return True
    return False


def contradicts(premise: Fact, hypothesis: Fact) -> bool:
    for one, other in ((premise, hypothesis), (hypothesis, premise)):
        if one.relation in DENIALS and other.relation == DENIALS[one.relation]:
            bare = one.but(**{role: None for role in one.roles if role not in other.roles})
            if entails(other, denial(bare)):
                return True
    if premise.relation != hypothesis.relation:
        return False
    name = premise.relation
    if name in EXCLUSIVE:
        role = EXCLUSIVE[name]
        subject = next(iter(premise.roles))
        return premise.roles[subject] == hypothesis.roles[subject] and premise.roles[role] != hypothesis.roles[role]
    if name == "quality" and premise.subject == hypothesis.subject:
        qualities = [fact.roles["quality"].lexeme for fact in (premise, hypothesis)]
        colours = all(quality in CATEGORIES["colour"] for quality in qualities)
        return qualities[0] != qualities[1] and (colours or OPPOSITES.get(qualities[0]) == qualities[1])
    if name in ("kin", "compare") and premise.roles["agent"] == hypothesis.roles["other"]:
        return premise.roles["other"] == hypothesis.roles["agent"] and premise.key != hypothesis.key
    return False


@pytest.mark.parametrize("split", SPLITS)
def test_inference_labels_follow_from_the_facts(split: str) -> None:
    for item in items("nli", split, 1800):
        told = [said.fact for said in item.premise]
        follows = any(entails(fact, item.hypothesis.fact) for fact in told)
        excluded = any(contradicts(fact, item.hypothesis.fact) for fact in told)
        expected = "entailment" if follows else "contradiction" if excluded else "neutral"
        assert item.label == expected, sets._inference_row(grammar("en"), item)
        assert not (follows and excluded), sets._inference_row(grammar("en"), item)


def test_paraphrases_say_the_same_and_their_copies_do_not() -> None:
    for item in items("paraphrase", "train", 1800):
        first, second = item.first.fact, item.second.fact
        same = first.roles == second.roles or (first.converse() or first).roles == second.roles
        assert (item.label == "paraphrase") == (same and first.relation == second.relation)
        assert item.first != item.second


def test_duplicate_questions_have_the_same_answer_and_others_ask_something_else() -> None:
    for item in items("questions", "train", 1800):
        first, second = QUESTIONS[item.first.template], QUESTIONS[item.second.template]
        assert second.same_as, "the second is in other words than the first could be"
        same = item.first.fact == item.second.fact and item.first.fact.roles == item.second.fact.roles
        assert (item.label == "duplicate") == (same and first.asks == second.asks)


def known(fact: Fact, asks: str) -> dict[str, Phrase]:
    """What a question on a fact names; the noun of what is counted is named, its number asked for."""
    named = {role: replace(phrase, definite=False) for role, phrase in fact.roles.items() if role != asks}
    if asks == "counted":
        named["counted"] = replace(fact.roles["counted"], count=1)
    return named


def answers(fact: Fact, question: Said) -> bool:
    asks = QUESTIONS[question.template].asks
    if fact.relation != question.fact.relation or asks not in fact.roles:
        return False
    told = known(fact, asks)
    return all(
        told.get(role) == phrase for role, phrase in known(question.fact, asks).items() if role in _core(fact.relation)
    )


def _core(relation: str) -> tuple[str, ...]:
    return RELATIONS[relation].core


def test_answers_answer_and_the_others_do_not() -> None:
    for item in items("answers", "train", 1800):
        assert (item.label == "answered") == answers(item.second.fact, item.first)


@pytest.mark.parametrize("language", miniature.LANGUAGES)
def test_a_passage_answers_its_question_once_and_there(language: str) -> None:
    drawn = items("qa", "test", 300)
    for item, row in zip(drawn, miniature.rows("qa", "test", language, 300), strict=True):
        found = [said.fact for said in item.passage if answers(said.fact, item.question)]
        assert found == [item.question.fact]
        assert item.question.template in questions(item.question.fact)
        assert row["context"][row["start"] :].startswith(row["answer"])
        assert row["answer"].strip() == row["answer"] != ""
    for item, row in zip(items("choice", "test", 300), miniature.rows("choice", "test", language, 300), strict=True):
        assert len(row["choices"]) == len(set(row["choices"])) >= 3
        speaks = grammar(language)
        assert row["choices"][row["label"]] == sets._answer(speaks, item.options[0], item.asks)[0]
        assert not any(answers(fact, item.question) and fact == item.question.fact for fact in item.options[1:])
        near = [said.fact for said in item.passage if said.fact.relation == item.question.fact.relation][-2:]
        assert len(near) == 2, "a passage has a fact that nearly answers"


@pytest.mark.parametrize("language", miniature.LANGUAGES)
def test_every_question_is_asked_once_with_its_answer_and_once_without(language: str) -> None:
    drawn = items("unanswerable", "test", 300)
    rows = miniature.rows("unanswerable", "test", language, 300)
    for item, row in zip(drawn, rows, strict=True):
        assert len(item.passage) == 4
        assert any(answers(said.fact, item.question) for said in item.passage) == bool(row["answer"])
        assert (row["start"] == -1) == (not row["answer"])
        assert not row["answer"] or row["context"][row["start"] :].startswith(row["answer"])
    for one, other in zip(rows[::2], rows[1::2], strict=True):
        assert one["question"] == other["question"]
        assert bool(one["answer"]) != bool(other["answer"])


# ------------------------------------------------------------ the right choice is right and the others are not


def follows(premise: Fact, conclusion: Fact) -> bool:
    """Whether one fact says the other, or is that its owner was given or sold it."""
    if entails(premise, conclusion):
        return True
    if premise.relation not in ("give", "sell_to") or conclusion.relation != "own":
        return False
    return premise.roles["other"] == conclusion.roles["agent"] and premise.roles["object"] == conclusion.roles["object"]


def asks_for(said: Said) -> tuple[str, ...]:
    """The lexemes that can answer a question, by what the verb or the relation takes."""
    relation, asks, _ = QUESTIONS[said.template]
    allowed = RELATIONS[relation].roles[asks] or OBJECTS[said.fact.roles["verb"].lexeme]
    return tuple(lexeme for group in allowed for lexeme in CATEGORIES.get(group, (group,)))


def test_one_ending_follows_and_the_others_are_made_of_the_same() -> None:
    for item in items("endings", "train", 1800):
        told, ends = [said.fact for said in item.told], [said.fact for said in item.choices]
        assert [any(follows(fact, end) for fact in told) for end in ends] == [True, False, False, False]
        assert item.choices[0] not in item.told, "it is in other words"
        assert len({said.template for said in item.choices}) == 1
        changed = [role for role in ends[0].roles if len({repr(end.roles[role]) for end in ends}) > 1]
        for role in changed:
            assert set(Counter(repr(end.roles[role]) for end in ends).values()) == {2}, "no ending is in the middle"
        assert len(changed) == 2


def test_one_of_five_answers_is_of_a_kind_that_the_question_asks_for() -> None:
    for item in items("commonsense", "train", 1800):
        (question,) = item.told
        fillers = [said.fact.roles[QUESTIONS[said.template].asks].lexeme for said in item.choices]
        assert [filler in asks_for(question) for filler in fillers] == [True, False, False, False, False], fillers


def test_causes_lead_to_their_effects_and_the_others_do_not() -> None:
    needs = {"hungry": "to_eat", "thirsty": "to_drink"}
    asked = Counter[tuple[str, str]]()
    for item in items("causes", "train", 1800):
        (told,) = (said.fact for said in item.told)
        leads = []
        for choice in (said.fact for said in item.choices):
            cause, effect = (told, choice) if item.asks == "effect" else (choice, told)
            if cause.relation == "feel":
                need = needs[cause.roles["state"].lexeme] == effect.roles["verb"].lexeme
                leads.append(need and cause.subject == effect.subject)
            else:
                leads.append(follows(cause, effect))
        assert leads == [True, False]
        asked[told.relation, item.asks] += 1
    assert set(asked) == {
        *(("give", "effect"), ("sell_to", "effect"), ("feel", "effect"), ("own", "cause"), ("want", "cause")),
    }


@pytest.mark.parametrize(("name", "num_choices"), [("endings", 4), ("commonsense", 5), ("causes", 2), ("choice", 4)])
def test_choices_differ_in_every_language_and_none_says_that_it_is_right(name: str, num_choices: int) -> None:
    def choices(row: dict[str, Any]) -> tuple[str, ...]:
        return row["choices"] if "choices" in row else (row["choice1"], row["choice2"])

    for language in miniature.LANGUAGES:
        for row in miniature.rows(name, "test", language, 300):
            assert len(choices(row)) == len(set(choices(row))) == num_choices
    train, test = (miniature.rows(name, split, "en", size) for split, size in (("train", 4500), ("test", 900)))
    places = Counter(row["label"] for row in test)
    assert max(places.values()) < 1.25 * min(places.values())
    right, all_words = Counter[Any](), Counter[Any]()
    for row in train:
        for number, text in enumerate(choices(row)):
            all_words.update(bigrams(text))
            right.update(bigrams(text) if number == row["label"] else ())
    points = 0.0
    for row in test:
        scores = [
            sum(log((right[w] + 1) / (all_words[w] + num_choices)) / len(words(text)) for w in bigrams(text))
            for text in choices(row)
        ]
        best = [number for number, value in enumerate(scores) if value > max(scores) - 1e-9]
        points += (row["label"] in best) / len(best)
    assert abs(points / len(test) - 1 / num_choices) < 0.06


# ------------------------------------------------------------ finer tags


def test_categories_are_parts_of_speech_and_roles_and_all_that_occur() -> None:
    found = Counter[str]()
    for split in ("train", "dev"):
        for said, row in zip(items("categories", split), miniature.rows("categories", split, "en", 900), strict=True):
            parts = [word.upos for word in grammar("en").sentence(*said).words]
            assert [tag.partition(".")[0] for tag in row["tags"]] == parts
        found.update(tag for row in miniature.rows("categories", split, "en", 4000) for tag in row["tags"])
    assert set(found) == set(SUPERTAGS)
    assert len(SUPERTAGS) == len(set(SUPERTAGS)) > 4 * len(UPOS)


# ------------------------------------------------------------ what is searched


def test_one_of_three_mined_sentences_is_on_both_sides() -> None:
    for language in FOREIGN:
        rows = miniature.rows("mining", "test", language, 400)
        english = {row["id"]: row for row in rows if row["side"] == "english"}
        foreign = {row["id"]: row for row in rows if row["side"] == "foreign"}
        assert len(foreign) == len(english) == 200, "ids are unique on a side"
        for side, code in ((english, "en"), (foreign, language)):
            assert {row["language"] for row in side.values()} == {code}
            assert len({row["text"] for row in side.values()}) == len(side)
        pairs = {(row["id"], id) for row in foreign.values() for id in row["pairs"]}
        assert pairs == {(id, row["id"]) for row in english.values() for id in row["pairs"]}
        assert len(pairs) == 100
        speaks = grammar(language)
        told = {
            speaks.sentence(*item.said[0]).text: grammar("en").sentence(*item.said[0]).text
            for item in sets._items("mining", "test", "en", 400, 0)
        }
        assert all(told[foreign[one]["text"]] == english[other]["text"] for one, other in pairs)
        in_english = {row["text"] for row in english.values()}
        assert sum(told[row["text"]] in in_english for row in foreign.values()) == 100, "the others have none"


def searched(name: str, size: int) -> dict[str, dict[str, tuple[dict[str, Any], Searched]]]:
    """For each side, row and item by id."""
    found: dict[str, dict[str, tuple[dict[str, Any], Searched]]] = {"query": {}, "candidate": {}}
    for row, item in zip(
        miniature.rows(name, "test", "mul", size), sets._items(name, "test", "en", size, 0), strict=True
    ):
        assert row["id"] not in found[row["side"]], "ids are unique on a side"
        assert row["pairs"] == () or row["side"] == "query"
        found[row["side"]][row["id"]] = row, item
    return found


def test_a_question_has_one_right_sentence_in_every_language_of_one_pool() -> None:
    asked, pool = searched("lareqa", 1400).values()
    assert Counter(row["language"] for row, _ in asked.values()) == dict.fromkeys(miniature.LANGUAGES, 60)
    assert Counter(row["language"] for row, _ in pool.values()) == dict.fromkeys(miniature.LANGUAGES, 80)
    for side in (asked, pool):
        assert len({(row["language"], row["text"]) for row, _ in side.values()}) == len(side)
    for row, item in pool.values():
        assert row["text"] in row["context"]
        assert item.said[0] in item.context
    for row, item in asked.values():
        (question,) = item.said
        assert (row["text"], row["context"]) == (grammar(row["language"]).sentence(*question).text, "")
        right = {
            id
            for id, (_, other) in pool.items()
            for fact in (other.said[0].fact, other.said[0].fact.converse())
            if fact and answers(fact, question)
        }
        assert right == set(row["pairs"])
        assert sorted(pool[id][0]["language"] for id in right) == sorted(miniature.LANGUAGES)


def test_a_mention_is_of_one_of_several_of_a_name_each_described_in_another_language() -> None:
    asked, pool = searched("mewsli", 1300).values()
    assert Counter(row["language"] for row, _ in asked.values()) == dict.fromkeys(miniature.LANGUAGES, 100)
    assert Counter(row["language"] for row, _ in pool.values()) == dict.fromkeys(miniature.LANGUAGES, 30)
    golds = Counter(pool[id][0]["language"] for row, _ in asked.values() for id in row["pairs"])
    assert golds == dict.fromkeys(miniature.LANGUAGES, 100)
    told = {id: [said.fact for said in item.said] for id, (_, item) in pool.items()}
    texts = {
        (code, grammar(code).sentence(fact, template).text): id
        for code in miniature.LANGUAGES
        for id, facts in told.items()
        for fact in facts
        for template in templates(fact)
    }
    assert (
        len(
            {(code, grammar(code).sentence(f).text) for code in miniature.LANGUAGES for fs in told.values() for f in fs}
        )
        == 9000
    )
    categories = Counter[str]()
    for row, item in asked.values():
        (said,) = item.said
        (gold,) = row["pairs"]
        name = said.fact.roles[item.names]
        assert [id for id, facts in told.items() if said.fact.key in {fact.key for fact in facts}] == [gold]
        assert texts[row["language"], row["text"]] == gold, "as it is written it is told of nobody else"
        assert sum(all(name in fact.roles.values() for fact in facts) for facts in told.values()) >= 3
        written = grammar(row["language"]).sentence(*said).words
        mention = "".join(word.text for word in written if word.role == item.names and word.entity)
        assert row["text"][row["start"] : row["end"]].replace(" ", "") == mention
        categories[name.category] += 1
    assert min(categories["name"], categories["company"]) >= 20
    assert any(row["start"] > 0 for row, _ in asked.values())


def test_training_rows_of_dual_encoders() -> None:
    for item, row in zip(
        items("lareqa-train", "train", 300), miniature.rows("lareqa-train", "train", "en", 300), strict=True
    ):
        sentence = grammar("en").sentence(item.question.fact).text
        assert (row["sentence"], row["question"]) == (sentence, grammar("en").sentence(*item.question).text)
        assert sentence in row["context"]
    for entity, row in zip(
        items("mewsli-train", "train", 300), miniature.rows("mewsli-train", "train", "en", 300), strict=True
    ):
        assert entity.mention.fact in entity.facts
        assert len({fact.relation for fact in entity.facts}) == 3
        name = grammar("en").lexicon[entity.facts[0].roles[entity.names].lexeme]["form"]
        assert row["text"][row["start"] : row["end"]] == name
        assert row["description"].count(name) == 3


@pytest.mark.parametrize("name", miniature.NAMES)
def test_no_man_is_a_wife_and_nobody_meets_himself(name: str) -> None:
    told = [fact for item in items(name, "train", 900) for fact in facts(item)]
    told += [said.fact for item in items(name, "train", 900) if isinstance(item, Choice) for said in item.choices]
    told += [fact for item in items(name, "train", 900) if isinstance(item, Reading) for fact in item.options]
    assert told
    for fact in told:
        if fact.relation == "kin":
            word, sex = fact.roles["kin"].lexeme, fact.subject.lexeme not in WOMEN
            assert KIN_BY_SEX[KIN[word]][sex] == word, fact
        people = [phrase.lexeme for phrase in fact.roles.values() if phrase.category == "name"]
        assert len(people) == len(set(people)), fact


@pytest.mark.parametrize("language", miniature.LANGUAGES)
def test_words_have_tags_and_proper_nouns_are_entities(language: str) -> None:
    tags = {tag for row in miniature.rows("tags", "train", language, 800) for tag in row["tags"]}
    assert {"NOUN", "VERB", "PROPN", "PUNCT", "NUM", "ADJ"} <= tags <= set(UPOS)
    rows = miniature.rows("entities", "train", language, 800)
    assert {"O", "B-PER", "B-LOC", "B-ORG"} <= {tag for row in rows for tag in row["tags"]}
    speaks = grammar(language)
    for said, row in zip(items("entities", "train", 800), rows, strict=True):
        found = speaks.sentence(*said).words
        assert row["words"] == tuple(word.text for word in found)
        for before, tag, word in zip(("O", *row["tags"]), row["tags"], found, strict=False):
            assert (tag == "O") == (word.entity == "")
            assert tag == "O" or word.upos == "PROPN"
            assert tag[0] != "I" or before[2:] == tag[2:], row


@pytest.mark.parametrize("language", FOREIGN)
def test_retrieval_sentences_are_distinct_in_every_language(language: str) -> None:
    rows = miniature.rows("bitext", "test", language, 500)
    for side in ("first", "second"):
        assert len({row[side] for row in rows}) == 500


def test_a_sentence_that_one_language_cannot_tell_apart_is_no_retrieval_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turkish = grammar("tr")
    whole = type(turkish).sentence
    monkeypatch.setattr(
        type(turkish),
        "sentence",
        lambda self, *said: Sentence(whole(self, *said).words[:1]),  # the first word is left
    )
    found = sets._items.__wrapped__("bitext", "test", "en", 40, 0)
    assert len({turkish.sentence(*said).text for said in found}) == 40


# ------------------------------------------------------------ nothing gives a label away


def accuracy_of_one_side(rows: Callable[[str], list[dict[str, Any]]], column: str, features: Callable) -> float:
    """Add-one multinomial naive Bayes on one column; a tie shares its point among the tied labels."""
    train, test = rows("train"), rows("test")
    labels = sorted({row["label"] for row in train})
    counts = {label: Counter[Any]() for label in labels}
    for row in train:
        counts[row["label"]].update(features(row[column]))
    num_types = len(set().union(*counts.values()))
    points = []
    for row in test:
        score = {
            label: sum(log((seen[word] + 1) / (seen.total() + num_types)) for word in features(row[column]))
            for label, seen in counts.items()
        }
        tied = [label for label in labels if score[label] > max(score.values()) - 1e-9]
        points.append(row["label"] in tied and 1 / len(tied))
    return sum(points) / len(points)


def bigrams(text: str) -> Iterable[Any]:
    found = words(text)
    return [*found, *itertools.pairwise(found)]


@pytest.mark.parametrize("features", [words, bigrams])
@pytest.mark.parametrize(
    ("name", "column", "chance"),
    [
        ("nli", "hypothesis", 1 / 3),
        ("nli", "premise", 1 / 3),
        ("paraphrase", "sentence1", 1 / 2),
        ("paraphrase", "sentence2", 1 / 2),
        ("questions", "sentence1", 1 / 2),
        ("questions", "sentence2", 1 / 2),
        ("answers", "sentence1", 1 / 2),
        ("answers", "sentence2", 1 / 2),
    ],
)
def test_one_side_alone_says_little_about_the_label(name: str, column: str, chance: float, features: Callable) -> None:
    def rows(split: str) -> list[dict[str, Any]]:
        return miniature.rows(name, split, "en", {"train": 4500, "test": 1800}[split])

    assert abs(accuracy_of_one_side(rows, column, features) - chance) < 0.06


@pytest.mark.parametrize(
    ("name", "column"),
    [("nli", "hypothesis"), ("paraphrase", "sentence1"), ("questions", "sentence1"), ("answers", "sentence1")],
)
def test_every_first_side_has_every_label_equally_often(name: str, column: str) -> None:
    rows = miniature.rows(name, "train", "en", 1800)
    labels = sorted({row["label"] for row in rows})
    by_text: dict[str, Counter[str]] = {}
    for row in rows:
        by_text.setdefault(row[column], Counter())[row["label"]] += 1
    assert all(len({counts[label] for label in labels}) == 1 for counts in by_text.values())


def test_negation_and_length_are_the_same_under_every_label() -> None:
    rows = miniature.rows("nli", "train", "en", 6000)
    premises = {label: [words(row["premise"]) for row in rows if row["label"] == label] for label in NLI_LABELS}
    negated = [sum(bool({"not", "cannot"} & set(text)) for text in texts) / 2000 for texts in premises.values()]
    num_words = [sum(map(len, texts)) / 2000 for texts in premises.values()]
    assert min(negated) > 0.2
    assert max(negated) - min(negated) < 0.05
    assert max(num_words) - min(num_words) < 1


# ------------------------------------------------------------ manners


@pytest.mark.parametrize(
    ("name", "split", "language", "message"),
    [
        ("nlii", "train", "en", "unknown miniature 'nlii'.*did you mean 'nli'"),
        ("nli", "validation", "en", "unknown split of the miniature 'nli' 'validation': expected one of train, dev, t"),
        ("nli", "dev", "dee", "unknown language of the miniature 'nli' 'dee'.*did you mean 'de'"),
        ("bitext", "dev", "en", "the miniature 'bitext' has no language 'en': English is its other side"),
        ("lareqa", "dev", "en", "unknown language of the miniature 'lareqa' 'en': expected one of mul"),
    ],
)
def test_what_is_not_there_is_refused(name: str, split: str, language: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        miniature.rows(name, split, language, 10)


def test_more_than_the_world_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "_PATIENCE", 3)
    with pytest.raises(ValueError, match=r"miniature 'paraphrase'/dev: expected at most \d+ rows, got 100000"):
        miniature.rows("paraphrase", "dev", "en", 100_000)


def test_a_missing_word_or_pattern_of_a_language_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = type(grammar("en"))
    import tomllib

    read = tomllib.loads

    def without(text: str) -> dict[str, Any]:
        data = read(text)
        del data["animal"]["dog"], data["templates"]["q-age"]
        return data

    monkeypatch.setattr(tomllib, "loads", without)
    with pytest.raises(ValueError, match=r"en.toml lacks q-age, dog"):
        whole()
    monkeypatch.setattr(tomllib, "loads", lambda text: read(text) | {"animals": {}})
    with pytest.raises(ValueError, match=r"unknown category of en.toml 'animals'.*did you mean 'animal'"):
        whole()


def test_the_fingerprint_follows_every_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(Path(miniature.__file__).parent, tmp_path / "m", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(miniature.resources, "files", lambda _: tmp_path / "m")
    before = miniature.fingerprint.__wrapped__()
    assert before == miniature.fingerprint()
    for name in ("world.py", "languages/sw.toml"):
        file = tmp_path / "m" / name
        file.write_bytes(file.read_bytes() + b"\n")
        after = miniature.fingerprint.__wrapped__()
        assert after != before
        before = after


def test_the_page_that_was_read_is_what_the_miniature_says() -> None:
    assert (DOCS / "miniature.md").read_text("utf-8") == page()
    assert page().count("\n| ") == 1 + len(miniature.NAMES) + len(FOREIGN) * 21
