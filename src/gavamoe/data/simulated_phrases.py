"""The phrases of simulated reviews, in English, German, Chinese and Arabic.

A sentence is an opening for the rating, then a reason or a concession that names an aspect and an opinion of it. German
and Arabic opinions agree with their aspect, so the links of these languages need no inflection.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Phrases:
    """The phrases of one language; every language has as many of each kind, so that the same draws choose them.

    Args:
        aspects: (aspect, three phrases of praise, three of complaint); the aspect is the review's `feature`.
        openings: three by rating level.
        reasons: links between opening and aspect where the aspect supports the rating.
        concessions: links where the aspect contradicts the rating.
        sentence: how opening and link make a sentence.
    """

    aspects: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]
    openings: dict[int, tuple[str, ...]]
    reasons: tuple[str, ...]
    concessions: tuple[str, ...]
    sentence: str = "{opening} {link} ."


ENGLISH = Phrases(
    aspects=(
        ("story", ("surprising", "rich", "gripping"), ("predictable", "muddled", "thin")),
        ("acting", ("superb", "moving", "vivid"), ("wooden", "flat", "unconvincing")),
        ("humour", ("sharp", "gentle", "hilarious"), ("tired", "forced", "mean")),
        ("music", ("haunting", "joyful", "unforgettable"), ("intrusive", "bland", "blaring")),
        ("photography", ("gorgeous", "inventive", "breathtaking"), ("murky", "cheap", "lifeless")),
        ("pace", ("brisk", "confident", "relentless"), ("sluggish", "uneven", "exhausting")),
        ("dialogue", ("witty", "natural", "quotable"), ("clumsy", "stilted", "dull")),
        ("ending", ("satisfying", "bold", "touching"), ("rushed", "absurd", "hollow")),
    ),
    openings={
        1: ("a waste of an evening ,", "i wanted to leave early ,", "nothing works here ,"),
        2: ("not for me ,", "a disappointment ,", "hard to recommend ,"),
        3: ("a mixed evening ,", "neither good nor bad ,", "it left me undecided ,"),
        4: ("well worth seeing ,", "i enjoyed this ,", "a fine evening ,"),
        5: ("i loved every minute ,", "a new favourite ,", "simply wonderful ,"),
    },
    reasons=(
        "above all because the {feature} is {opinion}",
        "and the {feature} is {opinion}",
        "because of the {opinion} {feature}",
    ),
    concessions=(
        "although the {feature} is {opinion}",
        "even if the {feature} is {opinion}",
        "despite the {opinion} {feature}",
    ),
)
GERMAN = Phrases(
    aspects=(
        ("die Handlung", ("überraschend", "vielschichtig", "packend"), ("vorhersehbar", "wirr", "dünn")),
        ("das Schauspiel", ("großartig", "bewegend", "lebendig"), ("hölzern", "flach", "unglaubwürdig")),
        ("der Humor", ("scharf", "sanft", "umwerfend"), ("müde", "bemüht", "gemein")),
        ("die Musik", ("betörend", "fröhlich", "unvergesslich"), ("aufdringlich", "fade", "zu laut")),
        ("die Kamera", ("wunderschön", "einfallsreich", "atemberaubend"), ("trüb", "billig", "leblos")),
        ("das Tempo", ("flott", "sicher", "mitreißend"), ("träge", "ungleichmäßig", "ermüdend")),
        ("der Dialog", ("geistreich", "natürlich", "denkwürdig"), ("unbeholfen", "gestelzt", "öde")),
        ("das Ende", ("stimmig", "mutig", "rührend"), ("überhastet", "absurd", "hohl")),
    ),
    openings={
        1: ("Ein verlorener Abend,", "Ich wollte früh gehen,", "Hier stimmt nichts,"),
        2: ("Nichts für mich,", "Eine Enttäuschung,", "Kaum zu empfehlen,"),
        3: ("Ein gemischter Abend,", "Weder gut noch schlecht,", "Ich bleibe unentschieden,"),
        4: ("Sehr sehenswert,", "Es hat mir gefallen,", "Ein schöner Abend,"),
        5: ("Jede Minute war schön,", "Ein neuer Liebling,", "Einfach wunderbar,"),
    },
    reasons=("vor allem weil {feature} {opinion} ist", "und {feature} ist {opinion}", "denn {feature} ist {opinion}"),
    concessions=(
        "obwohl {feature} {opinion} ist",
        "auch wenn {feature} {opinion} ist",
        "doch {feature} ist {opinion}",
    ),
    sentence="{opening} {link}.",
)
CHINESE = Phrases(
    aspects=(
        ("剧情", ("出人意料", "丰富", "扣人心弦"), ("老套", "混乱", "单薄")),
        ("演技", ("精湛", "动人", "鲜活"), ("生硬", "平淡", "没有说服力")),
        ("幽默", ("犀利", "温和", "令人捧腹"), ("陈旧", "勉强", "刻薄")),
        ("音乐", ("令人难忘", "欢快", "悠扬"), ("刺耳", "乏味", "太吵")),
        ("摄影", ("华丽", "新颖", "惊艳"), ("昏暗", "廉价", "毫无生气")),
        ("节奏", ("明快", "沉稳", "紧凑"), ("拖沓", "不均", "累人")),
        ("对白", ("风趣", "自然", "经典"), ("笨拙", "做作", "沉闷")),
        ("结局", ("圆满", "大胆", "感人"), ("仓促", "荒唐", "空洞")),
    ),
    openings={
        1: ("浪费了一个晚上，", "我想提前离场，", "这里一无是处，"),
        2: ("不适合我，", "令人失望，", "很难推荐，"),
        3: ("有好有坏，", "不好也不坏，", "我还拿不定主意，"),
        4: ("很值得一看，", "我很喜欢，", "美好的一晚，"),
        5: ("每一分钟都喜欢，", "新的最爱，", "实在太棒了，"),
    },
    reasons=("主要是因为{feature}{opinion}", "而且{feature}{opinion}", "因为{feature}{opinion}"),
    concessions=("虽然{feature}{opinion}", "即使{feature}{opinion}", "尽管{feature}{opinion}"),
    sentence="{opening}{link}。",
)
ARABIC = Phrases(
    aspects=(
        ("القصة", ("مفاجئة", "غنية", "مشوقة"), ("متوقعة", "مشوشة", "ضعيفة")),
        ("التمثيل", ("رائع", "مؤثر", "حي"), ("جامد", "باهت", "غير مقنع")),
        ("الفكاهة", ("ذكية", "لطيفة", "مضحكة"), ("قديمة", "متكلفة", "قاسية")),
        ("الموسيقى", ("ساحرة", "مبهجة", "خالدة"), ("مزعجة", "مملة", "صاخبة")),
        ("التصوير", ("بديع", "مبتكر", "مذهل"), ("معتم", "رخيص", "بلا حياة")),
        ("الإيقاع", ("سريع", "واثق", "متواصل"), ("بطيء", "متفاوت", "مرهق")),
        ("الحوار", ("ذكي", "طبيعي", "بليغ"), ("ركيك", "متصنع", "ممل")),
        ("النهاية", ("مرضية", "جريئة", "مؤثرة"), ("متسرعة", "سخيفة", "فارغة")),
    ),
    openings={
        1: ("أمسية ضائعة،", "أردت المغادرة مبكرا،", "لا شيء ينجح هنا،"),
        2: ("ليس لي،", "خيبة أمل،", "يصعب أن أنصح به،"),
        3: ("أمسية متباينة،", "لا جيد ولا سيئ،", "بقيت مترددا،"),
        4: ("يستحق المشاهدة،", "استمتعت به،", "أمسية جميلة،"),
        5: ("أحببت كل دقيقة،", "مفضلي الجديد،", "رائع بكل بساطة،"),
    },
    reasons=("خاصة لأن {feature} {opinion}", "و {feature} {opinion}", "لأن {feature} {opinion}"),
    concessions=("رغم أن {feature} {opinion}", "على الرغم من أن {feature} {opinion}", "مع أن {feature} {opinion}"),
    sentence="{opening} {link}.",
)
LANGUAGES = {"en": ENGLISH, "de": GERMAN, "zh": CHINESE, "ar": ARABIC}

TITLE_STEP = 13  # neighbours differ in both words of their titles
# Categories of simulated items by their best aspects, in the order of the aspects.
CATEGORIES = ("drama", "biography", "comedy", "musical", "documentary", "thriller", "romance", "mystery")


@dataclass(frozen=True)
class Titles:
    """Words that make the titles of simulated items.

    Args:
        adjectives, nouns: every pair of them makes a title.
    """

    adjectives: tuple[str, ...]
    nouns: tuple[str, ...]

    def name(self, item: int) -> tuple[str, str, int]:
        """Return the adjective and noun of an item's title, and how many earlier items have the same two words."""
        titles = len(self.adjectives) * len(self.nouns)
        # The step has no factor in common with the number of titles, so that each is used once before any repeats.
        noun, adjective = divmod(TITLE_STEP * item % titles, len(self.adjectives))
        return self.adjectives[adjective], self.nouns[noun], item // titles


TITLES = Titles(
    (
        "quiet",
        "hidden",
        "golden",
        "broken",
        "distant",
        "silver",
        "restless",
        "forgotten",
        "burning",
        "crooked",
        "late",
        "pale",
    ),
    ("harbour", "garden", "letter", "station", "orchard", "mirror", "winter", "bridge", "kitchen", "island", "theatre"),
)
