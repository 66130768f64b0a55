"""French sentences as a speaker writes them, and what holds of all of them."""

import re

import pytest

from saying import Filler, fact, relation_of, texts
from xstilts.miniature.grammar import Sentence
from xstilts.miniature.inventory import CATEGORIES, GOODS, MASS
from xstilts.miniature.languages.fr import French
from xstilts.miniature.world import Phrase

FRENCH = French()
P = Phrase


def build(template: str, **roles: Filler) -> Sentence:
    return FRENCH.sentence(fact(relation_of(template), **roles), template)


def say(template: str, **roles: Filler) -> str:
    return build(template, **roles).text


def act(object: Filler, verb: str = "to_buy", template: str = "act", agent: str = "anna", **more: str) -> str:
    return say(template, agent=agent, verb=verb, object=object, **more)


CASES = {
    "article-masculine": (act("hat"), "Anna a acheté un chapeau."),
    "article-feminine": (act("lamp"), "Anna a acheté une lampe."),
    "article-definite": (act(P("cup", definite=True), "to_break"), "Anna a cassé la tasse."),
    "elision-article-feminine": (act(P("clock", definite=True), "to_clean"), "Anna a nettoyé l'horloge."),
    "elision-article-masculine": (
        say("own-belongs", agent="raj", object="elephant"),
        "L'éléphant appartient à Raj.",
    ),
    "no-elision-aspirated-h": (say("own-belongs", agent="raj", object="owl"), "Le hibou appartient à Raj."),
    "no-elision-aspirated-name": (
        say("q-kin", agent="anna", kin="wife", other="hassan"),
        "Qui est la femme de Hassan ?",
    ),
    "elision-undone-by-adjective": (
        act(P("donkey", definite=True, adjective="small"), "to_feed"),
        "Anna a nourri le petit âne.",
    ),
    "elision-of-name": (say("kin", agent="eva", kin="neighbour", other="omar"), "Eva est la voisine d'Omar."),
    "elision-possessive-kin": (say("kin", agent="eva", kin="friend", other="paul"), "Eva est l'amie de Paul."),
    "elision-than": (say("compare", agent="max", comparison="taller", other="eva"), "Max est plus grand qu'Eva."),
    "comparison-feminine": (
        say("compare", agent="eva", comparison="slower", other="max"),
        "Eva est plus lente que Max.",
    ),
    "elision-what": (
        act("soup", "to_cook", "q-act-object", time="yesterday"),
        "Qu'est-ce qu'Anna a cuisiné hier ?",
    ),
    "elision-how-many": (
        say("q-count", counted=P("donkey", count=4), place="farm"),
        "Combien d'ânes y a-t-il à la ferme ?",
    ),
    "partitive-masculine": (act("bread", "to_eat"), "Anna a mangé du pain."),
    "partitive-feminine": (act("meat", "to_eat"), "Anna a mangé de la viande."),
    "partitive-elided": (act("water", "to_drink"), "Anna a bu de l'eau."),
    "partitive-compound": (act("juice", "to_drink"), "Anna a bu du jus de fruits."),
    "generic-definite": (say("like", agent="ali", object="water"), "Ali aime l'eau."),
    "negation-generic": (say("like_not", agent="ali", object="tea"), "Ali n'aime pas le thé."),
    "negation-de": (act("book", template="act_not", time="yesterday"), "Anna n'a pas acheté de livre hier."),
    "negation-de-elided": (act("orange", "to_eat", "act_not"), "Anna n'a pas mangé d'orange."),
    "negation-de-mass": (act("water", "to_drink", "act_not"), "Anna n'a pas bu d'eau."),
    "negation-definite": (
        act(P("car", definite=True), "to_wash", "act_not"),
        "Anna n'a pas lavé la voiture.",
    ),
    "negation-numeral": (act(P("apple", count=3), "to_eat", "act_not"), "Anna n'a pas mangé trois pommes."),
    "negation-nothing": (act("something", template="act_not", time="yesterday"), "Anna n'a rien acheté hier."),
    "negation-nobody": (act("someone", "to_see", "act_not", time="yesterday"), "Anna n'a vu personne hier."),
    "negation-ne-consonant": (say("can_not", agent="ali", skill="can_ride"), "Ali ne sait pas monter à cheval."),
    "negation-language": (say("speak_not", agent="ali", language="german"), "Ali ne parle pas allemand."),
    "someone": (act("apple", "to_eat", agent="someone"), "Quelqu'un a mangé une pomme."),
    "something": (act("something", "to_eat"), "Anna a mangé quelque chose."),
    "hypernym": (act("any_garment"), "Anna a acheté un vêtement."),
    "plural-regular": (act(P("apple", count=5)), "Anna a acheté cinq pommes."),
    "plural-x": (act(P("hat", count=2)), "Anna a acheté deux chapeaux."),
    "plural-aux": (act(P("horse", count=3), "to_see"), "Anna a vu trois chevaux."),
    "plural-invariable": (act(P("mouse", count=8), "to_see"), "Anna a vu huit souris."),
    "plural-compound": (act(P("camera", count=2)), "Anna a acheté deux appareils photo."),
    "plural-hiboux": (act(P("owl", count=2), "to_draw"), "Anna a dessiné deux hiboux."),
    "adjective-after-feminine": (act(P("lamp", adjective="white")), "Anna a acheté une lampe blanche."),
    "adjective-after-feminine-accent": (act(P("dress", adjective="expensive")), "Anna a acheté une robe chère."),
    "adjective-after-masculine-plural": (
        act(P("hat", adjective="blue", count=2)),
        "Anna a acheté deux chapeaux bleus.",
    ),
    "adjective-before-feminine-plural": (
        act(P("cow", adjective="beautiful", count=2)),
        "Anna a acheté deux belles vaches.",
    ),
    "adjective-before-vowel": (act(P("computer", adjective="old")), "Anna a acheté un vieil ordinateur."),
    "adjective-before-vowel-new": (act(P("camera", adjective="new")), "Anna a acheté un nouvel appareil photo."),
    "adjective-before-consonant": (act(P("bed", adjective="new")), "Anna a acheté un nouveau lit."),
    "adjective-before-feminine-vowel": (act(P("shelf", adjective="old")), "Anna a acheté une vieille étagère."),
    "adjective-before-aspirated-h": (act(P("owl", adjective="beautiful")), "Anna a acheté un beau hibou."),
    "adjective-invariable": (act(P("skirt", adjective="brown", count=2)), "Anna a acheté deux jupes marron."),
    "adjective-predicate-feminine": (
        say("quality", thing=P("table", definite=True), quality="heavy"),
        "La table est lourde.",
    ),
    "adjective-predicate-new": (say("quality", thing=P("car", definite=True), quality="new"), "La voiture est neuve."),
    "adjective-predicate-cheap": (
        say("quality", thing=P("plate", definite=True), quality="cheap"),
        "L'assiette est bon marché.",
    ),
    "contraction-du": (
        say("cost-price", thing=P("sofa", definite=True), price=40),
        "Le prix du canapé est de 40 euros.",
    ),
    "contraction-not-before-vowel": (
        say("q-cost2", thing=P("cupboard", definite=True), price=40),
        "Quel est le prix de l'armoire ?",
    ),
    "contraction-city": (say("live", agent="nina", city="cairo"), "Nina habite au Caire."),
    "play-du": (say("play", agent="nina", instrument="piano"), "Nina joue du piano."),
    "play-de-la": (say("play", agent="nina", instrument="guitar"), "Nina joue de la guitare."),
    "participle-etre-feminine": (say("go", agent="emma", place="forest"), "Emma est allée dans la forêt."),
    "participle-etre-masculine": (
        say("go-fronted", agent="ivan", place="school", time="on_monday"),
        "Lundi, Ivan est allé à l'école.",
    ),
    "participle-etre-generic-job": (
        say("go", agent=P("nurse", definite=True), place="hospital"),
        "L'infirmier est allé à l'hôpital.",
    ),
    "participle-reflexive-feminine": (
        say("travel", agent="mei", city="vienna", means="by_train", time="last_year"),
        "Mei s'est rendue à Vienne en train l'année dernière.",
    ),
    "participle-reflexive-plural": (
        say("group_did", group=P("guests", definite=True), activity="to_rest", place="beach"),
        "Les invités se sont reposés à la plage.",
    ),
    "participle-reflexive-animal": (
        say("did", agent=P("cow", definite=True), activity="to_rest", time="yesterday"),
        "La vache s'est reposée hier.",
    ),
    "participle-avoir-no-agreement": (
        say("did", agent=P("cow", definite=True), activity="to_sleep", place="garden"),
        "La vache a dormi dans le jardin.",
    ),
    "auxiliary-plural": (
        say("group_did", group=P("children", definite=True), activity="to_play", place="park", time="yesterday"),
        "Les enfants ont joué dans le parc hier.",
    ),
    "verb-plural": (say("own-belongs", agent="raj", object=P("dog", count=2)), "Les deux chiens appartiennent à Raj."),
    "born-feminine": (say("born", agent="lena", city="athens", year=1985), "Lena est née à Athènes en 1985."),
    "inversion-she": (act("rice", "to_eat", "q-act-place"), "Où Anna a-t-elle mangé le riz ?"),
    "inversion-he": (act("rice", "to_eat", "q-act-time", agent="ali"), "Quand Ali a-t-il mangé le riz ?"),
    "inversion-reflexive": (
        say("q-travel-means", agent="eva", city="london", means="by_bus"),
        "Comment Eva s'est-elle rendue à Londres ?",
    ),
    "to-whom": (say("q-give-other", agent="eva", other="max", object="ring"), "À qui Eva a-t-elle donné la bague ?"),
    "job-feminine": (say("job", agent="lena", job="nurse"), "Lena est infirmière."),
    "job-masculine": (say("job-works_as", agent="omar", job="nurse"), "Omar travaille comme infirmier."),
    "job-epicene": (say("job", agent="lena", job="doctor"), "Lena est médecin."),
    "kin-named": (say("kin-of", agent="paul", kin="colleague", other="anna"), "Le collègue d'Anna s'appelle Paul."),
    "state-adjective-feminine": (say("feel_not", agent="anna", state="happy"), "Anna n'est pas heureuse."),
    "state-with-avoir": (say("feel_not", agent="anna", state="hungry"), "Anna n'a pas faim."),
    "because-she": (
        say("because", agent="nina", reaction="went_to_bed", state="tired", time="last_night"),
        "Nina est allée se coucher la nuit dernière parce qu'elle était fatiguée.",
    ),
    "because-he-avoir": (
        say("because", agent="ali", reaction="drank_water", state="thirsty"),
        "Ali a bu de l'eau parce qu'il avait soif.",
    ),
    "weather-fronted": (
        say("weather-fronted", weather="was_sunny", city="cairo", time="last_week"),
        "La semaine dernière, il y a eu du soleil au Caire.",
    ),
    "habit": (
        say("habit", agent="mei", verb="to_drink", object="milk", frequency="every_evening"),
        "Mei boit du lait chaque soir.",
    ),
    "bought-from": (
        say("sell_to-bought", agent="omar", other="mei", object=P("truck", adjective="red"), time="on_friday"),
        "Mei a acheté un camion rouge à Omar vendredi.",
    ),
    "capital-accent": (
        say("count_at-fronted", counted=P("bear", count=2), place="station"),
        "À la gare, il y a deux ours.",
    ),
    "passive-feminine": (
        say("q-founded", company="orion", year=1990),
        "En quelle année la société Orion a-t-elle été fondée ?",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_sentence(case):
    said, expected = CASES[case]
    assert said == expected


def test_answers_are_one_stretch():
    sentence = build("act", agent="anna", verb="to_drink", object="water", place="hotel")
    assert [sentence.text[slice(*sentence.span(role))] for role in ("object", "place")] == ["de l'eau", "l'hôtel"]
    sentence = build("live", agent="anna", city="cairo")
    assert sentence.text[slice(*sentence.span("city"))] == "Caire"


def test_every_noun_has_a_gender_and_agrees():
    for noun in (noun for category in GOODS for noun in CATEGORIES[category]):
        article, adjective = {"m": ("un", "vert"), "f": ("une", "verte")}[FRENCH.lexicon[noun]["gender"]]
        assert act(P(noun, adjective="green")) == f"Anna a acheté {article} {FRENCH.lexicon[noun]['form']} {adjective}."
        plural = act(P(noun, adjective="green", count=2))
        assert re.fullmatch(rf"Anna a acheté deux [\w ]+ {adjective}s\.", plural)
        assert plural.split(f" {adjective}")[0].split()[3][-1] in "sx"
    assert all(FRENCH.lexicon[noun]["gender"] in "mf" for category in MASS for noun in CATEGORIES[category])


FEMININE = """
vache chèvre poule souris tortue lettre histoire radio horloge lampe télévision table chaise armoire étagère voiture
moto chemise robe écharpe veste jupe ceinture cravate clé boîte tasse bouteille bague assiette bougie fleur guitare
flûte pomme orange banane mangue poire viande soupe eau
"""


def test_the_feminine_nouns_are_these():
    nouns = [FRENCH.lexicon[noun] for category in (*GOODS, *MASS, "hypernym") for noun in CATEGORIES[category]]
    assert {noun["form"] for noun in nouns if noun["gender"] == "f"} == set(FEMININE.split())


def test_adjectives_have_four_forms_that_fit():
    for adjective in (*CATEGORIES["colour"], *CATEGORIES["quality"], *CATEGORIES["comparison"]):
        for forms in (value for value in FRENCH.lexicon[adjective].values() if not isinstance(value, str)):
            _, feminine, plural, feminine_plural = forms
            assert feminine.endswith("e")
            assert plural[-1] in "sx"
            assert feminine_plural == feminine + "s"


def test_places_have_the_articles_gender():
    for place in CATEGORIES["place"]:
        entry = FRENCH.lexicon[place]
        the, noun = re.fullmatch(r"(le |la |l')(\w+)", entry["form"]).groups()
        allowed = {f"dans {the}{noun}", f"au {noun}" if the == "le " else f"à {the}{noun}"}
        assert {entry["loc"], entry["dir"]} <= allowed


def test_vowels_elide_and_articles_contract():
    for text in texts("fr"):
        assert not re.search(r"\b([ldn]e|la|que|à le|de les?) [aeiouéèêh](?!ibou|assan)", text, re.IGNORECASE), text
        assert not re.search(r"\b(de|à) les?\b", text), text
