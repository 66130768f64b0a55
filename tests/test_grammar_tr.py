"""Turkish sentences of the miniature against sentences written by hand."""

from __future__ import annotations

import re

import pytest

from saying import told
from xstilts.miniature.inventory import CATEGORIES, CATEGORY
from xstilts.miniature.languages.tr import Turkish, attach

TR = Turkish()
FRONT, BACK = set("eiöü"), set("aıouâ")


ACT = "act agent=anna verb="
CASES = {
    "indefinite-object-bare-case": (ACT + "to_buy object=apple", "", "Anna bir elma satın aldı."),
    "singular-after-numeral": (ACT + "to_buy object=apple*3", "", "Anna üç elma satın aldı."),
    "adjective-before-bir": (ACT + "to_find object=box/red", "", "Anna kırmızı bir kutu buldu."),
    "accusative-definite-front": (ACT + "to_repair object=bicycle!", "", "Anna bisikleti tamir etti."),
    "accusative-definite-back": (ACT + "to_clean object=carpet!", "", "Anna halıyı temizledi."),
    "accusative-adjective": (ACT + "to_wash object=coat/new!", "", "Anna yeni paltoyu yıkadı."),
    "softening-k": (ACT + "to_lose object=knife!", "", "Anna bıçağı kaybetti."),
    "softening-k-rounded": (ACT + "to_lose object=ring!", "", "Anna yüzüğü kaybetti."),
    "softening-p": (ACT + "to_hide object=book!", "", "Anna kitabı sakladı."),
    "softening-t": (ACT + "to_wash object=pear!", "", "Anna armudu yıkadı."),
    "no-softening-t": (ACT + "to_carry object=basket!", "", "Anna sepeti taşıdı."),
    "no-softening-p": (ACT + "to_carry object=ball!", "", "Anna topu taşıdı."),
    "vowel-drop": (ACT + "to_hide object=picture!", "", "Anna resmi sakladı."),
    "irregular-harmony-saat": (ACT + "to_repair object=clock!", "", "Anna saati tamir etti."),
    "compound-accusative": (ACT + "to_forget object=camera!", "", "Anna fotoğraf makinesini unuttu."),
    "compound-joined-accusative": (ACT + "to_clean object=fridge!", "", "Anna buzdolabını temizledi."),
    "pronoun-object-person": (ACT + "to_see object=someone", "", "Anna birini gördü."),
    "pronoun-object-thing": (ACT + "to_buy object=something", "", "Anna bir şey satın aldı."),
    "pronoun-subject": ("act agent=someone verb=to_drink object=milk", "", "Biri süt içti."),
    "mass-object": (ACT + "to_bring object=butter", "", "Anna tereyağı getirdi."),
    "bring-to-place": (ACT + "to_bring object=gift place=school", "", "Anna okula bir hediye getirdi."),
    "bring-where-to": (ACT + "to_bring object=gift place=school", "q-act-place", "Anna hediyeyi nereye getirdi?"),
    "drink-a-soup": (ACT + "to_eat object=soup place=restaurant", "", "Anna restoranda çorba içti."),
    "rice-eaten": (ACT + "to_eat object=rice", "", "Anna pilav yedi."),
    "rice-bought": (ACT + "to_buy object=rice", "", "Anna pirinç satın aldı."),
    "genitive-object": (
        ACT + "to_photograph object=lion place=park time=yesterday",
        "",
        "Anna dün parkta bir aslanın fotoğrafını çekti.",
    ),
    "genitive-object-question": (
        ACT + "to_photograph object=dog time=last_year",
        "q-act-agent",
        "Geçen yıl köpeğin fotoğrafını kim çekti?",
    ),
    "question-word-genitive": (ACT + "to_photograph object=lion", "q-act-object", "Anna neyin fotoğrafını çekti?"),
    "question-word-accusative": (ACT + "to_break object=mirror!", "q-act-object", "Anna neyi kırdı?"),
    "question-word-bare": (ACT + "to_buy object=apple", "q-act-object", "Anna ne satın aldı?"),
    "question-definite-plural": (ACT + "to_buy object=horse*4", "q-act-agent", "Atları kim satın aldı?"),
    "question-time": (
        ACT + "to_read object=newspaper place=cafe time=on_monday",
        "q-act-time",
        "Anna gazeteyi kafede ne zaman okudu?",
    ),
    "fronted-time-capital-dotted": (
        "act agent=irina verb=to_draw object=camel time=this_morning place=beach",
        "act-fronted",
        "Bu sabah İrina plajda bir deve çizdi.",
    ),
    "capital-dotted-i": ("count_at counted=cow*2 place=station", "", "İstasyonda iki inek var."),
    "denial-without-bir": ("act_not agent=anna verb=to_see object=cat", "", "Anna kedi görmedi."),
    "denial-definite": ("act_not agent=anna verb=to_feed object=cow!", "", "Anna ineği beslemedi."),
    "job-subject": ("act agent=doctor! verb=to_order object=tea", "", "Doktor çay sipariş etti."),
    "dative-softening": ("go agent=omar place=kitchen", "", "Ömer mutfağa gitti."),
    "dative-compound": ("go agent=nina place=airport time=last_night", "", "Nina dün gece havalimanına gitti."),
    "locative-compound": ("work_at agent=nina place=airport", "", "Nina havalimanında çalışıyor."),
    "locative-hardening": ("at thing=dog! place=farm", "", "Köpek çiftlikte."),
    "apostrophe-dative-back": ("travel agent=ali city=moscow means=by_plane", "", "Ali uçakla Moskova'ya gitti."),
    "apostrophe-dative-front": ("travel agent=ali city=beijing", "", "Ali Pekin'e gitti."),
    "apostrophe-locative-hardening": ("live agent=ali city=baghdad", "", "Ali Bağdat'ta yaşıyor."),
    "apostrophe-locative-soft": ("live agent=ali city=istanbul", "", "Ali İstanbul'da yaşıyor."),
    "apostrophe-genitive-buffer": ("live agent=julia city=vienna", "live-home", "Julia'nın evi Viyana'da."),
    "apostrophe-no-softening": ("age agent=mehmet age=40", "age-age", "Mehmet'in yaşı 40."),
    "harmony-by-sound-max": (
        "sell_to agent=max other=eva object=car",
        "sell_to-bought",
        "Eva, Max'tan bir araba satın aldı.",
    ),
    "harmony-by-sound-jean": ("age agent=jean age=40", "age-age", "Jean'ın yaşı 40."),
    "future": (
        "will_travel agent=emre city=athens means=by_ship time=tomorrow",
        "",
        "Emre yarın gemiyle Atina'ya gidecek.",
    ),
    "possessive-comma": ("kin agent=anna kin=mother other=peter", "", "Anna, Peter'in annesi."),
    "possessive-vowel-drop": ("kin agent=paul kin=son other=emma", "kin-of", "Emma'nın oğlu Paul."),
    "possession-var": ("own agent=elif object=horse/white", "", "Elif'in beyaz bir atı var."),
    "possession-softening": ("own agent=olga object=dog", "", "Olga'nın bir köpeği var."),
    "possession-vowel": ("own agent=olga object=cat", "", "Olga'nın bir kedisi var."),
    "possession-compound": ("own agent=olga object=any_instrument", "", "Olga'nın bir müzik aleti var."),
    "belongs-dative": ("own agent=sara object=piano", "own-belongs", "Piyano Sara'ya ait."),
    "dative-recipient": (
        "give agent=anna other=viktor object=scarf time=on_friday",
        "",
        "Anna cuma günü Viktor'a bir atkı verdi.",
    ),
    "ablative-giver": ("give agent=anna other=viktor object=scarf", "give-received", "Viktor, Anna'dan bir atkı aldı."),
    "ablative-comparison": ("compare agent=zuri comparison=older other=thomas", "", "Zuri, Thomas'tan daha yaşlı."),
    "exists-singular": ("count_at counted=sheep*7 place=forest", "", "Ormanda yedi koyun var."),
    "how-many-singular": ("count_at counted=tractor*7 place=village", "q-count", "Köyde kaç traktör var?"),
    "genitive-price": ("cost thing=tie! price=25", "cost-price", "Kravatın fiyatı 25 avro."),
    "genitive-saat": ("cost thing=clock! price=25", "cost-price", "Saatin fiyatı 25 avro."),
    "figure-locative-back": ("opens place=museum hour=9", "", "Müze saat 9'da açılıyor."),
    "figure-locative-front": ("opens place=museum hour=8", "", "Müze saat 8'de açılıyor."),
    "figure-locative-ten": ("opens place=bank hour=10", "", "Banka saat 10'da açılıyor."),
    "genitive-su": ("cost thing=water! price=25", "cost-price", "Suyun fiyatı 25 avro."),
    "like-accusative-su": ("like agent=asha object=water", "", "Asha suyu seviyor."),
    "like-accusative-compound": ("like_not agent=asha object=juice", "", "Asha meyve suyunu sevmiyor."),
    "like-accusative-rice": ("like agent=asha object=rice", "", "Asha pilavı seviyor."),
    "wear-giymek": ("wear agent=clara object=skirt/green", "", "Clara yeşil bir etek giyiyor."),
    "wear-takmak": ("wear agent=clara object=hat/blue", "", "Clara mavi bir şapka takıyor."),
    "ability": ("can agent=raj skill=can_ride", "", "Raj ata binebiliyor."),
    "inability": ("can_not agent=raj skill=can_swim", "", "Raj yüzemiyor."),
    "degil": ("feel_not agent=teacher! state=busy", "", "Öğretmen meşgul değil."),
    "because-participle": (
        "because agent=lena reaction=went_to_bed state=tired time=yesterday",
        "",
        "Lena dün yorgun olduğu için yattı.",
    ),
    "because-verb": ("because agent=lena reaction=drank_water state=thirsty", "", "Lena susadığı için su içti."),
    "infinitive": ("want agent=eva verb=to_write object=story", "", "Eva bir hikâye yazmak istiyor."),
    "aorist": ("habit agent=eva verb=to_drink object=coffee frequency=every_day", "", "Eva her gün kahve içer."),
    "weather": ("weather weather=was_windy city=cairo time=on_sunday", "", "Kahire'de pazar günü hava rüzgârlıydı."),
    "ile": ("meet agent=ali other=eva", "", "Ali, Eva ile buluştu."),
    "company-genitive": ("based company=terra city=tokyo", "", "Terra şirketinin merkezi Tokyo'da."),
    "company-comma": ("work_for agent=paul company=vega", "", "Paul, Vega şirketinde çalışıyor."),
    "plural-group": ("group_did group=guests! activity=to_dance place=hotel", "", "Misafirler otelde dans etti."),
}


@pytest.mark.parametrize(("text", "template", "expected"), CASES.values(), ids=CASES)
def test_sentence(text, template, expected):
    assert TR.sentence(told(text), template).text == expected


PARADIGMS = {
    "kedi": ("kediyi", "kedinin", "kediye", "kedide", "kediden", "kedisi", "kediler"),
    "at": ("atı", "atın", "ata", "atta", "attan", "atı", "atlar"),
    "göz": ("gözü", "gözün", "göze", "gözde", "gözden", "gözü", "gözler"),
    "mum": ("mumu", "mumun", "muma", "mumda", "mumdan", "mumu", "mumlar"),
    "ağaç": ("ağacı", "ağacın", "ağaca", "ağaçta", "ağaçtan", "ağacı", "ağaçlar"),
}


@pytest.mark.parametrize("noun", PARADIGMS)
def test_paradigm(noun):
    stem = "ağac" if noun == "ağaç" else ""
    cases = ("acc", "gen", "dat", "loc", "abl", "poss", "plural")
    assert tuple(attach(noun, case, stem=stem) for case in cases) == PARADIGMS[noun]


@pytest.mark.parametrize("case", ["acc", "gen", "dat", "loc", "abl", "poss", "plural"])
def test_every_suffix_is_in_harmony(case):
    nouns = [
        x for x, c in CATEGORY.items() if "form" in TR.lexicon[x] and (c in RELATED or c in ("place", "city", "name"))
    ]
    assert len(nouns) > 180
    for lexeme in nouns:
        entry = TR.lexicon[lexeme]
        form = entry["form"]
        word = attach(form, case, **{k: entry[k] for k in ("stem", "said", "compound") if k in entry})
        suffix = word[len(entry.get("stem", form) if case in ("acc", "gen", "dat", "poss") else form) :]
        vowels = [letter for letter in suffix if letter in FRONT | BACK]
        if not vowels:
            assert entry.get("compound")
            assert case == "poss"
            continue
        last = [letter for letter in entry.get("said", form).lower() if letter in FRONT | BACK][-1]
        assert set(vowels) <= (FRONT if last in FRONT else BACK), word
        if vowels[0] in "ıiuü":
            assert (vowels[0] in "uü") == (last in "ouöü"), word
        assert not re.search(r"[fstkçşhp]d|[aeıioöuü]{2}", word[len(form) - 1 :]), word


RELATED = (
    "animal",
    "readable",
    "device",
    "furniture",
    "vehicle",
    "clothing",
    "thing",
    "instrument",
    "fruit",
    "food",
    "drink",
)


def test_softened_stems_are_marked():
    exceptions = {"top"}
    for category in RELATED:
        for lexeme in CATEGORIES[category]:
            entry = TR.lexicon[lexeme]
            form = entry["form"]
            vowels = [letter for letter in form if letter in FRONT | BACK]
            if form[-1] in "kçp" and len(vowels) > 1 and form not in exceptions:
                softened = {"k": "ğ", "ç": "c", "p": "b"}[form[-1]]
                assert entry.get("stem") == form[:-1] + softened, form
