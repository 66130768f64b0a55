"""Spanish: gender and number, articles, personal a, contractions, ser and estar, gustar; whole-lexicon checks."""

from __future__ import annotations

import re

import pytest

from xstilts.miniature.inventory import CATEGORIES, DEFINITE_VERBS, GOODS, MASS, OBJECTS, QUESTIONS, TEMPLATES
from xstilts.miniature.languages.es import Spanish
from xstilts.miniature.world import Fact, Phrase, World

SPANISH = Spanish()
P = Phrase


def act(verb: str, what: Phrase, relation: str = "act", **more: str) -> Fact:
    roles = {"agent": P("anna"), "verb": P(verb), "object": what} | {role: P(name) for role, name in more.items()}
    return Fact(relation, roles)


def own(lexeme: str, count: int = 1, adjective: str = "") -> Fact:
    return Fact("own", {"agent": P("omar"), "object": P(lexeme, count=count, adjective=adjective)})


def about(relation: str, thing: str, **roles: str | int) -> Fact:
    """A fact about the thing, which is definite."""
    return Fact(relation, {"thing": P(thing, definite=True), **plain(relation, **roles).roles})


def plain(relation: str, **roles: str | int) -> Fact:
    return Fact(relation, {r: P(figure=v) if isinstance(v, int) else P(v) for r, v in roles.items()})


def counted(thing: str, count: int, place: str) -> Fact:
    return Fact("count_at", {"counted": P(thing, count=count), "place": P(place)})


EXPECTED = {
    "article-masculine": (own("mirror"), "", "Omar tiene un espejo."),
    "article-feminine": (own("snake"), "", "Omar tiene una serpiente."),
    "masculine-in-a": (act("to_write", P("poem", adjective="beautiful")), "", "Ana escribió un poema bonito."),
    "feminine-in-o": (own("radio", adjective="old"), "", "Omar tiene una radio vieja."),
    "adjective-feminine": (own("cow", adjective="black"), "", "Omar tiene una vaca negra."),
    "adjective-one-ending": (own("car", adjective="blue"), "", "Omar tiene un coche azul."),
    "adjective-masculine-plural": (own("piano", 2, "white"), "", "Omar tiene dos pianos blancos."),
    "adjective-feminine-plural": (own("lamp", 3, "red"), "", "Omar tiene tres lámparas rojas."),
    "adjective-plural-consonant": (own("bicycle", 4, "blue"), "", "Omar tiene cuatro bicicletas azules."),
    "adjective-plural-loses-accent": (own("goat", 2, "brown"), "", "Omar tiene dos cabras marrones."),
    "plural-loses-accent": (own("truck", 5), "", "Omar tiene cinco camiones."),
    "plural-in": (own("violin", 6), "", "Omar tiene seis violines."),
    "plural-accent-vowel": (act("to_buy", P("sofa", count=2)), "", "Ana compró dos sofás."),
    "plural-consonant": (own("clock", 7), "", "Omar tiene siete relojes."),
    "plural-invariable": (act("to_find", P("umbrella", count=8)), "", "Ana encontró ocho paraguas."),
    "plural-jersey": (act("to_buy", P("sweater", count=9)), "", "Ana compró nueve jerséis."),
    "plural-compound": (own("any_instrument", 2), "", "Omar tiene dos instrumentos musicales."),
    "mass-without-article": (act("to_drink", P("milk")), "", "Ana bebió leche."),
    "mass-with-article-in-question": (act("to_drink", P("milk")), "q-act-agent", "¿Quién bebió la leche?"),
    "feminine-el": (act("to_drink", P("water")), "q-act-agent", "¿Quién bebió el agua?"),
    "object-definite": (act("to_break", P("plate", definite=True)), "", "Ana rompió el plato."),
    "definite-plural": (act("to_sell", P("chair", count=3)), "q-act-agent", "¿Quién vendió las sillas?"),
    "personal-a-person": (act("to_see", P("someone")), "", "Ana vio a alguien."),
    "personal-a-animal-contracted": (act("to_feed", P("dog", definite=True)), "", "Ana alimentó al perro."),
    "personal-a-animal-feminine": (act("to_feed", P("sheep", definite=True)), "", "Ana alimentó a la oveja."),
    "personal-a-not-indefinite": (act("to_see", P("lion", adjective="big")), "", "Ana vio un león grande."),
    "personal-a-known-in-question": (act("to_see", P("lion")), "q-act-agent", "¿Quién vio al león?"),
    "personal-a-not-thing": (act("to_see", P("key")), "q-act-agent", "¿Quién vio la llave?"),
    "personal-a-not-every-verb": (act("to_buy", P("horse")), "q-act-agent", "¿Quién compró el caballo?"),
    "asked-with-a": (act("to_feed", P("dog", definite=True)), "q-act-object", "¿A qué animal alimentó Ana?"),
    "asked-thing": (
        act("to_read", P("letter"), place="park", time="yesterday"),
        "q-act-object",
        "¿Qué leyó Ana en el parque ayer?",
    ),
    "participle-feminine": (act("to_borrow", P("guitar")), "", "Ana tomó prestada una guitarra."),
    "participle-plural": (act("to_borrow", P("book", count=2)), "", "Ana tomó prestados dos libros."),
    "participle-in-question": (act("to_borrow", P("camera")), "q-act-object", "¿Qué tomó prestado Ana?"),
    "negation-apocope": (act("to_buy", P("hat"), "act_not"), "", "Ana no compró ningún sombrero."),
    "negation-feminine": (act("to_draw", P("pear"), "act_not"), "", "Ana no dibujó ninguna pera."),
    "negation-definite": (act("to_forget", P("bag", definite=True), "act_not"), "", "Ana no olvidó la bolsa."),
    "negation-mass": (act("to_eat", P("rice"), "act_not"), "", "Ana no comió arroz."),
    "negation-pronoun-thing": (act("to_bring", P("something"), "act_not"), "", "Ana no trajo nada."),
    "negation-pronoun-person": (act("to_see", P("someone"), "act_not"), "", "Ana no vio a nadie."),
    "contraction-al": (plain("go", agent="emma", place="market"), "", "Emma fue al mercado."),
    "no-contraction-la": (plain("go", agent="emma", place="beach"), "", "Emma fue a la playa."),
    "no-contraction-of-names": (
        plain("travel", agent="emma", city="cairo", means="by_plane"),
        "",
        "Emma viajó a El Cairo en avión.",
    ),
    "contraction-del": (about("cost", "coat", price=30), "cost-price", "El precio del abrigo es de 30 euros."),
    "no-contraction-de-la": (about("cost", "skirt", price=9), "cost-price", "El precio de la falda es de 9 euros."),
    "ser-quality": (about("quality", "flower", quality="expensive"), "", "La flor es cara."),
    "estar-quality": (about("quality", "cup", quality="dirty"), "", "La taza está sucia."),
    "estar-quality-masculine": (about("quality", "knife", quality="clean"), "", "El cuchillo está limpio."),
    "estar-place": (about("at", "bear", place="forest"), "", "El oso está en el bosque."),
    "participle-made-of": (about("made_of", "box", material="of_metal"), "", "La caja está hecha de metal."),
    "state-feminine": (plain("feel", agent="lena", state="angry"), "", "Lena está enfadada."),
    "state-masculine": (plain("feel_not", agent="david", state="busy"), "", "David no está ocupado."),
    "state-of-job": (
        Fact("feel", {"agent": P("nurse", definite=True), "state": P("sick")}),
        "",
        "El enfermero está enfermo.",
    ),
    "state-noun": (plain("feel", agent="lena", state="thirsty"), "", "Lena tiene sed."),
    "because-imperfect": (
        plain("because", agent="mei", reaction="went_to_bed", state="tired", time="last_night"),
        "",
        "Mei se acostó anoche porque estaba cansada.",
    ),
    "gustar": (plain("like", agent="ali", object="honey"), "", "A Ali le gusta la miel."),
    "gustar-negated": (plain("like_not", agent="asha", object="water"), "", "A Asha no le gusta el agua."),
    "gustar-question": (plain("like", agent="asha", object="tea"), "q-like", "¿Qué le gusta a Asha?"),
    "clitic-doubling": (
        Fact("give", {"agent": P("juma"), "other": P("maria"), "object": P("flower", adjective="white")}),
        "",
        "Juma le dio una flor blanca a María.",
    ),
    "clitic-doubling-question": (
        plain("give", agent="juma", other="maria", object="ring", time="on_friday"),
        "q-give-other",
        "¿A quién le dio Juma el anillo el viernes?",
    ),
    "job-feminine": (plain("job", agent="sofia", job="judge"), "", "Sofía es jueza."),
    "job-feminine-irregular": (plain("job", agent="sofia", job="actor"), "job-works_as", "Sofía trabaja como actriz."),
    "job-masculine": (plain("job", agent="ivan", job="cook"), "", "Iván es cocinero."),
    "job-common-gender": (plain("job", agent="clara", job="journalist"), "", "Clara es periodista."),
    "comparison-feminine": (
        plain("compare", agent="eva", comparison="taller", other="raj"),
        "",
        "Eva es más alta que Raj.",
    ),
    "comparison-suppletive": (
        plain("compare", agent="eva", comparison="older", other="raj"),
        "",
        "Eva es mayor que Raj.",
    ),
    "kin-feminine": (plain("kin", agent="nina", kin="friend", other="max"), "", "Nina es amiga de Max."),
    "kin-article": (plain("kin", agent="nina", kin="wife", other="max"), "", "Nina es la esposa de Max."),
    "kin-called": (
        plain("kin", agent="paul", kin="neighbour", other="max"),
        "kin-of",
        "Un vecino de Max se llama Paul.",
    ),
    "how-many-feminine": (counted("bed", 4, "hotel"), "q-count", "¿Cuántas camas hay en el hotel?"),
    "how-many-masculine": (counted("mouse", 4, "farm"), "q-count", "¿Cuántos ratones hay en la granja?"),
    "there-are": (counted("lion", 2, "station"), "count_at-fronted", "En la estación hay dos leones."),
    "verb-plural": (
        plain("group_did", group="tourists", activity="to_sleep", place="airport"),
        "",
        "Los turistas durmieron en el aeropuerto.",
    ),
    "verb-singular": (
        Fact("did", {"agent": P("duck", definite=True), "activity": P("to_laugh")}),
        "",
        "El pato se rio.",
    ),
    "present": (
        plain("habit", agent="omar", verb="to_read", object="newspaper", frequency="every_day"),
        "",
        "Omar lee un periódico todos los días.",
    ),
    "infinitive": (plain("want", agent="omar", verb="to_order", object="soup"), "", "Omar quiere pedir sopa."),
    "future": (
        plain("will_travel", agent="zuri", city="london", means="by_train", time="next_week"),
        "",
        "Zuri viajará a Londres en tren la próxima semana.",
    ),
    "weather": (
        plain("weather", weather="was_cold", city="moscow", time="on_monday"),
        "",
        "Hizo frío en Moscú el lunes.",
    ),
    "hours": (plain("opens", place="library", hour=9), "", "La biblioteca abre a las 9."),
    "inverted-question-mark-and-capital": (about("at", "cat", place="park"), "q-at", "¿Dónde está el gato?"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_sentence(name: str) -> None:
    fact, template, expected = EXPECTED[name]
    assert SPANISH.sentence(fact, template).text == expected


GENDERS = {
    "f": "vaca cabra oveja gallina serpiente tortuga carta revista radio cámara lámpara nevera mesa silla "
    "cama estantería alfombra bicicleta motocicleta camisa bufanda chaqueta falda corbata llave bolsa "
    "caja taza botella pelota cesta vela flor guitarra flauta manzana naranja pera carne sopa miel "
    "mantequilla sal leche agua prenda",
    "m": "perro gato caballo pato conejo mono elefante león búho ratón burro camello oso loro libro "
    "periódico poema cuento teléfono ordenador reloj televisor armario sofá espejo coche camión barco "
    "tractor sombrero abrigo vestido cinturón jersey cuchillo paraguas anillo bolígrafo plato juguete "
    "cuadro regalo piano violín tambor plátano limón mango pan arroz queso pescado azúcar té café zumo "
    "animal vehículo instrumento",
}


@pytest.mark.parametrize("gender", GENDERS)
def test_gender_of_every_noun(gender: str) -> None:
    nouns = [
        (SPANISH.lexicon[noun]["form"].split()[0], SPANISH.agreement(P(noun)))
        for category in (*GOODS, *MASS, "hypernym")
        for noun in CATEGORIES[category]
    ]
    assert {noun for noun, found in nouns if found == gender} == set(GENDERS[gender].split())


def all_sentences() -> list[tuple[str, list[tuple[str, str]]]]:
    world, found = World("train", 5), []
    for template in TEMPLATES:
        relation = QUESTIONS[template].relation if template in QUESTIONS else template.split("-")[0]
        for _ in range(12):
            sentence = SPANISH.sentence(world.fact(relation), template)
            found.append((sentence.text, [(word.text, word.upos) for word in sentence.words]))
    for verb, allowed in OBJECTS.items():
        for noun in (n for a in (*allowed, "pronoun") for n in CATEGORIES.get(a, (a,))):
            what = P(noun, definite=verb in DEFINITE_VERBS)
            for relation, template in (("act", "act"), ("act_not", "act_not"), ("act", "q-act-agent")):
                sentence = SPANISH.sentence(act(verb, what, relation), template)
                found.append((sentence.text, [(word.text, word.upos) for word in sentence.words]))
    return found


def test_every_sentence_is_spanish_and_tagged() -> None:
    for text, words in all_sentences():
        assert re.fullmatch(r"[A-ZÁÉ][A-Za-z0-9áéíóúñÁÉ ]+\.|¿[A-ZÁÉ][A-Za-z0-9áéíóúñÁÉ ]+\?", text), text
        assert "  " not in text
        assert not re.search(r"\b([Aa]|de) el\b", text), text
        assert not re.search(r"\ba a\b", text), text
        assert all(upos != "X" and word for word, upos in words), words


def test_lexemes_of_a_category_differ() -> None:
    for category, lexemes in CATEGORIES.items():
        spelled = [str(SPANISH.lexicon[lexeme].get("form", SPANISH.lexicon[lexeme].get("past"))) for lexeme in lexemes]
        assert len(set(spelled)) == len(spelled), category


def test_garment_agrees() -> None:
    assert SPANISH.sentence(own("any_garment", 2, "red")).text == "Omar tiene dos prendas de ropa rojas."


def test_answers_are_one_stretch_and_without_the_preposition() -> None:
    text = "Ana alimentó al perro."
    start, end = SPANISH.sentence(act("to_feed", P("dog", definite=True))).span("object")
    assert text[start:end] == "perro"
    sentence = SPANISH.sentence(act("to_write", P("story"), place="station"))
    start, end = sentence.span("place")
    assert sentence.text[start:end] == "la estación"
