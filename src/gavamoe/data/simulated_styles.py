"""How the groups of a simulated world write: openers, intensifiers, sentence patterns and closing sentences.

Style is independent of rating and feature. Each part of a group's style appears in a review with the probability
`strength`; the other reviews have the plain sentence. Groups that share a part differ in another one, up to 16 groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

STREAM = 1  # separates the draws of style from all other draws of a world


@dataclass(frozen=True)
class Styles:
    """The parts of style in one language: four sets of each kind, with two variants in a set.

    Args:
        openers: what stands before the sentence.
        intensifiers: formats of an opinion.
        sentences: formats of a sentence; they replace the plain format.
        closers: sentences that follow; their lengths differ between sets.
        space: what joins opener, sentence and closer.
    """

    openers: tuple[tuple[str, str], ...]
    intensifiers: tuple[tuple[str, str], ...]
    sentences: tuple[tuple[str, str], ...]
    closers: tuple[tuple[str, str], ...]
    space: str = " "


@dataclass(frozen=True)
class Wording:
    """The style of one review; the default is the plain style.

    Args:
        opener, closer: text before and after the sentence; may be empty.
        intensifier: format of the opinion.
        sentence: format of the sentence; empty for the plain one.
        space: what joins the three.
    """

    opener: str = ""
    intensifier: str = "{opinion}"
    sentence: str = ""
    closer: str = ""
    space: str = " "

    def around(self, sentence: str) -> str:
        """Return the sentence with opener and closer."""
        return self.space.join(filter(None, (self.opener, sentence, self.closer)))


PLAIN = Wording()


def draw_wordings(group_N: np.ndarray, strength: float, seed: int, language: str) -> Iterator[Wording]:
    """Draw the style of each review.

    Args:
        group_N: the group of each review's user, [N].
        strength: probability of each of the four parts, 0..1; 0 gives the plain style.
        seed: the world's seed.
        language: language of the texts.
    """
    if strength == 0:
        yield from [PLAIN] * len(group_N)
        return
    styles = STYLES[language]
    rng = np.random.default_rng((seed, STREAM))
    used_N4 = (rng.random((len(group_N), 4)) < strength).tolist()
    variant_N4 = rng.integers(0, 2, (len(group_N), 4)).tolist()
    kinds = (styles.openers, styles.intensifiers, styles.sentences, styles.closers)
    plain = (PLAIN.opener, PLAIN.intensifier, PLAIN.sentence, PLAIN.closer)
    for group, used, variant in zip(group_N.tolist(), used_N4, variant_N4, strict=True):
        opener, intensifier, sentence, closer = (
            kind[_set_of(group, place, len(kind))][variant[place]] if used[place] else plain[place]
            for place, kind in enumerate(kinds)
        )
        yield Wording(opener, intensifier, sentence, closer, styles.space)


def _set_of(group: int, place: int, sets: int) -> int:
    """Return which set of a kind a group uses: group 4 shares only the opener with group 0, group 5 with group 1."""
    return (group + place * (group // sets)) % sets


ENGLISH = Styles(
    openers=(
        ("in short :", "verdict :"),
        ("honestly , folks ,", "so guess what ,"),
        ("on reflection ,", "as one might argue ,"),
        ("dear reader ,", "from the heart :"),
    ),
    intensifiers=(
        ("plainly {opinion}", "simply {opinion}"),
        ("totally {opinion}", "super {opinion}"),
        ("decidedly {opinion}", "undeniably {opinion}"),
        ("deeply {opinion}", "achingly {opinion}"),
    ),
    sentences=(
        ("{opening} {link} .", "{opening} {link} ;"),
        ("{opening} {link} !", "{opening} {link} ! ! !"),
        ("{opening} {link} , i submit .", "{opening} {link} , it would seem ."),
        ("{opening} {link} ...", "{opening} {link} , oh yes ..."),
    ),
    closers=(
        ("enough said .", "that is all ."),
        (
            "you know what i mean , right ? let me know if you saw it too , lol .",
            "anyway , we talked about it the whole way home and then again for a week , haha .",
        ),
        (
            "such is the measured judgement of one who has followed the director since the earliest works .",
            "whether posterity will concur is a question that this column must leave open for now .",
        ),
        ("i am still thinking of it tonight .", "it stays with me , quietly ."),
    ),
)
GERMAN = Styles(
    openers=(
        ("Kurz gesagt:", "Mein Urteil:"),
        ("Also ehrlich, Leute,", "Ratet mal,"),
        ("Bei näherer Betrachtung:", "Man könnte sagen:"),
        ("Liebe Leser,", "Von Herzen:"),
    ),
    intensifiers=(
        ("schlicht {opinion}", "einfach {opinion}"),
        ("total {opinion}", "echt {opinion}"),
        ("entschieden {opinion}", "zweifellos {opinion}"),
        ("zutiefst {opinion}", "unsagbar {opinion}"),
    ),
    sentences=(
        ("{opening} {link}.", "{opening} {link};"),
        ("{opening} {link}!", "{opening} {link}!!!"),
        ("{opening} {link}, wie mir scheint.", "{opening} {link}, so mein Befund."),
        ("{opening} {link} ...", "{opening} {link}, ach ja ..."),
    ),
    closers=(
        ("Mehr nicht.", "Das war es."),
        (
            "Ihr wisst, was ich meine, oder? Schreibt mir, wenn ihr auch drin wart!",
            "Wir haben jedenfalls den ganzen Heimweg davon geredet und dann noch eine Woche lang!",
        ),
        (
            "So lautet das Urteil eines Betrachters, der dem Regisseur seit den frühesten Werken folgt.",
            "Ob die Nachwelt dem zustimmt, muss diese Spalte vorerst offen lassen.",
        ),
        ("Ich denke noch heute Nacht daran.", "Es bleibt bei mir, ganz leise."),
    ),
)
CHINESE = Styles(
    openers=(
        ("简单说：", "结论："),
        ("说真的朋友们，", "你们猜怎么着，"),
        ("细细想来，", "或许可以说，"),
        ("亲爱的读者，", "发自内心地说，"),
    ),
    intensifiers=(
        ("就是{opinion}", "确实{opinion}"),
        ("真的{opinion}", "简直{opinion}"),
        ("可谓{opinion}", "显得{opinion}"),
        ("始终{opinion}", "总让我觉得{opinion}"),
    ),
    sentences=(
        ("{opening}{link}。", "{opening}{link}；"),
        ("{opening}{link}！", "{opening}{link}！！！"),
        ("{opening}{link}，在下以为。", "{opening}{link}，似乎如此。"),
        ("{opening}{link}……", "{opening}{link}，唉……"),
    ),
    closers=(
        ("就这些。", "说完了。"),
        (
            "你们懂我的意思吧？要是你也看了就告诉我，哈哈。",
            "反正我们回家路上一直在聊，后来又聊了一个星期，哈哈。",
        ),
        (
            "这是一位从导演最早作品一路追随至今的观者的审慎判断。",
            "后世是否赞同，本专栏只能暂且存疑。",
        ),
        ("今夜我还在想着它。", "它静静地留在我心里。"),
    ),
    space="",
)
ARABIC = Styles(
    openers=(
        ("باختصار:", "الحكم:"),
        ("بصراحة يا جماعة،", "خمنوا ماذا،"),
        ("عند التأمل،", "يمكن القول:"),
        ("عزيزي القارئ،", "من القلب:"),
    ),
    intensifiers=(
        ("{opinion} ببساطة", "{opinion} فقط"),
        ("{opinion} تماما", "{opinion} فعلا"),
        ("{opinion} بوضوح", "{opinion} بلا ريب"),
        ("{opinion} حقا", "{opinion} بعمق"),
    ),
    sentences=(
        ("{opening} {link}.", "{opening} {link}؛"),
        ("{opening} {link}!", "{opening} {link}!!!"),
        ("{opening} {link}، فيما أرى.", "{opening} {link}، على ما يبدو."),
        ("{opening} {link}...", "{opening} {link}، آه..."),
    ),
    closers=(
        ("هذا كل شيء.", "انتهى الكلام."),
        (
            "تفهمون قصدي، أليس كذلك؟ أخبروني إن شاهدتموه أيضا!",
            "على كل حال تحدثنا عنه طوال طريق العودة ثم أسبوعا كاملا!",
        ),
        (
            "هذا هو الحكم المتأني لمن تابع المخرج منذ أعماله الأولى.",
            "أما رأي الأجيال القادمة فيجب أن يتركه هذا العمود مفتوحا الآن.",
        ),
        ("ما زلت أفكر فيه الليلة.", "يبقى معي بهدوء."),
    ),
)
STYLES = {"en": ENGLISH, "de": GERMAN, "zh": CHINESE, "ar": ARABIC}
