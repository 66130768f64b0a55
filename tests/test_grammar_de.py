"""German sentences as a speaker writes them, and what holds of all of them."""

import tomllib
from importlib import resources

import pytest

from saying import Filler, fact, relation_of
from xstilts.miniature.inventory import CATEGORIES, GOODS, MASS
from xstilts.miniature.languages.de import German
from xstilts.miniature.world import Phrase

GERMAN = German()
P = Phrase


def say(template: str, **roles: Filler) -> str:
    return GERMAN.sentence(fact(relation_of(template), **roles), template).text


def act(object: Filler, verb: str = "to_buy", template: str = "act", agent: str = "anna", **more: str) -> str:
    return say(template, agent=agent, verb=verb, object=object, **more)


CASES = {
    "accusative-masculine-indefinite": (act("hat"), "Anna hat einen Hut gekauft."),
    "accusative-feminine-indefinite": (act("lamp"), "Anna hat eine Lampe gekauft."),
    "accusative-neuter-indefinite": (act("book"), "Anna hat ein Buch gekauft."),
    "accusative-masculine-definite": (
        act(P("key", definite=True), "to_lose", place="park", time="yesterday"),
        "Anna hat gestern im Park den Schlüssel verloren.",
    ),
    "accusative-feminine-definite": (act(P("cup", definite=True), "to_break"), "Anna hat die Tasse zerbrochen."),
    "weak-masculine-accusative": (act("lion", "to_see"), "Anna hat einen Löwen gesehen."),
    "weak-masculine-accusative-definite": (
        act(P("bear", definite=True), "to_feed", agent="peter"),
        "Peter hat den Bären gefüttert.",
    ),
    "weak-masculine-nominative": (
        say("did", agent=P("monkey", definite=True), activity="to_sleep", place="garden"),
        "Der Affe schlief im Garten.",
    ),
    "adjective-mixed-masculine": (act(P("hat", adjective="red")), "Anna hat einen roten Hut gekauft."),
    "adjective-mixed-feminine": (act(P("lamp", adjective="small")), "Anna hat eine kleine Lampe gekauft."),
    "adjective-mixed-neuter": (act(P("book", adjective="old")), "Anna hat ein altes Buch gekauft."),
    "adjective-weak-masculine": (
        act(P("ball", adjective="blue", definite=True), "to_hide"),
        "Anna hat den blauen Ball versteckt.",
    ),
    "adjective-weak-neuter": (
        act(P("bicycle", adjective="new", definite=True), "to_repair"),
        "Anna hat das neue Fahrrad repariert.",
    ),
    "adjective-weak-nominative": (
        say("own-belongs", agent="raj", object=P("dog", adjective="brown")),
        "Der braune Hund gehört Raj.",
    ),
    "adjective-strong-plural": (act(P("hat", count=3, adjective="red")), "Anna hat drei rote Hüte gekauft."),
    "adjective-weak-plural": (
        say("own-belongs", agent="raj", object=P("dog", count=2, adjective="big")),
        "Die zwei großen Hunde gehören Raj.",
    ),
    "adjective-stem-change": (act(P("coat", adjective="expensive")), "Anna hat einen teuren Mantel gekauft."),
    "adjective-predicate-uninflected": (
        say("quality", thing=P("lamp", definite=True), quality="red"),
        "Die Lampe ist rot.",
    ),
    "adjective-predicate-full-form": (
        say("quality", thing=P("dress", definite=True), quality="expensive"),
        "Das Kleid ist teuer.",
    ),
    "plural-umlaut": (act(P("apple", count=5)), "Anna hat fünf Äpfel gekauft."),
    "plural-zero": (act(P("plate", count=4)), "Anna hat vier Teller gekauft."),
    "plural-s": (act(P("sofa", count=2)), "Anna hat zwei Sofas gekauft."),
    "mass-no-article": (act("cheese"), "Anna hat Käse gekauft."),
    "time-fronted-inversion": (
        act("cheese", template="act-fronted", time="on_monday", place="market"),
        "Am Montag hat Anna auf dem Markt Käse gekauft.",
    ),
    "kein-masculine": (act("hat", template="act_not"), "Anna hat keinen Hut gekauft."),
    "kein-feminine-mass": (
        act("soup", "to_cook", "act_not", time="yesterday"),
        "Anna hat gestern keine Suppe gekocht.",
    ),
    "kein-neuter-adjective": (
        act(P("bed", adjective="white"), template="act_not"),
        "Anna hat kein weißes Bett gekauft.",
    ),
    "nicht-with-definite": (
        act(P("car", definite=True), "to_wash", "act_not", time="yesterday"),
        "Anna hat das Auto gestern nicht gewaschen.",
    ),
    "niemanden": (act("someone", "to_see", "act_not"), "Anna hat niemanden gesehen."),
    "nichts": (act("something", template="act_not"), "Anna hat nichts gekauft."),
    "kein-language": (say("speak_not", agent="ali", language="german"), "Ali spricht kein Deutsch."),
    "jemand-nominative": (act("apple", "to_eat", agent="someone"), "Jemand hat einen Apfel gegessen."),
    "jemand-dative": (say("own-belongs", agent="someone", object="cat"), "Die Katze gehört jemandem."),
    "hypernym-neuter": (act("any_garment"), "Anna hat ein Kleidungsstück gekauft."),
    "direction-accusative": (say("go", agent="emma", place="forest"), "Emma ging in den Wald."),
    "direction-contracted": (
        say("go-fronted", agent="emma", place="bank", time="yesterday"),
        "Gestern ging Emma zur Bank.",
    ),
    "location-dative": (say("at", thing=P("table", definite=True), place="kitchen"), "Der Tisch ist in der Küche."),
    "workplace-preposition": (say("work_at", agent="juma", place="university"), "Juma arbeitet an der Universität."),
    "genitive-name": (say("kin", agent="eva", kin="neighbour", other="emre"), "Eva ist Emres Nachbarin."),
    "genitive-name-sibilant": (say("live-home", agent="max", city="moscow"), "Max' Zuhause ist in Moskau."),
    "genitive-masculine": (
        say("cost-price", thing=P("chair", definite=True), price=40),
        "Der Preis des Stuhls beträgt 40 Euro.",
    ),
    "genitive-feminine": (
        say("q-cost2", thing=P("candle", definite=True), price=7),
        "Wie hoch ist der Preis der Kerze?",
    ),
    "genitive-neuter-es": (
        say("cost-price", thing=P("shirt", definite=True), price=40),
        "Der Preis des Hemdes beträgt 40 Euro.",
    ),
    "job-feminine": (say("job", agent="lena", job="doctor"), "Lena ist Ärztin."),
    "job-masculine": (say("job-works_as", agent="omar", job="nurse"), "Omar arbeitet als Krankenpfleger."),
    "job-subject": (act("bread", "to_eat", agent="nurse"), "Ein Krankenpfleger hat Brot gegessen."),
    "kin-masculine": (say("kin-of", agent="paul", kin="colleague", other="anna"), "Paul ist der Kollege von Anna."),
    "kin-feminine": (say("kin-of", agent="anna", kin="wife", other="paul"), "Anna ist die Frau von Paul."),
    "subordinate-verb-last-she": (
        say("because", agent="nina", reaction="went_to_bed", state="tired", time="last_night"),
        "Nina ging letzte Nacht ins Bett, weil sie müde war.",
    ),
    "subordinate-verb-last-he": (
        say("because", agent="ali", reaction="came_late", state="busy"),
        "Ali kam zu spät, weil er beschäftigt war.",
    ),
    "verb-plural": (
        say("group_did", group=P("children", definite=True), activity="to_play", place="park", time="yesterday"),
        "Die Kinder spielten gestern im Park.",
    ),
    "separable-reflexive-plural": (
        say("group_did", group=P("guests", definite=True), activity="to_rest", place="beach"),
        "Die Gäste ruhten sich am Strand aus.",
    ),
    "ditransitive-order": (
        say("give", agent="peter", other="anna", object=P("flower", adjective="white"), time="on_sunday"),
        "Peter hat Anna am Sonntag eine weiße Blume gegeben.",
    ),
    "received-from": (
        say("give-received", agent="peter", other="anna", object="letter", time="last_week"),
        "Anna hat letzte Woche von Peter einen Brief bekommen.",
    ),
    "perfect-with-sein": (
        say("travel", agent="jean", city="cairo", means="by_train", time="last_month"),
        "Jean ist letzten Monat mit dem Zug nach Kairo gereist.",
    ),
    "future": (
        say("will_travel", agent="jean", city="vienna", time="next_year"),
        "Jean wird nächstes Jahr nach Wien reisen.",
    ),
    "weather-bracket": (
        say("weather-fronted", weather="was_hot", city="rome", time="yesterday"),
        "Gestern war es in Rom heiß.",
    ),
    "weather-verb": (
        say("weather", weather="snowed", city="beijing", time="on_friday"),
        "In Peking schneite es am Freitag.",
    ),
    "habit-present": (
        say("habit", agent="mei", verb="to_eat", object="apple", frequency="every_day"),
        "Mei isst jeden Tag einen Apfel.",
    ),
    "modal-infinitive": (
        say("want", agent="mei", verb="to_draw", object="elephant"),
        "Mei will einen Elefanten zeichnen.",
    ),
    "instrument-no-article": (say("play", agent="mei", instrument="violin"), "Mei spielt Geige."),
    "instrument-hypernym": (say("play", agent="mei", instrument="any_instrument"), "Mei spielt ein Musikinstrument."),
    "question-definite": (
        act("elephant", "to_see", "q-act-agent", place="park"),
        "Wer hat im Park den Elefanten gesehen?",
    ),
    "question-counted": (
        say("q-count", counted=P("mouse", count=6), place="station"),
        "Wie viele Mäuse gibt es am Bahnhof?",
    ),
    "counted-fronted": (
        say("count_at-fronted", counted=P("horse", count=6), place="farm"),
        "Auf dem Bauernhof gibt es sechs Pferde.",
    ),
    "question-dative": (say("q-give-other", agent="eva", other="max", object="ring"), "Wem hat Eva den Ring gegeben?"),
    "comparison": (say("compare", agent="eva", comparison="taller", other="max"), "Eva ist größer als Max."),
    "birth-year": (say("born", agent="eva", city="athens", year=1985), "Eva wurde 1985 in Athen geboren."),
    "relative-clause": (
        say("q-work_for2", agent="eva", company="vega"),
        "Wie heißt die Firma, für die Eva arbeitet?",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_sentence(case):
    said, expected = CASES[case]
    assert said == expected


def test_every_noun_has_gender_and_plural():
    data = tomllib.loads(resources.files("xstilts.miniature").joinpath("languages", "de.toml").read_text("utf-8"))
    for category in (*GOODS, "hypernym"):
        for entry in data[category].values():
            assert entry["gender"] in "mfn"
            assert "pl" in entry
    for category in (*GOODS, *MASS, "hypernym"):
        for entry in data[category].values():
            assert ("gen" in entry) == (entry["gender"] != "f")
            assert ("acc" in entry) == (entry.get("gen", "")[-2:] == "en" and entry["form"][-2:] != "en")
    assert all("pl" not in entry and entry["gender"] in "mfn" for category in MASS for entry in data[category].values())


GENDERS = {
    "f": """
        Katze Kuh Ziege Ente Eule Schlange Maus Schildkröte Zeitung Zeitschrift Geschichte Kamera Uhr Lampe Jacke
        Krawatte Tasche Kiste Tasse Flasche Kerze Blume Gitarre Geige Trommel Flöte Orange Banane Zitrone Mango Birne
        Suppe Butter Milch
    """,
    "n": """
        Pferd Schaf Huhn Kaninchen Kamel Buch Gedicht Telefon Radio Bett Sofa Regal Auto Fahrrad Boot Motorrad Hemd
        Kleid Messer Spielzeug Bild Geschenk Klavier Brot Fleisch Salz Wasser Tier Fahrzeug Musikinstrument
        Kleidungsstück
    """,
}


def test_the_feminine_and_neuter_nouns_are_these():
    nouns = [GERMAN.lexicon[noun] for category in (*GOODS, *MASS, "hypernym") for noun in CATEGORIES[category]]
    for gender, those in GENDERS.items():
        assert {noun["form"] for noun in nouns if noun["gender"] == gender} == set(those.split())


def test_article_and_adjective_endings_fit_the_gender():
    endings = {"m": ("einen", "den", "en", "en"), "f": ("eine", "die", "e", "e"), "n": ("ein", "das", "es", "e")}
    for noun in (noun for category in GOODS for noun in CATEGORIES[category]):
        a, the, mixed, weak = endings[GERMAN.lexicon[noun]["gender"]]
        accusative = GERMAN.lexicon[noun].get("acc", GERMAN.lexicon[noun]["form"])
        assert act(P(noun, adjective="small")) == f"Anna hat {a} klein{mixed} {accusative} gekauft."
        assert act(P(noun, adjective="small", definite=True)) == f"Anna hat {the} klein{weak} {accusative} gekauft."


def test_a_location_is_dative_and_says_the_place():
    contracted = {"im": "dem", "am": "dem", "zum": "dem", "zur": "der", "ins": "das"}
    for place in CATEGORIES["place"]:
        entry = GERMAN.lexicon[place]
        article, noun = entry["form"].split()
        for form in ("loc", "dir", "work"):
            preposition, *rest = entry.get(form, entry["loc"]).split()
            found = [contracted[preposition], *rest] if preposition in contracted else rest
            dative = {"der": "dem", "das": "dem", "die": "der"}[article]
            moving = form == "dir" and preposition in ("in", "ins", "an", "auf")
            assert found == [{"der": "den"}.get(article, article) if moving else dative, noun]
