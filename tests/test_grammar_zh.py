"""Chinese sentences of the miniature against sentences written by hand."""

from __future__ import annotations

import pytest

from saying import told
from xstilts.miniature.inventory import CATEGORIES, GOODS, OBJECTS
from xstilts.miniature.languages.zh import Chinese

ZH = Chinese()


ACT = "act agent=anna verb="
CASES = {
    "perfective-le": (ACT + "to_buy object=apple", "", "安娜买了一个苹果。"),
    "classifier-flat": (ACT + "to_buy object=table", "", "安娜买了一张桌子。"),
    "classifier-handle": (ACT + "to_find object=knife", "", "安娜找到了一把刀。"),
    "classifier-long": (ACT + "to_choose object=scarf", "", "安娜挑选了一条围巾。"),
    "classifier-vehicle": (ACT + "to_draw object=truck", "", "安娜画了一辆卡车。"),
    "classifier-horse": (ACT + "to_see object=horse", "", "安娜看见了一匹马。"),
    "classifier-animal-small": (ACT + "to_see object=parrot", "", "安娜看见了一只鹦鹉。"),
    "classifier-animal-big": (ACT + "to_photograph object=elephant", "", "安娜拍摄了一头大象。"),
    "classifier-volume": (ACT + "to_read object=book", "", "安娜看了一本书。"),
    "classifier-letter": (ACT + "to_write object=letter", "", "安娜写了一封信。"),
    "classifier-poem": (ACT + "to_write object=poem", "", "安娜写了一首诗。"),
    "classifier-garment": (ACT + "to_buy object=shirt", "", "安娜买了一件衬衫。"),
    "classifier-hypernym": (ACT + "to_buy object=any_garment", "", "安娜买了一件衣服。"),
    "two-is-liang": (ACT + "to_eat object=banana*2", "", "安娜吃了两根香蕉。"),
    "numeral-classifier": (ACT + "to_eat object=pear*9", "", "安娜吃了九个梨。"),
    "adjective-with-de": (ACT + "to_buy object=box/red", "", "安娜买了一个红色的盒子。"),
    "adjective-short": (ACT + "to_buy object=hat/new", "", "安娜买了一顶新帽子。"),
    "adjective-short-doubled": (ACT + "to_buy object=coat/big", "", "安娜买了一件大的大衣。"),
    "adjective-long-with-de": (ACT + "to_find object=ring/expensive", "", "安娜找到了一枚贵的戒指。"),
    "definite-demonstrative": (ACT + "to_repair object=bicycle!", "", "安娜修理了那辆自行车。"),
    "definite-adjective": (ACT + "to_lose object=umbrella/old!", "", "安娜弄丢了那把旧雨伞。"),
    "definite-plural": (ACT + "to_buy object=cow*4", "q-act-agent", "谁买了那些奶牛？"),
    "mass-without-classifier": (ACT + "to_order object=cheese", "", "安娜点了奶酪。"),
    "time-before-place-before-verb": (
        ACT + "to_drink object=milk place=park time=yesterday",
        "",
        "安娜昨天在公园里喝了牛奶。",
    ),
    "time-fronted": (
        "act agent=doctor! verb=to_feed object=rabbit! place=garden time=on_monday",
        "act-fronted",
        "星期一医生在花园里喂了那只兔子。",
    ),
    "place-without-localiser": (ACT + "to_borrow object=book place=library", "", "安娜在图书馆借了一本书。"),
    "place-localiser-shang": (ACT + "to_lose object=key! place=beach", "", "安娜在海滩上弄丢了那把钥匙。"),
    "durative-zhe": (ACT + "to_carry object=basket!", "", "安娜拿着那个篮子。"),
    "forget-to-take": (ACT + "to_forget object=phone! place=cafe", "", "安娜在咖啡馆忘了拿那部手机。"),
    "bring-to-place": (ACT + "to_bring object=gift place=school time=last_week", "", "安娜上周带了一份礼物到学校。"),
    "bring-where-to": (ACT + "to_bring object=gift place=school", "q-act-place", "安娜把那份礼物带到了哪里？"),
    "read-a-poem": (ACT + "to_read object=poem", "", "安娜读了一首诗。"),
    "negation-read": ("act_not agent=anna verb=to_read object=book", "", "安娜没有看书。"),
    "drink-a-soup": (ACT + "to_eat object=soup", "", "安娜喝了汤。"),
    "spoil-a-toy": (ACT + "to_break object=toy!", "", "安娜弄坏了那个玩具。"),
    "rice-eaten": (ACT + "to_cook object=rice", "", "安娜做了米饭。"),
    "rice-bought": (ACT + "to_buy object=rice", "", "安娜买了大米。"),
    "pronoun-subject": ("act agent=someone verb=to_drink object=tea", "", "有人喝了茶。"),
    "pronoun-object": (ACT + "to_see object=someone", "", "安娜看见了某个人。"),
    "pronoun-thing": (ACT + "to_eat object=something", "", "安娜吃了某样东西。"),
    "pronoun-possessor": ("live agent=someone city=paris", "live-home", "某个人的家在巴黎。"),
    "negation-without-le": ("act_not agent=anna verb=to_buy object=apple", "", "安娜没有买苹果。"),
    "negation-definite": (
        "act_not agent=anna verb=to_wash object=shirt! time=yesterday",
        "",
        "安娜昨天没有洗那件衬衫。",
    ),
    "negation-forget": ("act_not agent=anna verb=to_forget object=key!", "", "安娜没有忘记拿那把钥匙。"),
    "negation-bu": ("like_not agent=ali object=honey", "", "阿里不喜欢蜂蜜。"),
    "question-in-place-object": (ACT + "to_buy object=apple time=yesterday", "q-act-object", "安娜昨天买了什么？"),
    "question-shi-de-place": (
        ACT + "to_buy object=car time=last_year place=village",
        "q-act-place",
        "安娜去年是在哪里买那辆汽车的？",
    ),
    "question-shi-de-time": (
        ACT + "to_break object=cup! time=last_year place=kitchen",
        "q-act-time",
        "安娜是什么时候在厨房里打碎那个杯子的？",
    ),
    "go-le": ("go agent=peter place=hospital time=this_morning", "", "彼得今天早上去了医院。"),
    "means-before-go": (
        "travel agent=wei city=beijing means=by_train time=last_month",
        "",
        "小伟上个月坐火车去了北京。",
    ),
    "future-jiang": ("will_travel agent=wei city=rome means=by_plane time=next_year", "", "小伟明年将坐飞机去罗马。"),
    "year-before-place": ("born agent=eva city=london year=1984", "", "伊娃1984年在伦敦出生。"),
    "year-question": ("born agent=eva city=london year=1984", "q-born-year2", "伊娃是哪一年出生的？"),
    "age-figure": ("age agent=max age=40", "", "马克斯40岁。"),
    "possessive-de": ("kin agent=anna kin=mother other=peter", "", "安娜是彼得的母亲。"),
    "possession-you": ("own agent=olga object=cat/white", "", "奥尔加有一只白色的猫。"),
    "belongs-shi-de": ("own agent=olga object=camera", "own-belongs", "那台照相机是奥尔加的。"),
    "colour-shi-de": ("quality thing=car! quality=red", "", "那辆汽车是红色的。"),
    "colour-question": ("quality thing=car! quality=red", "q-quality", "那辆汽车是什么颜色的？"),
    "quality-hen": ("quality thing=belt! quality=beautiful", "", "那条腰带很漂亮。"),
    "located-zai": ("at thing=snake! place=forest", "", "那条蛇在森林里。"),
    "two-objects": ("give agent=anna other=raj object=candle time=on_friday", "", "安娜星期五给了拉杰一支蜡烛。"),
    "ba-construction": ("give agent=anna other=raj object=flower", "q-give-other", "安娜把那朵花给了谁？"),
    "from-person-nali": ("sell_to agent=anna other=raj object=bed", "sell_to-bought", "拉杰从安娜那里买了一张床。"),
    "comparison-bi": ("compare agent=nina comparison=taller other=paul", "", "尼娜比保罗高。"),
    "existential-place-first": ("count_at counted=bear*2 place=park", "count_at-fronted", "公园里有两头熊。"),
    "how-many-classifier": ("count_at counted=sheep*7 place=farm", "q-count", "农场有多少只绵羊？"),
    "price": ("cost thing=lamp! price=25", "cost-price", "那盏台灯的价格是25欧元。"),
    "hour": ("opens place=museum hour=9", "", "博物馆9点开门。"),
    "weather-le": ("weather weather=rained city=cairo time=on_sunday", "weather-fronted", "星期天开罗下雨了。"),
    "ability-hui": ("can agent=zuri skill=can_ride", "", "祖丽会骑马。"),
    "inability-bu-hui": ("speak_not agent=zuri language=french", "", "祖丽不会说法语。"),
    "feel-hen": ("feel agent=nurse! state=thirsty", "", "护士很渴。"),
    "feel-bu": ("feel_not agent=nurse! state=thirsty", "", "护士不渴。"),
    "feel-sick": ("feel_not agent=nurse! state=sick", "", "护士没有生病。"),
    "meet-separable": ("meet agent=sara other=omar place=station", "", "萨拉在车站和奥马尔见了面。"),
    "made-shi-yong-de": ("made_of thing=box! material=of_wood", "", "那个盒子是用木头做的。"),
    "wear-chuan": ("wear agent=clara object=skirt/green", "", "克拉拉穿着一条绿色的短裙。"),
    "wear-dai": ("wear agent=clara object=hat", "", "克拉拉戴着一顶帽子。"),
    "wear-ji": ("wear agent=clara object=tie", "q-wear", "克拉拉系着什么？"),
    "plural-men": ("group_did group=children! activity=to_play place=park", "", "孩子们在公园里玩了。"),
    "animal-runs": ("did agent=dog! activity=to_run", "", "那条狗奔跑了。"),
    "person-runs": ("did agent=teacher! activity=to_run", "", "老师跑步了。"),
    "want-xiang": ("want agent=eva verb=to_write object=story", "", "伊娃想写一个故事。"),
    "habit-dou": ("habit agent=eva verb=to_drink object=coffee frequency=every_day", "", "伊娃每天都喝咖啡。"),
    "because-so": (
        "because agent=lena reaction=went_to_bed state=tired time=yesterday",
        "",
        "莱娜因为很累，所以昨天上床睡觉了。",
    ),
    "play-string": ("play agent=emma instrument=violin", "", "艾玛拉小提琴。"),
    "play-wind": ("play agent=emma instrument=flute", "", "艾玛吹长笛。"),
    "company": ("based company=terra city=tokyo", "", "泰拉公司的总部在东京。"),
    "founded-yu": ("founded company=atlas year=1999", "", "阿特拉斯公司成立于1999年。"),
}


@pytest.mark.parametrize(("text", "template", "expected"), CASES.values(), ids=CASES)
def test_sentence(text, template, expected):
    assert ZH.sentence(told(text), template).text == expected


@pytest.mark.parametrize("category", [*GOODS, "hypernym"])
def test_every_count_noun_has_a_measure_word(category):
    measures = set("个只头条匹本份封首部台盏张把面块辆顶件枚支朵幅架根种")
    for lexeme in CATEGORIES[category]:
        entry = ZH.lexicon[lexeme]
        assert entry["cl"] in measures
        found = told(f"own agent=anna object={lexeme}*2")
        assert (
            ZH.sentence(found).text == f"安娜有两{entry['cl']}{entry['form'].replace('/NOUN', '').replace(' ', '')}。"
        )


@pytest.mark.parametrize("verb", OBJECTS)
def test_denials_have_no_aspect(verb):
    things = [lexeme for name in OBJECTS[verb] for lexeme in CATEGORIES.get(name, (name,))]
    for thing in things:
        sentence = ZH.sentence(told(f"act_not agent=anna verb={verb} object={thing}"))
        assert sentence.words[1].text == "没有"
        assert "了" not in sentence.text
        said = ZH.sentence(told(f"act agent=anna verb={verb} object={thing}"))
        assert sum(word.upos == "AUX" for word in said.words) == 1
