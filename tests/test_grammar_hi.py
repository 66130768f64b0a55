"""Hindi: sentences written by hand, and what must hold of all of them."""

import tomllib
import unicodedata
from importlib import resources

import pytest

from saying import fact, spoken, the
from xstilts.miniature.inventory import CATEGORIES, GOODS
from xstilts.miniature.languages.hi import Hindi, declined
from xstilts.miniature.world import Fact, Phrase

HINDI = Hindi()
POSTPOSITIONS = ("ने", "को", "से", "में", "पर", "का", "की", "के")


def p(lexeme: str, **features) -> Phrase:
    return Phrase(lexeme, **features)


def act(agent, verb, object, template="act", **roles) -> tuple[Fact, str]:
    return fact(template if template == "act_not" else "act", agent=agent, verb=verb, object=object, **roles), template


def say(relation, template="", **roles) -> tuple[Fact, str]:
    return fact(relation, **roles), template or relation


SENTENCES = {
    "ergative-object-feminine": (act("peter", "to_buy", "book"), "पीटर ने एक किताब खरीदी।"),
    "ergative-object-masculine": (act("anna", "to_buy", "newspaper"), "अन्ना ने एक अखबार खरीदा।"),
    "ergative-object-masculine-plural": (act("anna", "to_buy", p("banana", count=3)), "अन्ना ने तीन केले खरीदे।"),
    "ergative-object-feminine-plural": (act("raj", "to_sell", p("chair", count=5)), "राज ने पाँच कुर्सियाँ बेचीं।"),
    "plural-feminine-consonant": (act("ali", "to_buy", p("shirt", count=2)), "अली ने दो कमीज़ें खरीदीं।"),
    "plural-feminine-long-a": (act("mei", "to_buy", p("magazine", count=4)), "मेई ने चार पत्रिकाएँ खरीदीं।"),
    "possession-plural": (say("own", agent="mei", object=p("camera", count=4)), "मेई के पास चार कैमरे हैं।"),
    "plural-masculine-unchanged": (act("eva", "to_see", p("elephant", count=6)), "ईवा ने छह हाथी देखे।"),
    "plural-feminine-independent-i": (act("max", "to_buy", p("tie", count=9)), "मैक्स ने नौ टाइयाँ खरीदीं।"),
    "ergative-mass-object": (act("omar", "to_drink", "tea", time="this_morning"), "उमर ने आज सुबह चाय पी।"),
    "ergative-something": (act("sara", "to_buy", "something"), "सारा ने कुछ खरीदा।"),
    "ergative-someone-oblique": (act("someone", "to_sell", "goat"), "किसी ने एक बकरी बेची।"),
    "object-someone-ko": (act("someone", "to_see", "someone"), "किसी ने किसी को देखा।"),
    "ergative-job-oblique": (act(the("cook"), "to_cook", "fish"), "रसोइए ने मछली पकाई।"),
    "ergative-sanskrit-not-oblique": (act(the("actor"), "to_read", "poem"), "अभिनेता ने एक कविता पढ़ी।"),
    "object-ko-default-agreement": (act("paul", "to_feed", the("cat")), "पॉल ने बिल्ली को खाना खिलाया।"),
    "object-ko-oblique": (act("paul", "to_feed", the("donkey")), "पॉल ने गधे को खाना खिलाया।"),
    "object-ko-definite-animal": (act("nina", "to_buy", the("cow")), "नीना ने गाय को खरीदा।"),
    "object-unmarked-indefinite-animal": (act("nina", "to_buy", "cow"), "नीना ने एक गाय खरीदी।"),
    "object-unmarked-definite-thing": (act("ali", "to_lose", the("key")), "अली ने चाबी खो दी।"),
    "object-genitive": (act("lena", "to_photograph", "horse"), "लीना ने एक घोड़े की तस्वीर खींची।"),
    "object-genitive-adjective-oblique": (
        act("lena", "to_photograph", p("horse", adjective="black")),
        "लीना ने एक काले घोड़े की तस्वीर खींची।",
    ),
    "object-genitive-oblique-plural": (
        act("omar", "to_photograph", p("dog", count=3)),
        "उमर ने तीन कुत्तों की तस्वीर खींची।",
    ),
    "object-genitive-oblique-plural-feminine": (
        act("omar", "to_draw", p("goat", count=2)),
        "उमर ने दो बकरियों का चित्र बनाया।",
    ),
    "adjective-masculine": (act("asha", "to_buy", p("coat", adjective="blue")), "आशा ने एक नीला कोट खरीदा।"),
    "adjective-feminine": (act("asha", "to_buy", p("skirt", adjective="blue")), "आशा ने एक नीली स्कर्ट खरीदी।"),
    "adjective-new-feminine": (act("juma", "to_buy", p("car", adjective="new")), "जुमा ने एक नई कार खरीदी।"),
    "adjective-new-plural": (act("juma", "to_buy", p("umbrella", adjective="new", count=2)), "जुमा ने दो नए छाते खरीदे।"),
    "adjective-feminine-plural": (
        act("juma", "to_buy", p("motorcycle", adjective="black", count=2)),
        "जुमा ने दो काली मोटरसाइकिलें खरीदीं।",
    ),
    "adjective-invariable": (act("hassan", "to_sell", p("table", adjective="red")), "हसन ने एक लाल मेज़ बेची।"),
    "no-ne-bring-feminine-subject": (act("amina", "to_bring", "juice"), "अमीना जूस लाई।"),
    "no-ne-bring-masculine-subject": (act("david", "to_bring", "basket"), "डेविड एक टोकरी लाया।"),
    "no-ne-forget": (act("maria", "to_forget", the("umbrella"), place="bank"), "मारिया बैंक में छाता भूल गई।"),
    "dative-find-agrees-with-found": (
        act("peter", "to_find", "ring", place="beach"),
        "पीटर को समुद्र तट पर एक अँगूठी मिली।",
    ),
    "dative-find-someone": (act("someone", "to_find", "toy"), "किसी को एक खिलौना मिला।"),
    "fronted": (
        act("olga", "to_choose", p("sofa"), "act-fronted", place="hotel", time="on_monday"),
        "सोमवार को होटल में ओल्गा ने एक सोफ़ा चुना।",
    ),
    "negation-any": (act("priya", "to_write", "letter", "act_not"), "प्रिया ने कोई चिट्ठी नहीं लिखी।"),
    "negation-any-oblique": (
        act("priya", "to_draw", "lion", "act_not", time="yesterday"),
        "प्रिया ने कल किसी शेर का चित्र नहीं बनाया।",
    ),
    "negation-drops-light-verb": (act("ivan", "to_break", the("cup"), "act_not"), "इवान ने कप नहीं तोड़ा।"),
    "negation-inside-complex-verb": (act("clara", "to_clean", the("carpet"), "act_not"), "क्लारा ने कालीन साफ़ नहीं किया।"),
    "negation-no-ne": (act("clara", "to_forget", the("phone"), "act_not"), "क्लारा फ़ोन नहीं भूली।"),
    "go-feminine-no-postposition": (say("go", agent="sofia", place="school"), "सोफ़िया स्कूल गई।"),
    "go-masculine-oblique-place": (say("go", agent=the("farmer"), place="factory"), "किसान कारखाने गया।"),
    "go-feminine-job": (say("go", agent=the("nurse"), place="airport"), "नर्स हवाई अड्डे गई।"),
    "travel": (
        say("travel", agent="wei", city="cairo", means="by_plane", time="last_month"),
        "वेई ने पिछले महीने हवाई जहाज़ से काहिरा की यात्रा की।",
    ),
    "future-feminine": (
        say("will_travel", agent="irina", city="delhi", time="tomorrow"),
        "इरीना कल दिल्ली की यात्रा करेगी।",
    ),
    "future-masculine": (
        say("will_travel", agent="jean", city="rome", means="by_train", time="next_week"),
        "ज्याँ अगले हफ़्ते ट्रेन से रोम की यात्रा करेगा।",
    ),
    "habitual-feminine": (say("live", agent="zuri", city="mombasa"), "ज़ूरी मोम्बासा में रहती है।"),
    "born": (say("born", agent="emma", city="london", year=1987), "एम्मा का जन्म 1987 में लंदन में हुआ था।"),
    "job-of-woman": (say("job", agent="julia", job="singer"), "जूलिया गायिका है।"),
    "job-of-man": (say("job", agent="thomas", job="singer"), "थॉमस गायक है।"),
    "job-oblique": (
        say("job", "job-works_as", agent="thomas", job="cook"),
        "थॉमस रसोइए के रूप में काम करता है।",
    ),
    "job-oblique-feminine-unchanged": (
        say("job", "job-works_as", agent="nina", job="writer"),
        "नीना लेखिका के रूप में काम करती है।",
    ),
    "age-genitive-of-woman": (say("age", agent="leila", age=41), "लैला 41 साल की है।"),
    "age-genitive-of-man": (say("age", agent="emre", age=20), "एमरे 20 साल का है।"),
    "kin-honoured-father": (say("kin", agent="carlos", kin="father", other="eva"), "कार्लोस ईवा के पिता हैं।"),
    "kin-honoured-mother": (say("kin", agent="eva", kin="mother", other="carlos"), "ईवा कार्लोस की माँ हैं।"),
    "kin-daughter": (say("kin", agent="eva", kin="daughter", other="raj"), "ईवा राज की बेटी है।"),
    "kin-neighbour-feminine": (say("kin", agent="mei", kin="neighbour", other="raj"), "मेई राज की पड़ोसन है।"),
    "kin-friend-by-sex": (say("kin", "kin-of", agent="viktor", kin="friend", other="mei"), "मेई का दोस्त विक्टर है।"),
    "possession-ke-pas": (
        say("own", agent="fatima", object=p("parrot", adjective="small")),
        "फ़ातिमा के पास एक छोटा तोता है।",
    ),
    "possession-genitive-agrees": (say("own", "own-belongs", agent="mehmet", object="flute"), "बाँसुरी मेहमत की है।"),
    "possession-someone": (say("own", agent="someone", object="any_animal"), "किसी के पास एक जानवर है।"),
    "predicate-adjective-feminine": (say("quality", thing=the("boat"), quality="old"), "नाव पुरानी है।"),
    "predicate-adjective-masculine": (say("quality", thing=the("boat"), quality="heavy"), "नाव भारी है।"),
    "give-agrees-with-gift": (
        say("give", agent="arjun", other="asha", object=p("flower", count=7)),
        "अर्जुन ने आशा को सात फूल दिए।",
    ),
    "give-feminine": (say("give", agent="arjun", other="asha", object="magazine"), "अर्जुन ने आशा को एक पत्रिका दी।"),
    "received-feminine-plural": (
        say("give", "give-received", agent="arjun", other="asha", object=p("ball", count=2)),
        "आशा को अर्जुन से दो गेंदें मिलीं।",
    ),
    "comparison-feminine": (say("compare", agent="sara", comparison="taller", other="ali"), "सारा अली से लंबी है।"),
    "comparison-invariable": (
        say("compare", agent="ali", comparison="richer", other="sara"),
        "अली सारा से ज़्यादा अमीर है।",
    ),
    "count-existential": (say("count_at", counted=p("monkey", count=8), place="garden"), "बगीचे में आठ बंदर हैं।"),
    "cost-genitive": (say("cost", thing=the("candle"), price=12), "मोमबत्ती 12 यूरो की है।"),
    "price-oblique": (say("cost", "cost-price", thing=the("mirror"), price=60), "आईने की कीमत 60 यूरो है।"),
    "weather": (say("weather", weather="rained", city="mumbai", time="last_night"), "मुंबई में कल रात बारिश हुई।"),
    "opens": (say("opens", place="library", hour=9), "पुस्तकालय 9 बजे खुलता है।"),
    "dative-like": (say("like", agent="baraka", object="coffee"), "बराका को कॉफ़ी पसंद है।"),
    "dative-like-not": (say("like_not", agent="baraka", object="honey"), "बराका को शहद पसंद नहीं है।"),
    "speak-not-drops-copula": (say("speak_not", agent="nina", language="turkish"), "नीना तुर्की नहीं बोलती।"),
    "can-feminine": (say("can", agent="nina", skill="can_swim"), "नीना तैर सकती है।"),
    "can-not-before-verb": (say("can_not", agent="daniel", skill="can_play_guitar"), "डैनियल गिटार नहीं बजा सकता।"),
    "dative-hunger": (say("feel", agent=the("waiter"), state="hungry"), "वेटर को भूख लगी है।"),
    "state-participle-feminine": (say("feel", agent="nina", state="tired"), "नीना थकी हुई है।"),
    "state-not": (say("feel_not", agent="peter", state="angry"), "पीटर गुस्से में नहीं है।"),
    "dative-thirst-not": (say("feel_not", agent="peter", state="thirsty"), "पीटर को प्यास नहीं लगी है।"),
    "meet-no-ne": (say("meet", agent="amina", other="paul", place="station"), "अमीना स्टेशन पर पॉल से मिली।"),
    "made-of-agrees": (say("made_of", thing=the("belt"), material="of_leather"), "बेल्ट चमड़े की बनी है।"),
    "made-of-masculine": (say("made_of", thing=the("box"), material="of_wood"), "डिब्बा लकड़ी का बना है।"),
    "wear-without-one": (
        say("wear", agent="olga", object=p("dress", adjective="white")),
        "ओल्गा सफ़ेद पोशाक पहने हुए है।",
    ),
    "wear-hypernym": (say("wear", agent="olga", object="any_garment"), "ओल्गा एक परिधान पहने हुए है।"),
    "group-no-ne-plural": (
        say("group_did", group=the("children"), activity="to_run", place="park"),
        "बच्चे पार्क में दौड़े।",
    ),
    "group-ergative-oblique-plural": (
        say("group_did", group=the("children"), activity="to_rest", place="village"),
        "बच्चों ने गाँव में आराम किया।",
    ),
    "activity-ergative": (say("did", agent=the("horse"), activity="to_work"), "घोड़े ने काम किया।"),
    "activity-no-ne": (say("did", agent=the("sheep"), activity="to_sleep"), "भेड़ सोई।"),
    "want-feminine": (
        say("want", agent="leila", verb="to_buy", object=p("lamp", adjective="cheap")),
        "लैला एक सस्ता लैंप खरीदना चाहती है।",
    ),
    "want-genitive-object": (
        say("want", agent="raj", verb="to_draw", object="mouse"),
        "राज एक चूहे का चित्र बनाना चाहता है।",
    ),
    "habit": (
        say("habit", agent=the("judge"), verb="to_eat", object="bread", frequency="every_morning"),
        "न्यायाधीश हर सुबह ब्रेड खाता है।",
    ),
    "because-nominative-pronoun": (
        say("because", agent="maria", reaction="went_to_bed", state="tired", time="yesterday"),
        "मारिया कल सोने चली गई क्योंकि वह थकी हुई थी।",
    ),
    "because-dative-pronoun-ergative": (
        say("because", agent="max", reaction="ate_something", state="hungry"),
        "मैक्स ने कुछ खाया क्योंकि उसे भूख लगी थी।",
    ),
    "who-ergative": (act("anna", "to_wash", the("shirt"), "q-act-agent"), "कमीज़ किसने धोई?"),
    "who-definite-animal": (act("anna", "to_see", "bear", "q-act-agent"), "भालू को किसने देखा?"),
    "who-no-ne": (act("anna", "to_bring", "pear", "q-act-agent"), "नाशपाती कौन लाया?"),
    "who-dative": (act("anna", "to_find", "dog", "q-act-agent"), "कुत्ता किसे मिला?"),
    "who-inside-complex-verb": (act("anna", "to_draw", "dog", "q-act-agent"), "कुत्ते का चित्र किसने बनाया?"),
    "what-default-agreement": (act("anna", "to_buy", "book", "q-act-object"), "अन्ना ने क्या खरीदा?"),
    "what-animate": (act("anna", "to_feed", the("dog"), "q-act-object"), "अन्ना ने किसे खाना खिलाया?"),
    "what-agrees-with-nominative": (act("anna", "to_bring", "book", "q-act-object"), "अन्ना क्या लाई?"),
    "where": (act("anna", "to_order", "soup", "q-act-place", place="cafe"), "अन्ना ने सूप कहाँ मँगवाया?"),
    "which-city": (say("live", "q-live-city2", agent="ali", city="paris"), "अली किस शहर में रहता है?"),
    "how-many-feminine": (
        say("count_at", "q-count", counted=p("chair", count=4), place="office"),
        "दफ़्तर में कितनी कुर्सियाँ हैं?",
    ),
    "how-many-masculine": (
        say("count_at", "q-count", counted=p("horse", count=4), place="farm"),
        "फ़ार्म पर कितने घोड़े हैं?",
    ),
    "which-colour": (say("quality", "q-quality", thing=the("camera"), quality="red"), "कैमरा किस रंग का है?"),
    "correlative": (
        say("work_for", "q-work_for2", agent="asha", company="vega"),
        "जिस कंपनी में आशा काम करती है, उसका नाम क्या है?",
    ),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_sentence(name):
    (stated, template), expected = SENTENCES[name]
    assert HINDI.sentence(stated, template).text == unicodedata.normalize("NFC", expected)


@pytest.mark.parametrize(
    ("noun", "gender", "forms"),
    [
        ("घोड़ा", "m", "घोड़ा घोड़े घोड़े घोड़ों"),
        ("कछुआ", "m", "कछुआ कछुए कछुए कछुओं"),
        ("रसोइया", "m", "रसोइया रसोइए रसोइए रसोइयों"),
        ("हाथी", "m", "हाथी हाथी हाथी हाथियों"),
        ("बढ़ई", "m", "बढ़ई बढ़ई बढ़ई बढ़इयों"),
        ("उल्लू", "m", "उल्लू उल्लू उल्लू उल्लुओं"),
        ("शेर", "m", "शेर शेर शेर शेरों"),
        ("बिल्ली", "f", "बिल्ली बिल्ली बिल्लियाँ बिल्लियों"),
        ("टाई", "f", "टाई टाई टाइयाँ टाइयों"),
        ("पत्रिका", "f", "पत्रिका पत्रिका पत्रिकाएँ पत्रिकाओं"),
        ("मेज़", "f", "मेज़ मेज़ मेज़ें मेज़ों"),
    ],
)
def test_declension(noun, gender, forms):
    found = [declined(noun, gender, plural, oblique) for plural in (False, True) for oblique in (False, True)]
    assert found == forms.split()


def test_postpositions_ask_for_the_oblique_case():
    """No marked masculine stands in the direct case before a postposition."""
    direct = {
        HINDI.lexicon[lexeme]["form"]
        for category in (*GOODS, "job", "place", "group")
        for lexeme in CATEGORIES[category]
        if HINDI.lexicon[lexeme]["form"][-1] in "ाआ"
        and HINDI.lexicon[lexeme].get("gender", "m") == "m"
        and "fixed" not in HINDI.lexicon[lexeme]
    }
    assert {"कुत्ता", "कछुआ", "रसोइया", "आईना"} <= direct
    for _, _, sentence, _ in spoken("hi"):
        for first, second in zip(sentence.words, sentence.words[1:], strict=False):
            a_woman = first.text == "रसोइया" and "करती" in sentence.text  # the feminine is not inflected
            assert a_woman or first.text not in direct or second.text not in POSTPOSITIONS, sentence.text


def test_a_role_ends_without_its_postposition():
    for _, _, sentence, text in spoken("hi"):
        for role in {word.role for word in sentence.words} - {"", "verb", "activity"}:
            start, end = sentence.span(role)
            assert text[start:end].split()[-1] not in POSTPOSITIONS, text


def test_the_particle_of_negation_is_composed():
    text = resources.files("xstilts.miniature").joinpath("languages", "hi.toml").read_text("utf-8")
    assert tomllib.loads(text)["words"]["PART"] == "नहीं"
