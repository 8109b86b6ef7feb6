"""General words of praise and complaint: the seeds from which the opinions of a corpus are grown.

They fit any kind of item; what is particular to one (crispy, well-acted) is learned from the reviews themselves.
"""

from __future__ import annotations

from gavamoe.features.lexicon import words

PRAISE = words(
    """good great excellent wonderful amazing awesome fantastic superb brilliant perfect beautiful lovely nice fine
    impressive outstanding terrific delightful charming fun funny entertaining enjoyable interesting clever smart fresh
    solid strong rich warm friendly helpful clean comfortable cozy spacious delicious tasty easy quick fast reliable
    convenient affordable reasonable cheap elegant stunning gorgeous powerful compelling memorable remarkable
    exceptional magnificent splendid pleasant satisfying touching moving exciting thrilling gripping engaging witty
    hilarious original inventive creative effective intelligent sharp smooth stylish bright polite attentive generous
    best better favorite ideal flawless masterful rewarding refreshing fascinating"""
)
COMPLAINT = words(
    """bad poor terrible awful horrible dreadful disappointing boring dull weak slow silly stupid ugly dirty noisy loud
    rude cold expensive overpriced cheap-looking bland tasteless stale mediocre predictable annoying confusing messy
    tedious tiresome lame flat thin shallow hollow clumsy awkward forced uneven bloated lazy unfunny ridiculous absurd
    pointless useless worthless broken defective unreliable uncomfortable cramped small difficult hard inconvenient
    unpleasant unfriendly unhelpful worse worst lousy pathetic sloppy generic formulaic derivative tired pretentious
    unnecessary unconvincing implausible disgusting nasty frustrating misleading wrong"""
)
SEEDS: dict[str, int] = {**dict.fromkeys(PRAISE, 1), **dict.fromkeys(COMPLAINT, -1)}
