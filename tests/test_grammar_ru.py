"""Russian sentences as a speaker writes them."""

from __future__ import annotations

import pytest

from saying import fact, members
from xstilts.miniature.inventory import CATEGORIES, FOUND_AT, GOODS, HABITS, MASS, OBJECTS, WOMEN
from xstilts.miniature.languages.ru import Russian
from xstilts.miniature.world import Fact, Phrase

RU = Russian()
P = Phrase


def buys(agent: str, **phrase: object) -> Fact:
    return fact("act", agent, "to_buy", P(**phrase))  # type: ignore[arg-type]


EXPECTED = {
    "past-feminine": (fact("act", "anna", "to_buy", "bread"), "", "Анна купила хлеб."),
    "past-masculine": (fact("act", "peter", "to_find", "key"), "", "Питер нашёл ключ."),
    "past-irregular-feminine": (fact("act", "mei", "to_find", "ring"), "", "Мэй нашла кольцо."),
    "past-neuter-and-soft-sign-accusative": (
        fact("act", P("any_animal", definite=True), "to_see", "horse"),
        "",
        "Животное видело лошадь.",
    ),
    "past-man-in-a": (fact("act", "juma", "to_lose", P("scarf", definite=True)), "", "Джума потерял шарф."),
    "past-nurse-feminine": (fact("act", "nurse", "to_carry", "basket"), "", "Медсестра несла корзину."),
    "past-judge-masculine": (fact("act", "judge", "to_read", "newspaper"), "", "Судья прочитал газету."),
    "past-pronoun-masculine": (fact("act", "someone", "to_steal", "bicycle"), "", "Кто-то украл велосипед."),
    "pronoun-object-before-verb": (
        fact("act", "anna", "to_buy", "something", place="market", time="yesterday"),
        "",
        "Анна вчера что-то купила на рынке.",
    ),
    "pronoun-object-before-literal-verb": (fact("give", "zuri", "thomas", "something"), "", "Зури что-то дала Томасу."),
    "accusative-feminine": (fact("act", "wei", "to_see", "candle"), "", "Вэй видел свечу."),
    "accusative-animate-genitive": (fact("act", "anna", "to_see", "lion"), "", "Анна видела льва."),
    "accusative-animate-adjective": (
        buys("ivan", lexeme="donkey", adjective="small"),
        "",
        "Иван купил маленького осла.",
    ),
    "accusative-animate-feminine-adjective": (
        buys("ivan", lexeme="cow", adjective="brown"),
        "",
        "Иван купил коричневую корову.",
    ),
    "accusative-soft-adjective": (buys("eva", lexeme="skirt", adjective="blue"), "", "Ева купила синюю юбку."),
    "accusative-soft-adjective-neuter": (buys("eva", lexeme="dress", adjective="blue"), "", "Ева купила синее платье."),
    "adjective-indeclinable-noun": (buys("eva", lexeme="coat", adjective="black"), "", "Ева купила чёрное пальто."),
    "adjective-stressed-ending": (
        buys("ali", lexeme="mirror", adjective="expensive"),
        "",
        "Али купил дорогое зеркало.",
    ),
    "two-feminine": (buys("anna", lexeme="pear", count=2), "", "Анна купила две груши."),
    "two-masculine": (buys("anna", lexeme="carpet", count=2), "", "Анна купила два ковра."),
    "three-neuter": (buys("anna", lexeme="apple", count=3), "", "Анна купила три яблока."),
    "four-animate": (buys("anna", lexeme="dog", count=4), "", "Анна купила четырёх собак."),
    "two-animate": (buys("anna", lexeme="bear", count=2), "", "Анна купила двух медведей."),
    "three-animate-sheep": (buys("anna", lexeme="sheep", count=3), "", "Анна купила трёх овец."),
    "five-animate": (buys("anna", lexeme="elephant", count=5), "", "Анна купила пять слонов."),
    "five-fleeting-vowel": (buys("anna", lexeme="cup", count=6), "", "Анна купила шесть чашек."),
    "five-irregular": (buys("anna", lexeme="chair", count=7), "", "Анна купила семь стульев."),
    "five-indeclinable": (buys("anna", lexeme="mango", count=8), "", "Анна купила восемь манго."),
    "two-with-adjective": (
        buys("anna", lexeme="table", count=2, adjective="big"),
        "",
        "Анна купила два больших стола.",
    ),
    "two-feminine-with-adjective": (
        buys("anna", lexeme="lamp", count=2, adjective="new"),
        "",
        "Анна купила две новые лампы.",
    ),
    "two-animate-with-adjective": (
        buys("anna", lexeme="cat", count=2, adjective="white"),
        "",
        "Анна купила двух белых кошек.",
    ),
    "five-with-adjective": (
        buys("anna", lexeme="knife", count=5, adjective="cheap"),
        "",
        "Анна купила пять дешёвых ножей.",
    ),
    "two-nominalised-adjective": (
        fact("count_at", P("any_animal", count=2), "farm"),
        "",
        "На ферме два животных.",
    ),
    "two-hypernym-of-two-words": (
        buys("raj", lexeme="any_vehicle", count=3),
        "",
        "Радж купил три транспортных средства.",
    ),
    "five-garments": (buys("raj", lexeme="any_garment", count=5), "", "Радж купил пять предметов одежды."),
    "counted-nominative-animate": (fact("count_at", P("cow", count=3), "garden"), "", "В саду три коровы."),
    "counted-five-locative-u": (fact("count_at", P("boat", count=9), "harbour"), "", "В порту девять лодок."),
    "counted-with-verb": (
        fact("count_at", P("bed", count=4), "hotel"),
        "count_at-fronted",
        "В гостинице есть четыре кровати.",
    ),
    "how-many-genitive-plural": (
        fact("count_at", P("mouse", count=2), "kitchen"),
        "q-count",
        "Сколько мышей на кухне?",
    ),
    "aspect-eat-mass": (fact("act", "lena", "to_eat", "fish"), "", "Лена ела рыбу."),
    "aspect-eat-whole": (fact("act", "lena", "to_eat", "banana"), "", "Лена съела банан."),
    "aspect-denied": (
        fact("act_not", "max", "to_read", "letter", time="on_tuesday"),
        "",
        "Макс во вторник не читал письмо.",
    ),
    "aspect-denied-perfective": (fact("act_not", "sara", "to_break", "mirror"), "", "Сара не разбила зеркало."),
    "verb-by-object-wash": (fact("act", "emre", "to_wash", "shirt"), "", "Эмре постирал рубашку."),
    "verb-by-object-wash-fruit": (fact("act", "elif", "to_wash", "orange"), "", "Элиф помыла апельсин."),
    "verb-by-object-toy": (fact("act", "elif", "to_break", "toy"), "", "Элиф сломала игрушку."),
    "motion-takes-accusative-place": (
        fact("act", "omar", "to_bring", "flower", place="library"),
        "",
        "Омар принёс в библиотеку цветок.",
    ),
    "motion-asks-where-to": (
        fact("act", "anna", "to_bring", "flower", place="library"),
        "q-act-place",
        "Куда Анна принесла цветок?",
    ),
    "rest-asks-where": (
        fact("act", "anna", "to_hide", "flower", place="library", time="last_week"),
        "q-act-place",
        "Где Анна на прошлой неделе спрятала цветок?",
    ),
    "who-is-masculine": (
        fact("act", "anna", "to_find", "cat", place="forest"),
        "q-act-agent",
        "Кто нашёл кошку в лесу?",
    ),
    "whom-of-animals": (fact("act", "anna", "to_feed", "rabbit"), "q-act-object", "Кого Анна покормила?"),
    "what-of-things": (fact("act", "anna", "to_forget", "pen"), "q-act-object", "Что Анна забыла?"),
    "fronted-time": (
        fact("act", "doctor", "to_lose", "umbrella", place="airport", time="last_month"),
        "act-fronted",
        "В прошлом месяце врач потерял в аэропорту зонт.",
    ),
    "go-accusative": (fact("go", "clara", "school", time="on_friday"), "", "Клара в пятницу ходила в школу."),
    "city-accusative-and-means": (
        fact("travel", "olga", "moscow", means="by_train"),
        "",
        "Ольга отправилась в Москву на поезде.",
    ),
    "city-inanimate-accusative": (fact("travel", "paul", "berlin"), "", "Пауль отправился в Берлин."),
    "city-plural-prepositional": (fact("live", "daniel", "athens"), "", "Даниэль живёт в Афинах."),
    "city-indeclinable": (fact("live", "asha", "delhi"), "", "Аша живёт в Дели."),
    "city-soft": (fact("born", "asha", "shanghai", 1987), "", "Аша родилась в Шанхае в 1987 году."),
    "future": (
        fact("will_travel", "nina", "vienna", time="next_year"),
        "",
        "Нина в следующем году отправится в Вену.",
    ),
    "name-genitive-iya": (fact("live", "maria", "tokyo"), "live-home", "Дом Марии находится в Токио."),
    "name-genitive-after-velar": (fact("live", "olga", "rome"), "live-home", "Дом Ольги находится в Риме."),
    "name-genitive-man-in-a": (fact("live", "baraka", "rome"), "live-home", "Дом Бараки находится в Риме."),
    "year-dative-one": (fact("age", "paul", 41), "", "Паулю 41 год."),
    "year-dative-few": (fact("age", "sofia", 22), "", "Софии 22 года."),
    "year-dative-many": (fact("age", "wei", 35), "", "Вэю 35 лет."),
    "year-dative-monosyllabic-iya": (fact("age", "priya", 20), "", "Прие 20 лет."),
    "age-genitive": (fact("age", "hassan", 83), "age-age", "Возраст Хасана — 83 года."),
    "job-feminine": (fact("job", "eva", "actor"), "", "Ева — актриса."),
    "job-masculine": (fact("job", "omar", "actor"), "", "Омар — актёр."),
    "job-nurse-of-man": (fact("job", "omar", "nurse"), "job-works_as", "Омар работает медбратом."),
    "job-instrumental-feminine": (fact("job", "irina", "singer"), "job-works_as", "Ирина работает певицей."),
    "job-instrumental-no-feminine": (fact("job", "irina", "doctor"), "job-works_as", "Ирина работает врачом."),
    "job-student-is": (fact("job", "leila", "student"), "job-works_as", "Лейла является студенткой."),
    "kin-genitive": (fact("kin", "julia", "friend", "raj"), "", "Юлия — подруга Раджа."),
    "kin-genitive-indeclinable": (fact("kin", "ivan", "neighbour", "zuri"), "", "Иван — сосед Зури."),
    "kin-instrumental": (fact("kin", "amina", "daughter", "viktor"), "kin-of", "Амина является дочерью Виктора."),
    "own-genitive": (fact("own", "emma", P("car", adjective="red")), "", "У Эммы есть красная машина."),
    "own-nominative-animate": (fact("own", "daniel", P("parrot")), "", "У Даниэля есть попугай."),
    "own-pronoun": (fact("own", "someone", "piano"), "", "У кого-то есть пианино."),
    "own-belongs-dative": (fact("own", "thomas", "cat"), "own-belongs", "Кошка принадлежит Томасу."),
    "predicate-adjective-feminine": (fact("quality", P("bed", definite=True), "heavy"), "", "Кровать тяжёлая."),
    "predicate-adjective-neuter": (fact("quality", P("coat", definite=True), "blue"), "", "Пальто синее."),
    "give-dative": (
        fact("give", "carlos", "julia", P("newspaper", adjective="old"), time="yesterday"),
        "",
        "Карлос вчера дал Юлии старую газету.",
    ),
    "received-from-genitive": (
        fact("give", "carlos", "julia", "gift"),
        "give-received",
        "Юлия получила от Карлоса подарок.",
    ),
    "bought-from-genitive": (
        fact("sell_to", "carlos", "mehmet", P("camel", adjective="white")),
        "sell_to-bought",
        "Мехмет купил у Карлоса белого верблюда.",
    ),
    "comparison-genitive": (fact("compare", "arjun", "taller", "lena"), "", "Арджун выше Лены."),
    "price-genitive": (fact("cost", "fridge", 64), "cost-price", "Цена холодильника — 64 евро."),
    "weather": (fact("weather", "snowed", "paris", "this_morning"), "", "В Париже сегодня утром шёл снег."),
    "weather-fronted": (
        fact("weather", "was_hot", "cairo", "last_year"),
        "weather-fronted",
        "В прошлом году в Каире было жарко.",
    ),
    "hours-genitive-plural": (fact("opens", "bank", 9), "", "Банк открывается в 9 часов."),
    "speak-adverb": (fact("speak", "jean", "french"), "", "Жан говорит по-французски."),
    "speak-indeclinable": (fact("speak_not", "jean", "hindi"), "", "Жан не говорит на хинди."),
    "short-adjective-feminine": (fact("feel", "fatima", "sick"), "", "Фатима больна."),
    "short-adjective-masculine": (fact("feel_not", "lawyer", "hungry"), "", "Юрист не голоден."),
    "state-verb": (fact("feel_not", "fatima", "tired"), "", "Фатима не устала."),
    "because-feminine": (
        fact("because", "amina", "went_to_bed", "tired", time="last_night"),
        "",
        "Амина вчера вечером легла спать, потому что она устала.",
    ),
    "because-masculine": (
        fact("because", "david", "came_late", "busy"),
        "",
        "Давид опоздал, потому что он был занят.",
    ),
    "meet-animate-name": (fact("meet", "lena", "wei", place="beach"), "", "Лена встретила на пляже Вэя."),
    "made-of-participle": (fact("made_of", "jacket", "of_leather"), "", "Куртка сделана из кожи."),
    "wear-prepositional-neuter": (
        fact("wear", "maria", P("dress", adjective="white")),
        "",
        "На Марии надето белое платье.",
    ),
    "wear-prepositional-masculine": (fact("wear", "wei", P("belt")), "", "На Вэе надет ремень."),
    "plural-subject": (fact("group_did", "children", "to_laugh", "kitchen"), "", "Дети смеялись на кухне."),
    "feminine-animal-subject": (fact("did", "mouse", "to_sleep", place="office"), "", "Мышь спала в офисе."),
    "masculine-animal-subject": (fact("did", "bear", "to_laugh"), "", "Медведь смеялся."),
    "want-partitive": (fact("want", "priya", "to_drink", "water"), "", "Прия хочет выпить воды."),
    "want-accusative": (fact("want", "priya", "to_order", "water"), "", "Прия хочет заказать воду."),
    "habit-present": (fact("habit", "cook", "to_drink", "tea", "every_week"), "", "Повар каждую неделю пьёт чай."),
    "play-prepositional": (fact("play", "emma", "violin"), "", "Эмма играет на скрипке."),
    "play-hypernym": (fact("play", "emma", "any_instrument"), "", "Эмма играет на музыкальном инструменте."),
    "quotation-marks": (fact("work_for", "nina", "vega"), "", "Нина работает в компании «Вега»."),
    "founded": (fact("founded", "zenit", 1990), "", "Компания «Зенит» была основана в 1990 году."),
    "relative-clause": (
        fact("work_for", "nina", "vega"),
        "q-work_for2",
        "Как называется компания, в которой работает Нина?",
    ),
    "question-wear-prepositional": (fact("wear", "juma", "hat"), "q-wear", "Что надето на Джуме?"),
    "question-own-animal": (fact("own", "nina", "goat"), "q-own", "Какое животное есть у Нины?"),
    "question-own-thing": (fact("own", "nina", "radio"), "q-own", "Что есть у Нины?"),
    "question-age-dative": (fact("age", "emre", 33), "q-age", "Сколько лет Эмре?"),
    "question-born": (fact("born", "clara", "lisbon", 1970), "q-born-year2", "В каком году родилась Клара?"),
}


@pytest.mark.parametrize(("said", "template", "expected"), EXPECTED.values(), ids=EXPECTED)
def test_sentence(said: Fact, template: str, expected: str) -> None:
    assert RU.sentence(said, template).text == expected


def test_every_noun_has_every_case_that_is_used() -> None:
    for category in (*GOODS, *MASS, "hypernym"):
        for lexeme in CATEGORIES[category]:
            entry = RU.lexicon[lexeme]
            wanted = {"form", "gen"} | ({"plgen"} if category not in MASS else set())
            assert wanted <= set(entry), lexeme
            if entry["form"][-1] in "ая":
                assert entry["acc"][-1] in "ую", lexeme
            assert (RU.agreement(Phrase(lexeme)) == "f") == (entry["form"][-1] in "ая" or entry.get("gender") == "f"), (
                lexeme
            )
    assert all("prep" in RU.lexicon[lexeme] for lexeme in (*CATEGORIES["instrument"], "any_instrument"))
    assert all("pres" in RU.lexicon[verb] for verb in HABITS)
    assert all("ins" in RU.lexicon[lexeme] for category in ("job", "kin") for lexeme in CATEGORIES[category])


def test_genitives_end_as_the_declension_has_them() -> None:
    for category in FOUND_AT:
        for lexeme in CATEGORIES[category]:
            entry = RU.lexicon[lexeme]
            if entry["form"][-1] in "ая":
                assert entry["gen"] == entry["form"][:-1] + entry["gen"][-1], lexeme
                assert entry["gen"][-1] == ("и" if entry["form"][-2] in "гкхжчшще" else "ы"), lexeme
            elif entry["form"][-1] not in "оеь":
                assert entry["gen"][-1] in "ая", lexeme
                assert entry["plgen"].endswith(("ов", "ев", "ей", "ьев")), lexeme


def test_only_foreign_names_are_not_declined() -> None:
    still = {
        RU.lexicon[lexeme]["form"]
        for lexeme in CATEGORIES["name"]
        if len({RU.name(Phrase(lexeme), case, buys("anna", lexeme="key"))[0].text for case in ("", "gen", "dat")}) == 1
    }
    assert still == {"Элиф", "Мэй", "Зури", "Али", "Эмре"}


def test_jobs_with_two_genders_take_the_persons() -> None:
    for job in CATEGORIES["job"]:
        woman, man = (RU.sentence(fact("job", name, job)).text.split()[-1] for name in ("anna", "ivan"))
        assert (woman != man) == any(key in RU.lexicon[job] for key in ("form_f", "form_m")), job


def test_every_verb_takes_its_objects() -> None:
    for verb, allowed in OBJECTS.items():
        for lexeme in members(*allowed):
            for agent in ("anna", "ivan"):
                for template in ("act", "q-act-agent"):
                    said = fact("act", agent, verb, lexeme, place="park")
                    verbs = [word.text for word in RU.sentence(said, template).words if word.role == "verb"]
                    woman = agent == "anna" and template != "q-act-agent"
                    assert len(verbs) == 1, (verb, lexeme)
                    assert verbs[0].endswith("ла") == woman, (verb, lexeme, template)


def test_women_and_men_take_their_past() -> None:
    for name in CATEGORIES["name"]:
        said = RU.sentence(fact("born", name, "rome")).text
        assert ("родилась" in said) == (name in WOMEN), said
