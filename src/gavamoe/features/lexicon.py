"""Word lists for finding features: the closed classes of English words, shell nouns, and seed opinion words.

SEED_OPINIONS are general words of praise and complaint that fit any kind of item. Mining starts from them and learns
the opinion words that are particular to a corpus (crispy, well-acted) from its reviews.
"""

from __future__ import annotations

from gavamoe.features.tokens import END_OF_TEXT

SENTENCE_ENDS = frozenset(".!?;:()" + END_OF_TEXT)


def word_set(text: str) -> frozenset[str]:
    """Return the words of a string, separated by white space, as a set."""
    return frozenset(text.split())


POSSESSIVES = word_set("the its his her their my our your s")
DETERMINERS = POSSESSIVES | word_set("a an")
BE = word_set("is are was were be been feels feel felt looks look looked seems seem seemed remains sounds tastes")
DEGREES = word_set(
    "very so too more most really quite extremely truly pretty rather fairly less least incredibly highly surprisingly "
    "absolutely utterly"
)
NEGATIONS = word_set(
    "not never no hardly barely without nothing isn't wasn't aren't weren't doesn't don't didn't can't won't ain't"
)
# Words and punctuation that end a noun phrase: nouns precede them far more often than adjectives do.
CLOSERS = (
    BE
    | word_set(
        "of in on at to from with by for between about into through without and or but that which who as than when "
        "while if because has have had will would can could does do did . , ; : ! ? ( )"
    )
    | {END_OF_TEXT}
)
# Words that are never a feature or an opinion, in whatever position.
CLOSED = (
    CLOSERS
    | DETERMINERS
    | DEGREES
    | NEGATIONS
    | word_set(
        "like far "
        "i you he she it we they me him us them this these those such all any some every each no another other others "
        "one ones own two three four five six seven eight nine ten first second third last next few many much several "
        "lot lots kind sort bit way ways thing things stuff something anything everything someone anyone everyone what "
        "where why how there here then now about into over out up down off after before between through during against "
        "both again ever always never just also even only still yet though almost already often enough whole same "
        "should might must may shall time times year years day days week weeks month months hour hours minute minutes "
        "part parts side half end ends rest result fact case point course use reason reasons amount number level lack "
        "matter person people man woman men women guy guys kid kids son daughter wife husband mother father friend "
        "friends family moment moments make makes made get gets got go goes going come comes need needs want wants "
        "work works try see look doing being having going fails makes takes plenty couple pair bunch"
    )
)

# Shell nouns (Schmid, 2000) and similar words. They take an adjective in set phrases (a good job, a great deal, in
# great part) and stand for something else, or for the viewer. An opinion about them is not about an aspect of the item.
SHELL_NOUNS = word_set(
    "job deal idea bet choice choices addition feat share take turn touch touches aspect aspects element elements "
    "bits opportunity opportunities attempt attempts effort efforts start beginning word memory taste fit inside "
    "due known experience entry measure manner fashion sense mix mixture blend combination variety affair exercise "
    "example return view state levels standards hand hands eye eyes face mind brain place ground air fire surprise "
    "surprises series enjoyed history future life lives world audience viewers fans children buy purchase situation "
    "situations circumstances process task sign support behavior address line form nature answers results group "
    "match path pleasures qualities pieces cry attention approach achievement accomplishment decision decisions topic "
    "desire truth truths directions expression masterwork masterpiece genius attributes"
)

# General words of praise and complaint, with their sentiment: 1 or -1.
PRAISE = word_set(
    """good great excellent wonderful amazing awesome fantastic superb brilliant perfect beautiful lovely nice fine
    impressive outstanding terrific delightful charming fun funny entertaining enjoyable interesting clever smart fresh
    solid strong rich warm friendly helpful clean comfortable cozy spacious delicious tasty easy quick fast reliable
    convenient affordable reasonable cheap elegant stunning gorgeous powerful compelling memorable remarkable
    exceptional magnificent splendid pleasant satisfying touching moving exciting thrilling gripping engaging witty
    hilarious original inventive creative effective intelligent sharp smooth stylish bright polite attentive generous
    best better favorite ideal flawless masterful rewarding refreshing fascinating"""
)
COMPLAINT = word_set(
    """bad poor terrible awful horrible dreadful disappointing boring dull weak slow silly stupid ugly dirty noisy loud
    rude cold expensive overpriced cheap-looking bland tasteless stale mediocre predictable annoying confusing messy
    tedious tiresome lame flat thin shallow hollow clumsy awkward forced uneven bloated lazy unfunny ridiculous absurd
    pointless useless worthless broken defective unreliable uncomfortable cramped small difficult hard inconvenient
    unpleasant unfriendly unhelpful worse worst lousy pathetic sloppy generic formulaic derivative tired pretentious
    unnecessary unconvincing implausible disgusting nasty frustrating misleading wrong"""
)
SEED_OPINIONS: dict[str, int] = {**dict.fromkeys(PRAISE, 1), **dict.fromkeys(COMPLAINT, -1)}
