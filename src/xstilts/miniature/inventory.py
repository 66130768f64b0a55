"""What there is in the world: lexemes by category, kinds of facts, templates and questions.

No language is mentioned here. A lexeme is named by an English word, and every language's lexicon has an entry of
that name; a relation names its roles, and every language has templates for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


WOMEN = _words(
    "anna maria fatima sara lena elif priya amina mei olga julia leila sofia zuri irina emma nina clara asha eva"
)
MEN = _words(
    "peter omar ivan paul ali carlos david hassan juma mehmet raj wei viktor jean thomas max daniel emre arjun baraka"
)
CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "name": WOMEN + MEN,
    "job": _words(
        "teacher doctor farmer nurse baker driver painter singer cook lawyer engineer student journalist dentist "
        "police_officer actor pilot waiter gardener tailor writer merchant judge carpenter"
    ),
    "kin": _words("mother father daughter son wife husband friend neighbour colleague"),
    "group": _words("children pupils workers tourists guests musicians"),
    "animal": _words(
        "dog cat horse cow goat sheep chicken duck rabbit monkey elephant lion owl snake mouse donkey camel bear "
        "turtle parrot"
    ),
    "readable": _words("book newspaper letter magazine poem story"),
    "device": _words("phone computer radio camera clock lamp television fridge"),
    "furniture": _words("table chair bed cupboard sofa shelf mirror carpet"),
    "vehicle": _words("car bicycle truck boat motorcycle tractor"),
    "clothing": _words("hat coat shirt dress scarf jacket skirt belt sweater tie"),
    "thing": _words("key bag box cup bottle knife umbrella ball ring pen plate basket candle flower toy picture gift"),
    "instrument": _words("guitar piano violin drum flute"),
    "fruit": _words("apple orange banana lemon mango pear"),
    "food": _words("bread rice meat cheese soup fish honey sugar butter salt"),
    "drink": _words("tea coffee milk water juice"),
    "hypernym": _words("any_animal any_vehicle any_instrument any_garment"),
    "pronoun": _words("someone something"),
    "place": _words(
        "market school hospital park station garden kitchen library museum restaurant beach office factory hotel "
        "airport bank theatre village forest farm harbour cinema university cafe"
    ),
    "city": _words(
        "berlin paris london madrid moscow istanbul ankara cairo nairobi beijing shanghai delhi mumbai rome vienna "
        "tokyo lisbon athens baghdad mombasa"
    ),
    "company": _words("nordwind solaris alfa vega orion terra lumen atlas delta zenit"),
    "language": _words("english german french spanish russian turkish hindi arabic chinese swahili"),
    "colour": _words("red blue green yellow black white brown"),
    "quality": _words("big small new old expensive cheap clean dirty heavy beautiful"),
    "state": _words("tired hungry thirsty happy sad sick angry busy"),
    "reaction": _words("went_to_bed ate_something drank_water sang cried stayed_home shouted came_late"),
    "comparison": _words("taller shorter older younger faster slower stronger weaker richer poorer"),
    "material": _words("of_wood of_glass of_metal of_plastic of_leather of_stone"),
    "verb": _words(
        "to_buy to_sell to_see to_find to_lose to_clean to_wash to_repair to_carry to_hide to_photograph to_draw "
        "to_steal to_borrow to_choose to_eat to_cook to_drink to_read to_write to_bring to_feed to_order to_break "
        "to_forget"
    ),
    "activity": _words("to_sleep to_sing to_dance to_laugh to_cry to_wait to_swim to_run to_work to_play to_rest"),
    "skill": _words(
        "can_swim can_cook can_sing can_dance can_drive can_ride can_sew can_draw can_play_guitar can_play_piano"
    ),
    "weather": _words("rained snowed was_sunny was_cold was_hot was_windy"),
    "past_time": _words(
        "yesterday last_week last_month last_year on_monday on_tuesday on_friday on_sunday this_morning last_night"
    ),
    "future_time": _words("tomorrow next_week next_month next_year"),
    "frequency": _words("every_morning every_day every_evening every_week"),
    "means": _words("by_train by_bus by_car by_plane by_ship"),
    "number": _words("two three four five six seven eight nine"),
}
"""The lexemes, by category."""

CATEGORY = {lexeme: category for category, lexemes in CATEGORIES.items() for lexeme in lexemes}
assert len(CATEGORY) == sum(map(len, CATEGORIES.values())), "a lexeme is in one category"

PEOPLE = ("name", "job")
GOODS = ("readable", "device", "furniture", "vehicle", "clothing", "thing", "instrument", "fruit", "animal")
"""Count nouns that can be bought, seen, counted."""
MASS = ("food", "drink")
"""Mass nouns: no number, no plural."""
NOUNS = frozenset((*GOODS, *MASS, "job", "kin", "group", "hypernym", "pronoun"))
"""The categories that a grammar inflects as noun phrases."""
VALUES: Mapping[str, range] = {
    "year": range(1950, 2021),
    "age": range(18, 90),
    "price": range(5, 100),
    "hour": range(6, 12),
}
"""Roles that hold a figure, and its range."""

OBJECTS: Mapping[str, tuple[str, ...]] = {
    "to_buy": (*GOODS, *MASS),
    "to_sell": (*GOODS, *MASS),
    "to_see": ("animal", "vehicle", "thing", "furniture"),
    "to_find": ("thing", "clothing", "animal", "book", "letter"),
    "to_lose": ("thing", "clothing"),
    "to_clean": ("furniture", "vehicle", "device"),
    "to_wash": ("clothing", "fruit"),
    "to_repair": ("device", "vehicle", "furniture"),
    "to_carry": ("thing",),
    "to_hide": ("thing", "book", "letter"),
    "to_photograph": ("animal", "vehicle"),
    "to_draw": ("animal", "vehicle", "fruit"),
    "to_steal": ("device", "vehicle", "instrument"),
    "to_borrow": ("book", "car", "bicycle", "camera", "umbrella", "guitar"),
    "to_choose": ("clothing", "device", "furniture"),
    "to_eat": ("fruit", "bread", "rice", "meat", "cheese", "soup", "fish", "honey"),
    "to_cook": ("rice", "meat", "soup", "fish"),
    "to_drink": ("drink",),
    "to_read": ("readable",),
    "to_write": ("letter", "book", "poem", "story"),
    "to_bring": ("thing", "fruit", "food", "drink"),
    "to_feed": ("animal",),
    "to_order": ("soup", "fish", "meat", "cheese", "drink"),
    "to_break": ("plate", "cup", "bottle", "mirror", "lamp", "toy"),
    "to_forget": ("key", "bag", "umbrella", "pen", "phone", "camera"),
}
"""What each verb takes: categories or lexemes."""
DEFINITE_VERBS = frozenset(
    _words("to_clean to_wash to_repair to_hide to_feed to_break to_forget to_lose to_steal to_carry")
)
"""Verbs whose count-noun object is a known one: *the* bicycle."""
WANTED = _words("to_buy to_sell to_read to_eat to_drink to_draw to_write to_order")
HABITS = _words("to_eat to_drink to_read to_cook")
REACTIONS = dict(zip(CATEGORIES["state"], CATEGORIES["reaction"], strict=True))
"""What somebody did because of a state."""
HYPERNYMS = {
    **dict.fromkeys(CATEGORIES["animal"], "any_animal"),
    **dict.fromkeys(CATEGORIES["vehicle"], "any_vehicle"),
    **dict.fromkeys(CATEGORIES["instrument"], "any_instrument"),
    **dict.fromkeys(CATEGORIES["clothing"], "any_garment"),
}
"""Every X is a Y."""
_PAIRS = "big small new old expensive cheap clean dirty taller shorter older younger faster slower stronger weaker"
_PAIRS += " richer poorer"
OPPOSITES = dict(zip(_words(_PAIRS)[::2], _words(_PAIRS)[1::2], strict=True))
OPPOSITES |= {second: first for first, second in OPPOSITES.items()}
"""Of qualities, what excludes; of comparisons, the converse."""
KIN_BY_SEX = (
    *(("mother", "father"), ("daughter", "son"), ("wife", "husband")),
    *(("friend", "friend"), ("neighbour", "neighbour"), ("colleague", "colleague")),
)
"""What a woman, or a man, is to somebody."""
KIN = {word: number for number, words in enumerate(KIN_BY_SEX) for word in words}
CONVERSE_KIN = (1, 0, 2, 3, 4, 5)
"""Of what A is to B, as a row of `KIN_BY_SEX`, what B is to A."""
WORKPLACES = _words("school hospital library museum restaurant factory hotel airport bank theatre farm university cafe")
OPENING = _words("market library museum restaurant bank cinema cafe school")
OWNED = ("animal", "vehicle", "instrument", "device")
ACTIVITY_PLACES: Mapping[str, tuple[str, ...]] = {
    "to_swim": ("beach", "harbour", "hotel"),
    "to_run": ("park", "forest", "beach", "garden", "village", "station"),
    "to_work": WORKPLACES,
    "to_play": ("park", "garden", "beach", "school", "farm", "village"),
    "to_sleep": ("park", "hotel", "hospital", "garden", "station", "airport", "farm", "library"),
}
"""Where something is done, for what is not done everywhere."""
ANIMAL_ACTIVITIES = _words("to_sleep to_run to_wait to_swim to_play to_rest")
FOUND_AT = ("animal", "vehicle", "thing", "furniture")
MATERIAL_OF: Mapping[str, tuple[str, ...]] = {
    "of_wood": _words("table chair cupboard shelf box boat bed"),
    "of_glass": _words("bottle table cup lamp plate"),
    "of_metal": _words("key knife box ring lamp shelf"),
    "of_plastic": _words("bottle chair toy cup bag ball"),
    "of_leather": _words("bag belt jacket sofa"),
    "of_stone": _words("table plate"),
}


class Relation(NamedTuple):
    """A kind of fact: which roles it has, and what it can be asked.

    Attributes:
        roles: role to the categories or lexemes that can fill it (a role of `VALUES` holds a figure); the first
            is the grammatical subject.
        optional: roles that a fact may lack.
        core: roles that make the fact's identity, and with it its split; the others are circumstances.
        negates: the relation that this one denies.
    """

    roles: Mapping[str, tuple[str, ...]]
    optional: tuple[str, ...] = ()
    core: tuple[str, ...] = ()
    negates: str = ""


_NAME = ("name",)
_CITY = ("city",)
_PLACE = ("place",)
_PAST = ("past_time",)
RELATIONS: Mapping[str, Relation] = {
    "act": Relation(
        {"agent": PEOPLE, "verb": ("verb",), "object": (), "place": _PLACE, "time": _PAST},
        ("place", "time"),
        ("agent", "verb", "object"),
    ),
    "act_not": Relation(
        {"agent": PEOPLE, "verb": ("verb",), "object": (), "time": _PAST}, ("time",), ("agent", "verb", "object"), "act"
    ),
    "go": Relation({"agent": PEOPLE, "place": _PLACE, "time": _PAST}, ("time",), ("agent", "place")),
    "travel": Relation(
        {"agent": _NAME, "city": _CITY, "means": ("means",), "time": _PAST}, ("means", "time"), ("agent", "city")
    ),
    "will_travel": Relation(
        {"agent": _NAME, "city": _CITY, "means": ("means",), "time": ("future_time",)}, ("means",), ("agent", "city")
    ),
    "live": Relation({"agent": _NAME, "city": _CITY}, (), ("agent", "city")),
    "born": Relation({"agent": _NAME, "city": _CITY, "year": ()}, ("year",), ("agent", "city")),
    "job": Relation({"agent": _NAME, "job": ("job",)}, (), ("agent", "job")),
    "work_at": Relation({"agent": _NAME, "place": WORKPLACES}, (), ("agent", "place")),
    "work_for": Relation({"agent": _NAME, "company": ("company",)}, (), ("agent", "company")),
    "age": Relation({"agent": _NAME, "age": ()}, (), ("agent", "age")),
    "kin": Relation({"agent": _NAME, "kin": ("kin",), "other": _NAME}, (), ("agent", "kin", "other")),
    "own": Relation({"agent": _NAME, "object": OWNED}, (), ("agent", "object")),
    "quality": Relation(
        {"thing": ("device", "furniture", "vehicle", "clothing", "thing"), "quality": ("colour", "quality")},
        (),
        ("thing", "quality"),
    ),
    "at": Relation({"thing": FOUND_AT, "place": _PLACE}, (), ("thing", "place")),
    "give": Relation(
        {"agent": _NAME, "other": _NAME, "object": ("readable", "clothing", "thing", "fruit"), "time": _PAST},
        ("time",),
        ("agent", "other", "object"),
    ),
    "sell_to": Relation(
        {"agent": _NAME, "other": _NAME, "object": ("animal", "vehicle", "furniture", "device"), "time": _PAST},
        ("time",),
        ("agent", "other", "object"),
    ),
    "compare": Relation(
        {"agent": _NAME, "comparison": ("comparison",), "other": _NAME}, (), ("agent", "comparison", "other")
    ),
    "count_at": Relation({"counted": ("animal", "vehicle", "furniture"), "place": _PLACE}, (), ("counted", "place")),
    "cost": Relation({"thing": ("device", "furniture", "clothing", "thing"), "price": ()}, (), ("thing", "price")),
    "weather": Relation({"weather": ("weather",), "city": _CITY, "time": _PAST}, (), ("weather", "city", "time")),
    "opens": Relation({"place": OPENING, "hour": ()}, (), ("place", "hour")),
    "like": Relation({"agent": _NAME, "object": MASS}, (), ("agent", "object")),
    "like_not": Relation({"agent": _NAME, "object": MASS}, (), ("agent", "object"), "like"),
    "speak": Relation({"agent": _NAME, "language": ("language",)}, (), ("agent", "language")),
    "speak_not": Relation({"agent": _NAME, "language": ("language",)}, (), ("agent", "language"), "speak"),
    "can": Relation({"agent": _NAME, "skill": ("skill",)}, (), ("agent", "skill")),
    "can_not": Relation({"agent": _NAME, "skill": ("skill",)}, (), ("agent", "skill"), "can"),
    "feel": Relation({"agent": PEOPLE, "state": ("state",)}, (), ("agent", "state")),
    "feel_not": Relation({"agent": PEOPLE, "state": ("state",)}, (), ("agent", "state"), "feel"),
    "meet": Relation(
        {"agent": _NAME, "other": _NAME, "place": _PLACE, "time": _PAST}, ("place", "time"), ("agent", "other")
    ),
    "made_of": Relation({"thing": (), "material": ("material",)}, (), ("thing", "material")),
    "wear": Relation({"agent": _NAME, "object": ("clothing",)}, (), ("agent", "object")),
    "group_did": Relation(
        {"group": ("group",), "activity": ("activity",), "place": _PLACE, "time": _PAST},
        ("time",),
        ("group", "activity", "place"),
    ),
    "did": Relation(
        {"agent": (*PEOPLE, "animal"), "activity": ("activity",), "place": _PLACE, "time": _PAST},
        ("place", "time"),
        ("agent", "activity"),
    ),
    "want": Relation({"agent": _NAME, "verb": WANTED, "object": ()}, (), ("agent", "verb", "object")),
    "habit": Relation(
        {"agent": PEOPLE, "verb": HABITS, "object": (), "frequency": ("frequency",)}, (), ("agent", "verb", "object")
    ),
    "based": Relation({"company": ("company",), "city": _CITY}, (), ("company", "city")),
    "founded": Relation({"company": ("company",), "year": ()}, (), ("company", "year")),
    "because": Relation(
        {"agent": _NAME, "reaction": ("reaction",), "state": ("state",), "time": _PAST},
        ("time",),
        ("agent", "reaction", "time"),
    ),
    "play": Relation({"agent": _NAME, "instrument": ("instrument",)}, (), ("agent", "instrument")),
}
"""Every kind of fact."""

VARIANTS: Mapping[str, tuple[str, ...]] = {
    "act": ("act", "act-fronted"),
    "go": ("go", "go-fronted"),
    "travel": ("travel", "travel-fronted"),
    "live": ("live", "live-home"),
    "job": ("job", "job-works_as"),
    "age": ("age", "age-age"),
    "kin": ("kin", "kin-of"),
    "own": ("own", "own-belongs"),
    "give": ("give", "give-received"),
    "sell_to": ("sell_to", "sell_to-bought"),
    "count_at": ("count_at", "count_at-fronted"),
    "cost": ("cost", "cost-price"),
    "weather": ("weather", "weather-fronted"),
}
"""Templates that state the same, where a relation has more than its own; ``-fronted`` needs a time."""


class Question(NamedTuple):
    """A question template: which role of which relation it asks for."""

    relation: str
    asks: str
    same_as: str = ""  # a question in other words


QUESTIONS: Mapping[str, Question] = {
    "q-act-agent": Question("act", "agent"),
    "q-act-object": Question("act", "object"),
    "q-act-place": Question("act", "place"),
    "q-act-time": Question("act", "time"),
    "q-travel-city": Question("travel", "city"),
    "q-travel-means": Question("travel", "means"),
    "q-live-city": Question("live", "city"),
    "q-live-city2": Question("live", "city", "q-live-city"),
    "q-live-agent": Question("live", "agent"),
    "q-born-city": Question("born", "city"),
    "q-born-year": Question("born", "year"),
    "q-born-year2": Question("born", "year", "q-born-year"),
    "q-job": Question("job", "job"),
    "q-job2": Question("job", "job", "q-job"),
    "q-work_at": Question("work_at", "place"),
    "q-work_for": Question("work_for", "company"),
    "q-work_for2": Question("work_for", "company", "q-work_for"),
    "q-age": Question("age", "age"),
    "q-age2": Question("age", "age", "q-age"),
    "q-kin": Question("kin", "agent"),
    "q-own": Question("own", "object"),
    "q-quality": Question("quality", "quality"),
    "q-at": Question("at", "place"),
    "q-give-agent": Question("give", "agent"),
    "q-give-other": Question("give", "other"),
    "q-give-object": Question("give", "object"),
    "q-cost": Question("cost", "price"),
    "q-cost2": Question("cost", "price", "q-cost"),
    "q-opens": Question("opens", "hour"),
    "q-opens2": Question("opens", "hour", "q-opens"),
    "q-count": Question("count_at", "counted"),
    "q-speak": Question("speak", "language"),
    "q-like": Question("like", "object"),
    "q-wear": Question("wear", "object"),
    "q-meet": Question("meet", "other"),
    "q-based": Question("based", "city"),
    "q-founded": Question("founded", "year"),
}
"""Every question; ``q-quality`` asks for the colour."""

TEMPLATES = (*(name for relation in RELATIONS for name in VARIANTS.get(relation, (relation,))), *QUESTIONS)
"""The templates that every language has."""
