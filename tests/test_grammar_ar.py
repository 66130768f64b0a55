"""Arabic in the miniature: sentences as a speaker writes them, and what holds of every word."""

import itertools
import re

import pytest

from saying import fact, spoken, the
from xstilts.miniature.inventory import CATEGORIES, GOODS, MASS, OBJECTS, QUESTIONS, WOMEN
from xstilts.miniature.languages.ar import Arabic
from xstilts.miniature.world import Fact, Phrase

ARABIC = Arabic()


def act(agent: str | Phrase, verb: str, thing: str, count: int = 1, adjective: str = "", **roles: str) -> Fact:
    return fact("act", agent=agent, verb=verb, object=Phrase(thing, count=count, adjective=adjective), **roles)


SENTENCES = {
    # Nouns and their adjectives.
    "tanwin-alif": (act("anna", "to_buy", "book"), "", "اشترت آنا كتابًا."),
    "tanwin-not-on-ta-marbuta": (act("peter", "to_buy", "apple"), "", "اشترى بيتر تفاحة."),
    "tanwin-on-hamza": (act("peter", "to_cook", "soup"), "", "طبخ بيتر حساءً."),
    "tanwin-not-on-loanword": (act("peter", "to_steal", "piano"), "", "سرق بيتر بيانو."),
    "tanwin-not-on-diptote-noun": (act("peter", "to_draw", "parrot"), "", "رسم بيتر ببغاء."),
    "adjective-masculine-accusative": (
        act("maria", "to_sell", "coat", adjective="cheap"),
        "",
        "باعت ماريا معطفًا رخيصًا.",
    ),
    "adjective-feminine": (act("maria", "to_sell", "hat", adjective="cheap"), "", "باعت ماريا قبعة رخيصة."),
    "adjective-feminine-without-ta": (
        act("maria", "to_choose", "camera", adjective="new"),
        "",
        "اختارت ماريا كاميرا جديدة.",
    ),
    "colour-diptote": (act("omar", "to_see", "dog", adjective="black"), "", "رأى عمر كلبًا أسود."),
    "colour-feminine": (act("omar", "to_see", "car", adjective="red"), "", "رأى عمر سيارة حمراء."),
    "colour-nisba": (act("omar", "to_see", "horse", adjective="brown"), "", "رأى عمر حصانًا بنيًا."),
    "adjective-definite": (
        fact("act", agent="omar", verb="to_wash", object=the("dress", "white")),
        "",
        "غسل عمر الفستان الأبيض.",
    ),
    "defective-nominative": (fact("quality", thing=the("book"), quality="expensive"), "", "الكتاب غالٍ."),
    "defective-accusative": (
        act("omar", "to_buy", "ring", adjective="expensive"),
        "",
        "اشترى عمر خاتمًا غاليًا.",
    ),
    "defective-definite": (
        fact("own", agent="omar", object=Phrase("ring", adjective="expensive")),
        "own-belongs",
        "الخاتم الغالي ملك لعمر.",
    ),
    "annexation-indefinite": (act("ali", "to_lose", "tie", adjective="blue"), "", "فقد علي ربطة عنق زرقاء."),
    "annexation-definite": (
        fact("act", agent="ali", verb="to_lose", object=the("tie", "blue")),
        "",
        "فقد علي ربطة العنق الزرقاء.",
    ),
    "compound-adjective": (
        fact("act", agent="ali", verb="to_repair", object=the("motorcycle", "old")),
        "",
        "أصلح علي الدراجة النارية القديمة.",
    ),
    # Numerals.
    "dual-accusative": (act("anna", "to_buy", "book", 2), "", "اشترت آنا كتابين."),
    "dual-nominative": (fact("count_at", counted=Phrase("dog", count=2), place="park"), "", "هناك كلبان في المتنزه."),
    "dual-feminine": (fact("count_at", counted=Phrase("car", count=2), place="park"), "", "هناك سيارتان في المتنزه."),
    "dual-genitive": (
        fact("give", agent="anna", other="paul", object=Phrase("pear", count=2)),
        "give-received",
        "حصل بول على إجاصتين من آنا.",
    ),
    "dual-adjective": (
        fact("own", agent="anna", object=Phrase("cat", count=2, adjective="white")),
        "",
        "لدى آنا قطتان بيضاوان.",
    ),
    "dual-annexation": (act("anna", "to_buy", "mango", 2), "", "اشترت آنا حبتي مانجو."),
    "dual-of-loanword": (act("anna", "to_buy", "piano", 2), "", "اشترت آنا آلتي بيانو."),
    "dual-definite-in-question": (act("anna", "to_buy", "apple", 2), "q-act-agent", "من اشترى التفاحتين؟"),
    "polarity-masculine-noun": (act("anna", "to_buy", "book", 3), "", "اشترت آنا ثلاثة كتب."),
    "polarity-feminine-noun": (act("anna", "to_buy", "apple", 3), "", "اشترت آنا ثلاث تفاحات."),
    "polarity-of-the-singular": (act("anna", "to_see", "basket", 5), "", "رأت آنا خمس سلال."),
    "polarity-masculine-with-sound-plural": (act("anna", "to_see", "tractor", 7), "", "رأت آنا سبعة جرارات."),
    "eight-in-annexation": (act("anna", "to_see", "cow", 8), "", "رأت آنا ثماني بقرات."),
    "numeral-of-other-noun": (act("anna", "to_sell", "piano", 4), "", "باعت آنا أربع آلات بيانو."),
    "plural-things-take-feminine-singular": (
        act("anna", "to_see", "lion", 6, adjective="big"),
        "",
        "رأت آنا ستة أسود كبيرة.",
    ),
    "plural-definite-in-question": (act("anna", "to_buy", "cup", 9), "q-act-time", "متى اشترت آنا الأكواب؟"),
    "how-many-accusative-singular": (
        fact("count_at", counted=Phrase("chair", count=4), place="kitchen"),
        "q-count",
        "كم كرسيًا يوجد في المطبخ؟",
    ),
    "how-many-feminine": (
        fact("count_at", counted=Phrase("table", count=4), place="garden"),
        "q-count",
        "كم طاولة توجد في الحديقة؟",
    ),
    "years-accusative": (fact("age", agent="elif", age=42), "age-age", "تبلغ إليف من العمر 42 عامًا."),
    # Verbs.
    "verb-before-masculine-job": (
        act(the("driver"), "to_drink", "tea", time="yesterday"),
        "",
        "شرب السائق شايًا أمس.",
    ),
    "verb-past-defective-feminine": (act("eva", "to_forget", "pen"), "", "نسيت إيفا قلمًا."),
    "verb-past-drops-alif-maqsura": (fact("did", agent="eva", activity="to_cry"), "", "بكت إيفا."),
    "verb-agrees-with-animal": (
        fact("did", agent=the("cow"), activity="to_sleep", place="farm"),
        "",
        "نامت البقرة في المزرعة.",
    ),
    "verb-singular-before-plural": (
        fact("group_did", group=the("musicians"), activity="to_sing", place="beach", time="last_night"),
        "",
        "غنى الموسيقيون على الشاطئ الليلة الماضية.",
    ),
    "who-takes-masculine": (act("anna", "to_write", "letter"), "q-act-agent", "من كتب الرسالة؟"),
    "jussive-defective": (fact("act_not", agent="anna", verb="to_buy", object="car"), "", "لم تشتر آنا سيارة."),
    "jussive-hollow": (fact("act_not", agent="paul", verb="to_sell", object="boat"), "", "لم يبع بول قاربًا."),
    "jussive-sound": (fact("act_not", agent="paul", verb="to_read", object="book"), "", "لم يقرأ بول كتابًا."),
    "subjunctive": (fact("want", agent="paul", verb="to_draw", object="goat"), "", "يريد بول أن يرسم عنزة."),
    "subjunctive-feminine": (
        fact("want", agent="nina", verb="to_eat", object="bread"),
        "",
        "تريد نينا أن تأكل خبزًا.",
    ),
    "future-clitic": (
        fact("will_travel", agent="fatima", city="cairo", means="by_train", time="tomorrow"),
        "",
        "ستسافر فاطمة إلى القاهرة بالقطار غدًا.",
    ),
    "name-with-ta-of-a-man": (fact("live", agent="juma", city="mombasa"), "", "يعيش جمعة في مومباسا."),
    "passive": (fact("born", agent="sara", city="rome", year=1980), "", "وُلدت سارة في روما عام 1980."),
    # Generic and indefinite mass nouns.
    "generic-mass-with-article": (fact("like_not", agent="raj", object="fish"), "", "لا يحب راج السمك."),
    "habit-mass-with-article": (
        fact("habit", agent=the("judge"), verb="to_drink", object="coffee", frequency="every_morning"),
        "",
        "يشرب القاضي القهوة كل صباح.",
    ),
    "habit-count-indefinite": (
        fact("habit", agent="nina", verb="to_read", object="newspaper", frequency="every_day"),
        "",
        "تقرأ نينا صحيفة كل يوم.",
    ),
    # Predicates.
    "job-feminine": (fact("job", agent="anna", job="doctor"), "", "آنا طبيبة."),
    "job-defective": (fact("job", agent="ivan", job="lawyer"), "", "إيفان محامٍ."),
    "job-defective-feminine": (fact("job", agent="anna", job="singer"), "", "آنا مغنية."),
    "job-accusative": (fact("job", agent="ivan", job="judge"), "job-works_as", "يعمل إيفان قاضيًا."),
    "job-annexation-feminine": (fact("job", agent="anna", job="dentist"), "job-works_as", "تعمل آنا طبيبة أسنان."),
    "job-annexation-definite": (fact("go", agent=the("dentist"), place="bank"), "", "ذهب طبيب الأسنان إلى البنك."),
    "kin-feminine": (fact("kin", agent="lena", kin="neighbour", other="max"), "kin-of", "لينا هي جارة ماكس."),
    "kin-question-masculine": (fact("kin", agent="max", kin="son", other="lena"), "q-kin", "من هو ابن لينا؟"),
    "state-feminine-irregular": (fact("feel", agent="lena", state="thirsty"), "", "لينا عطشى."),
    "laysa-accusative": (fact("feel_not", agent="max", state="busy"), "", "ليس ماكس مشغولًا."),
    "laysa-feminine": (fact("feel_not", agent="lena", state="busy"), "", "ليست لينا مشغولة."),
    "laysa-diptote": (fact("feel_not", agent="max", state="thirsty"), "", "ليس ماكس عطشان."),
    "because-pronoun-and-kana": (
        fact("because", agent="david", reaction="went_to_bed", state="tired", time="on_monday"),
        "",
        "ذهب ديفيد إلى الفراش يوم الاثنين لأنه كان متعبًا.",
    ),
    "because-feminine": (
        fact("because", agent="clara", reaction="came_late", state="busy"),
        "",
        "جاءت كلارا متأخرة لأنها كانت مشغولة.",
    ),
    "elative-invariable": (
        fact("compare", agent="clara", comparison="younger", other="max"),
        "",
        "كلارا أصغر سنًا من ماكس.",
    ),
    "participle-feminine": (fact("made_of", thing=the("bag"), material="of_leather"), "", "الحقيبة مصنوعة من الجلد."),
    # Clitics, order, questions.
    "possession-nominative": (
        fact("own", agent="omar", object=Phrase("tractor", adjective="new")),
        "",
        "لدى عمر جرار جديد.",
    ),
    "li-before-name": (
        fact("sell_to", agent="asha", other="emre", object="sofa", time="last_week"),
        "",
        "باعت آشا أريكة لإمره الأسبوع الماضي.",
    ),
    "li-and-article": (
        fact("give", agent="asha", other=the("teacher"), object="pen"),
        "",
        "أعطت آشا قلمًا للمعلم.",
    ),
    "li-in-question": (fact("give", agent="asha", other="emre", object="pen"), "q-give-other", "لمن أعطت آشا القلم؟"),
    "bi-with-verb": (fact("meet", agent="asha", other="emre", place="cafe"), "", "التقت آشا بإمره في المقهى."),
    "bi-in-question": (fact("meet", agent="asha", other="emre"), "q-meet", "بمن التقت آشا؟"),
    "place-pronoun-feminine": (fact("opens", place="market", hour=8), "", "تفتح السوق أبوابها في الساعة 8."),
    "place-pronoun-masculine": (fact("opens", place="cafe", hour=9), "q-opens2", "في أي ساعة يفتح المقهى أبوابه؟"),
    "lada-before-pronoun": (
        fact("work_for", agent="eva", company="atlas"),
        "q-work_for2",
        "ما اسم الشركة التي تعمل لديها إيفا؟",
    ),
    "time-fronted": (
        fact("weather", weather="was_cold", city="moscow", time="last_year"),
        "weather-fronted",
        "في العام الماضي كان الجو باردًا في موسكو.",
    ),
    "time-last": (
        fact("weather", weather="was_cold", city="moscow", time="last_year"),
        "",
        "كان الجو باردًا في موسكو العام الماضي.",
    ),
    "verbal-noun": (fact("can_not", agent="zuri", skill="can_ride"), "", "لا تستطيع زوري ركوب الخيل."),
    "hypernym-compound": (
        fact("play", agent="zuri", instrument="any_instrument"),
        "",
        "تعزف زوري على آلة موسيقية.",
    ),
    "instrument-definite": (fact("play", agent="zuri", instrument="violin"), "", "تعزف زوري على الكمان."),
    "something-accusative": (act("zuri", "to_find", "something"), "", "وجدت زوري شيئًا ما."),
    "someone-nominative": (act("someone", "to_find", "key"), "", "وجد شخص ما مفتاحًا."),
}


@pytest.mark.parametrize(("said", "template", "expected"), SENTENCES.values(), ids=SENTENCES)
def test_sentence(said: Fact, template: str, expected: str) -> None:
    assert ARABIC.sentence(said, template).text == expected


def test_the_answer_stands_without_its_preposition() -> None:
    asked = {(question.relation, question.asks) for question in QUESTIONS.values()}
    for said in spoken("ar"):
        for role in said.fact.roles if said.template == said.fact.relation else ():
            if (said.template, role) in asked:
                start, end = said.sentence.span(role)
                assert not re.match("في |على |إلى |ب ?ال", said.text[start:end]), said.text


def test_every_count_noun_has_its_forms() -> None:
    home = fact("live", "anna", "rome")
    for category in (*GOODS, "hypernym"):
        for lexeme in CATEGORIES[category]:
            head = [ARABIC.noun(Phrase(lexeme, count=n), "acc", home)[0].text for n in (1, 2)]
            assert head[1].endswith(("ين", "تي")), lexeme
            assert head[0] != head[1]
            numeral, plural, *_ = ARABIC.noun(Phrase(lexeme, count=3), "acc", home)
            counted = ARABIC.lexicon[lexeme].get("counted", ARABIC.lexicon[lexeme])
            feminine = counted["form"].endswith("ة") or lexeme == "camera"
            assert (numeral.text, numeral.upos) == ("ثلاث" if feminine else "ثلاثة", "NUM"), lexeme
            assert plural.text != head[0]


def test_adjectives_agree_in_definiteness_and_gender() -> None:
    home = fact("live", "anna", "rome")
    for category in (*GOODS, *MASS, "hypernym"):
        for lexeme, adjective in itertools.product(CATEGORIES[category], CATEGORIES["colour"] + CATEGORIES["quality"]):
            definite = ARABIC.noun(the(lexeme, adjective), "acc", home)
            assert definite[-1].text.startswith("ال")
            assert not definite[-1].text.endswith(("ًا", "ً", "ٍ"))
            bare = ARABIC.noun(Phrase(lexeme, adjective=adjective), "acc", home)
            assert not bare[-1].text.startswith("ال")
            feminine = ARABIC.agreement(Phrase(lexeme)) == "f"
            assert feminine == bare[-1].text.endswith(("ة", "اء"))


def test_verbs_agree_with_their_subject() -> None:
    for verb, objects in OBJECTS.items():
        thing = CATEGORIES.get(objects[0], objects)[0]
        for form, relation in (("present", "want"), ("jussive", "act_not")):
            man, woman = (
                ARABIC.verb(Phrase(verb), form, fact(relation, agent=agent, verb=verb, object=thing))[0].text
                for agent in ("peter", "anna")
            )
            assert (man[0], woman) == ("ي", "ت" + man[1:]), verb
        woman = ARABIC.verb(Phrase(verb), "past", fact("act", agent="anna", verb=verb, object=thing))[0].text
        assert re.search("[^ى]ت$", woman), verb


def test_jobs_of_women_are_feminine() -> None:
    for woman, job in itertools.product(WOMEN[:2], CATEGORIES["job"]):
        words = ARABIC.sentence(fact("job", agent=woman, job=job)).words
        assert words[1].text.endswith("ة"), job
