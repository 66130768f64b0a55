"""Swahili: concords of every noun class, tense and object markers of verbs, the clock, and whole-lexicon checks."""

from __future__ import annotations

import re

import pytest

from saying import act, counted, fact, texts
from xstilts.miniature.inventory import CATEGORIES, GOODS, MASS
from xstilts.miniature.languages.sw import Swahili, adjective, concord
from xstilts.miniature.world import Fact, Phrase

SWAHILI = Swahili()
P = Phrase


def own(lexeme: str, count: int = 1, adjective: str = "") -> Fact:
    return fact("own", "anna", P(lexeme, count=count, adjective=adjective))


def quality(thing: str, what: str) -> Fact:
    return fact("quality", P(thing, definite=True), what)


def at(thing: str, place: str) -> Fact:
    return fact("at", P(thing, definite=True), place)


EXPECTED = {
    "adjective-class-1-animal": (own("dog", adjective="black"), "", "Anna ana mbwa mweusi."),
    "adjective-class-2-animal": (own("lion", 2, "big"), "", "Anna ana simba wakubwa wawili."),
    "adjective-class-3": (own("belt", adjective="red"), "", "Anna ana mkanda mwekundu."),
    "adjective-class-4": (own("umbrella", 3, "white"), "", "Anna ana miavuli myeupe mitatu."),
    "adjective-class-5-no-prefix": (own("car", adjective="big"), "", "Anna ana gari kubwa."),
    "adjective-class-5-vowel": (own("car", adjective="red"), "", "Anna ana gari jekundu."),
    "adjective-class-5-pya": (own("guitar", adjective="new"), "", "Anna ana gitaa jipya."),
    "adjective-class-6": (own("truck", 4, "white"), "", "Anna ana malori meupe manne."),
    "adjective-class-7": (own("chair", adjective="small"), "", "Anna ana kiti kidogo."),
    "adjective-class-8": (own("cup", 5, "red"), "", "Anna ana vikombe vyekundu vitano."),
    "adjective-class-9-nasal": (own("phone", adjective="small"), "", "Anna ana simu ndogo."),
    "adjective-class-9-bare": (own("lamp", adjective="dirty"), "", "Anna ana taa chafu."),
    "adjective-class-9-pya": (own("camera", adjective="new"), "", "Anna ana kamera mpya."),
    "adjective-class-10-mbili": (own("bicycle", 2, "black"), "", "Anna ana baiskeli nyeusi mbili."),
    "adjective-class-11": (own("key", adjective="heavy"), "", "Anna ana ufunguo mzito."),
    "class-11-plural-10": (own("key", 8, "heavy"), "", "Anna ana funguo nzito nane."),
    "adjective-invariable": (own("chair", 6, "clean"), "", "Anna ana viti safi sita."),
    "associative-colour": (own("television", adjective="yellow"), "", "Anna ana televisheni ya njano."),
    "numeral-before-associative": (own("chair", 2, "blue"), "", "Anna ana viti viwili vya bluu."),
    "hypernym-with-associative": (own("any_vehicle", adjective="new"), "", "Anna ana chombo kipya cha usafiri."),
    "predicate-adjective-class-3": (quality("ball", "red"), "", "Mpira ni mwekundu."),
    "predicate-adjective-class-7": (quality("knife", "black"), "", "Kisu ni cheusi."),
    "predicate-associative-class-5": (quality("shirt", "brown"), "", "Shati ni la kahawia."),
    "predicate-invariable": (quality("dress", "expensive"), "", "Gauni ni ghali."),
    "locative-copula-animate": (at("snake", "garden"), "", "Nyoka yuko bustanini."),
    "locative-copula-class-5": (at("tractor", "farm"), "", "Trekta liko shambani."),
    "locative-copula-class-7": (at("basket", "kitchen"), "q-at", "Kikapu kiko wapi?"),
    "how-many-people-class": (counted("cat", 3, "beach"), "q-count", "Kuna paka wangapi ufukweni?"),
    "how-many-class-8": (counted("bed", 7, "hotel"), "q-count", "Kuna vitanda vingapi hotelini?"),
    "how-many-class-10": (counted("table", 7, "office"), "q-count", "Kuna meza ngapi ofisini?"),
    "numeral-class-6": (counted("cupboard", 2, "library"), "", "Kuna makabati mawili maktabani."),
    "numeral-fronted-place": (counted("owl", 9, "forest"), "count_at-fronted", "Msituni kuna bundi tisa."),
    "possessor-class-5": (own("car"), "own-belongs", "Gari ni la Anna."),
    "possessor-class-9": (own("piano", adjective="old"), "own-belongs", "Piano ya zamani ni ya Anna."),
    "possessor-animate": (own("horse", adjective="white"), "own-belongs", "Farasi mweupe ni wa Anna."),
    "no-object-marker-indefinite": (
        act("to_buy", P("book", adjective="old"), place="market", time="yesterday"),
        "",
        "Anna alinunua kitabu cha zamani sokoni jana.",
    ),
    "object-marker-class-3": (act("to_lose", P("umbrella", definite=True)), "", "Anna aliupoteza mwavuli."),
    "object-marker-class-7": (act("to_break", P("mirror", definite=True)), "", "Anna alikivunja kioo."),
    "object-marker-class-1": (act("to_feed", P("cow", definite=True)), "", "Anna alimlisha ng'ombe."),
    "object-marker-before-vowel": (act("to_see", P("elephant", count=2)), "", "Anna aliwaona tembo wawili."),
    "object-marker-mw": (act("to_see", P("bear")), "", "Anna alimwona dubu."),
    "object-marker-person": (act("to_see", P("someone")), "", "Anna alimwona mtu fulani."),
    "object-marker-not-doubled": (act("to_steal", P("radio", definite=True)), "", "Anna aliiba redio."),
    "object-marker-question": (act("to_read", P("story")), "q-act-agent", "Nani aliisoma hadithi?"),
    "object-marker-question-plural": (act("to_sell", P("chair", count=3)), "q-act-agent", "Nani aliviuza viti?"),
    "asked-for-thing": (act("to_hide", P("toy", definite=True)), "q-act-object", "Anna alificha nini?"),
    "asked-for-animal": (act("to_feed", P("duck", definite=True)), "q-act-object", "Anna alimlisha mnyama gani?"),
    "asked-for-after-associative": (act("to_photograph", P("duck")), "q-act-object", "Anna alipiga picha ya nini?"),
    "negative-past": (act("to_buy", P("hat"), "act_not"), "", "Anna hakununua kofia."),
    "negative-past-object-marker": (
        act("to_forget", P("bag", definite=True), "act_not", time="on_sunday"),
        "",
        "Anna hakuusahau mfuko Jumapili.",
    ),
    "negative-past-one-syllable": (act("to_drink", P("milk"), "act_not"), "", "Anna hakunywa maziwa."),
    "negative-pronoun": (act("to_bring", P("something"), "act_not"), "", "Anna hakuleta kitu chochote."),
    "negative-present": (fact("like_not", agent="omar", object="fish"), "", "Omar hapendi samaki."),
    "negative-perfect": (fact("feel_not", agent="omar", state="tired"), "", "Omar hajachoka."),
    "negative-have": (fact("feel_not", agent="omar", state="thirsty"), "", "Omar hana kiu."),
    "past-one-syllable-keeps-ku": (act("to_eat", P("mango", count=2)), "", "Anna alikula maembe mawili."),
    "habitual": (
        fact("habit", agent="teacher", verb="to_drink", object="tea", frequency="every_morning"),
        "",
        "Mwalimu hunywa chai kila asubuhi.",
    ),
    "infinitive": (fact("want", agent="juma", verb="to_sell", object="coffee"), "", "Juma anataka kuuza kahawa."),
    "future": (
        fact("will_travel", agent="zuri", city="cairo", means="by_plane", time="next_month"),
        "",
        "Zuri atasafiri kwenda Kairo kwa ndege mwezi ujao.",
    ),
    "rice-bought": (act("to_buy", P("rice")), "", "Anna alinunua mchele."),
    "rice-cooked": (act("to_cook", P("rice")), "", "Anna alipika wali."),
    "washing-clothes": (act("to_wash", P("shirt", definite=True)), "", "Anna alilifua shati."),
    "washing-fruit": (act("to_wash", P("orange", definite=True)), "", "Anna aliliosha chungwa."),
    "photograph-associative": (
        act("to_photograph", P("camel", adjective="beautiful")),
        "",
        "Anna alipiga picha ya ngamia mzuri.",
    ),
    "verb-class-2": (
        fact("group_did", group="children", activity="to_sing", place="school"),
        "",
        "Watoto waliimba shuleni.",
    ),
    "verb-class-1-animal": (fact("did", agent="monkey", activity="to_laugh"), "", "Tumbili alicheka."),
    "verb-class-5": (fact("cost", thing="coat", price=35), "", "Koti linagharimu euro 35."),
    "verb-class-11": (fact("cost", thing="key", price=12), "", "Ufunguo unagharimu euro 12."),
    "perfect-passive-class-7": (
        fact("made_of", thing="chair", material="of_wood"),
        "",
        "Kiti kimetengenezwa kwa mbao.",
    ),
    "have-colour-class-9": (quality("ring", "red"), "q-quality", "Pete ina rangi gani?"),
    "swahili-hours-seven": (fact("opens", place="market", hour=7), "", "Soko linafunguliwa saa 1 asubuhi."),
    "swahili-hours-six": (fact("opens", place="restaurant", hour=6), "", "Mgahawa unafunguliwa saa 12 asubuhi."),
    "kin-with-name": (fact("kin", agent="asha", kin="wife", other="ali"), "", "Asha ni mkewe Ali."),
    "kin-associative": (fact("kin", agent="asha", kin="friend", other="ali"), "kin-of", "Asha ni rafiki wa Ali."),
    "comparison": (
        fact("compare", agent="lena", comparison="taller", other="max"),
        "",
        "Lena ni mrefu zaidi kuliko Max.",
    ),
    "age": (fact("age", agent="baraka", age=30), "", "Baraka ana umri wa miaka 30."),
    "because-past-of-have": (
        fact("because", agent="nina", reaction="ate_something", state="hungry", time="last_night"),
        "",
        "Nina alikula kitu fulani jana usiku kwa sababu alikuwa na njaa.",
    ),
    "capital-before-apostrophe": (at("cow", "farm"), "", "Ng'ombe yuko shambani."),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_sentence(name: str) -> None:
    said, template, expected = EXPECTED[name]
    assert SWAHILI.sentence(said, template).text == expected


CHAIN = {  # One adjective, numeral and associative through all the classes.
    "1": ("mdogo", "mwekundu", "wa"),
    "2": ("wadogo", "wekundu", "wa"),
    "3": ("mdogo", "mwekundu", "wa"),
    "4": ("midogo", "myekundu", "ya"),
    "5": ("dogo", "jekundu", "la"),
    "6": ("madogo", "mekundu", "ya"),
    "7": ("kidogo", "chekundu", "cha"),
    "8": ("vidogo", "vyekundu", "vya"),
    "9": ("ndogo", "nyekundu", "ya"),
    "10": ("ndogo", "nyekundu", "za"),
    "11": ("mdogo", "mwekundu", "wa"),
}


@pytest.mark.parametrize("noun_class", CHAIN)
def test_concords_of_a_class(noun_class: str) -> None:
    assert (adjective("dogo", noun_class), adjective("ekundu", noun_class), concord("-a", noun_class)) == CHAIN[
        noun_class
    ]


def nouns() -> list[str]:
    return [noun for category in (*GOODS, *MASS, "hypernym") for noun in CATEGORIES[category]]


@pytest.mark.parametrize("noun", nouns())
def test_prefix_of_a_noun_fits_its_class(noun: str) -> None:
    entry = SWAHILI.lexicon[noun]
    plural = entry.get("pl", entry["form"])
    prefixes = {"3": ("m", "mi"), "5": ("", "ma"), "7": ("ki|ch", "vi|vy"), "11": ("u", ""), "6": ("ma", "ma")}
    noun_class = entry.get("class", "9")
    if noun_class == "9":
        assert "pl" not in entry
    elif noun_class in prefixes:
        singular_prefix, plural_prefix = prefixes[noun_class]
        assert re.match(singular_prefix, entry["form"])
        assert noun in CATEGORIES["food"] or re.match(plural_prefix, plural)
        assert "pl" in entry or noun in (*CATEGORIES["food"], *CATEGORIES["drink"])
    else:
        assert noun_class == "1"


def test_no_letters_or_pieces_that_swahili_has_not() -> None:
    for text in texts("sw"):
        assert not re.search(r"[qx]", text.replace("Max", "")), text
        assert "iii" not in text
