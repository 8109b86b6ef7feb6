"""The closed classes of English words, and other lists, that features are found by."""

from __future__ import annotations

from gavamoe.features.tokens import END_OF_TEXT

SENTENCE_ENDS = frozenset(".!?;:()" + END_OF_TEXT)


def words(text: str) -> frozenset[str]:
    """Return the words of a text as a set."""
    return frozenset(text.split())


POSSESSIVES = words("the its his her their my our your s")
DETERMINERS = POSSESSIVES | words("a an")
BE = words("is are was were be been feels feel felt looks look looked seems seem seemed remains sounds tastes")
DEGREES = words(
    "very so too more most really quite extremely truly pretty rather fairly less least incredibly highly surprisingly "
    "absolutely utterly"
)
NEGATIONS = words(
    "not never no hardly barely without nothing isn't wasn't aren't weren't doesn't don't didn't can't won't ain't"
)
# Words and marks that end a noun phrase: a noun comes before them far more often than an adjective does.
CLOSERS = (
    BE
    | words(
        "of in on at to from with by for between about into through without and or but that which who as than when "
        "while if because has have had will would can could does do did . , ; : ! ? ( )"
    )
    | {END_OF_TEXT}
)
# Words that are never a feature nor an opinion, however they stand.
CLOSED = (
    CLOSERS
    | DETERMINERS
    | DEGREES
    | NEGATIONS
    | words(
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

# Shell nouns (Schmid, 2000) and their like: they take an adjective in set phrases (a good job, a great deal, in great
# part) and stand for something else, or for whoever looks on; an opinion of them is not of an aspect of the item.
SHELL_NOUNS = words(
    "job deal idea bet choice choices addition feat share take turn touch touches aspect aspects element elements "
    "bits opportunity opportunities attempt attempts effort efforts start beginning word memory taste fit inside "
    "due known experience entry measure manner fashion sense mix mixture blend combination variety affair exercise "
    "example return view state levels standards hand hands eye eyes face mind brain place ground air fire surprise "
    "surprises series enjoyed history future life lives world audience viewers fans children buy purchase situation "
    "situations circumstances process task sign support behavior address line form nature answers results group "
    "match path pleasures qualities pieces cry attention approach achievement accomplishment decision decisions topic "
    "desire truth truths directions expression masterwork masterpiece genius attributes"
)
