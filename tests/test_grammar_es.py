"""Spanish: gender and number, articles, personal a, contractions, ser and estar, gustar; whole-lexicon checks."""

from __future__ import annotations

import re

import pytest

from saying import act, counted, fact, texts
from xstilts.miniature.inventory import CATEGORIES, GOODS, MASS
from xstilts.miniature.languages.es import Spanish
from xstilts.miniature.world import Fact, Phrase

SPANISH = Spanish()
P = Phrase


def own(lexeme: str, count: int = 1, adjective: str = "") -> Fact:
    return fact("own", "omar", P(lexeme, count=count, adjective=adjective))


def about(relation: str, thing: str, **roles: str | int) -> Fact:
    """A fact about the thing, which is definite."""
    return fact(relation, P(thing, definite=True), **roles)


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
    "contraction-al": (fact("go", agent="emma", place="market"), "", "Emma fue al mercado."),
    "no-contraction-la": (fact("go", agent="emma", place="beach"), "", "Emma fue a la playa."),
    "no-contraction-of-names": (
        fact("travel", agent="emma", city="cairo", means="by_plane"),
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
    "state-feminine": (fact("feel", agent="lena", state="angry"), "", "Lena está enfadada."),
    "state-masculine": (fact("feel_not", agent="david", state="busy"), "", "David no está ocupado."),
    "state-of-job": (
        fact("feel", P("nurse", definite=True), "sick"),
        "",
        "El enfermero está enfermo.",
    ),
    "state-noun": (fact("feel", agent="lena", state="thirsty"), "", "Lena tiene sed."),
    "because-imperfect": (
        fact("because", agent="mei", reaction="went_to_bed", state="tired", time="last_night"),
        "",
        "Mei se acostó anoche porque estaba cansada.",
    ),
    "gustar": (fact("like", agent="ali", object="honey"), "", "A Ali le gusta la miel."),
    "gustar-negated": (fact("like_not", agent="asha", object="water"), "", "A Asha no le gusta el agua."),
    "gustar-question": (fact("like", agent="asha", object="tea"), "q-like", "¿Qué le gusta a Asha?"),
    "clitic-doubling": (
        fact("give", "juma", "maria", P("flower", adjective="white")),
        "",
        "Juma le dio una flor blanca a María.",
    ),
    "clitic-doubling-question": (
        fact("give", agent="juma", other="maria", object="ring", time="on_friday"),
        "q-give-other",
        "¿A quién le dio Juma el anillo el viernes?",
    ),
    "job-feminine": (fact("job", agent="sofia", job="judge"), "", "Sofía es jueza."),
    "job-feminine-irregular": (fact("job", agent="sofia", job="actor"), "job-works_as", "Sofía trabaja como actriz."),
    "job-masculine": (fact("job", agent="ivan", job="cook"), "", "Iván es cocinero."),
    "job-common-gender": (fact("job", agent="clara", job="journalist"), "", "Clara es periodista."),
    "comparison-feminine": (
        fact("compare", agent="eva", comparison="taller", other="raj"),
        "",
        "Eva es más alta que Raj.",
    ),
    "comparison-suppletive": (
        fact("compare", agent="eva", comparison="older", other="raj"),
        "",
        "Eva es mayor que Raj.",
    ),
    "kin-feminine": (fact("kin", agent="nina", kin="friend", other="max"), "", "Nina es amiga de Max."),
    "kin-article": (fact("kin", agent="nina", kin="wife", other="max"), "", "Nina es la esposa de Max."),
    "kin-called": (
        fact("kin", agent="paul", kin="neighbour", other="max"),
        "kin-of",
        "Un vecino de Max se llama Paul.",
    ),
    "how-many-feminine": (counted("bed", 4, "hotel"), "q-count", "¿Cuántas camas hay en el hotel?"),
    "how-many-masculine": (counted("mouse", 4, "farm"), "q-count", "¿Cuántos ratones hay en la granja?"),
    "there-are": (counted("lion", 2, "station"), "count_at-fronted", "En la estación hay dos leones."),
    "verb-plural": (
        fact("group_did", group="tourists", activity="to_sleep", place="airport"),
        "",
        "Los turistas durmieron en el aeropuerto.",
    ),
    "verb-singular": (
        fact("did", P("duck", definite=True), "to_laugh"),
        "",
        "El pato se rio.",
    ),
    "present": (
        fact("habit", agent="omar", verb="to_read", object="newspaper", frequency="every_day"),
        "",
        "Omar lee un periódico todos los días.",
    ),
    "infinitive": (fact("want", agent="omar", verb="to_order", object="soup"), "", "Omar quiere pedir sopa."),
    "future": (
        fact("will_travel", agent="zuri", city="london", means="by_train", time="next_week"),
        "",
        "Zuri viajará a Londres en tren la próxima semana.",
    ),
    "weather": (
        fact("weather", weather="was_cold", city="moscow", time="on_monday"),
        "",
        "Hizo frío en Moscú el lunes.",
    ),
    "hours": (fact("opens", place="library", hour=9), "", "La biblioteca abre a las 9."),
    "inverted-question-mark-and-capital": (about("at", "cat", place="park"), "q-at", "¿Dónde está el gato?"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_sentence(name: str) -> None:
    said, template, expected = EXPECTED[name]
    assert SPANISH.sentence(said, template).text == expected


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


def test_articles_contract() -> None:
    for text in texts("es"):
        assert not re.search(r"\b([Aa]|de) el\b", text), text
        assert not re.search(r"\ba a\b", text), text


def test_garment_agrees() -> None:
    assert SPANISH.sentence(own("any_garment", 2, "red")).text == "Omar tiene dos prendas de ropa rojas."


def test_answers_are_one_stretch_and_without_the_preposition() -> None:
    text = "Ana alimentó al perro."
    start, end = SPANISH.sentence(act("to_feed", P("dog", definite=True))).span("object")
    assert text[start:end] == "perro"
    sentence = SPANISH.sentence(act("to_write", P("story"), place="station"))
    start, end = sentence.span("place")
    assert sentence.text[start:end] == "la estación"
