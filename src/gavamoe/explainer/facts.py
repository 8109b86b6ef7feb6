"""What a prompt can state of a pair beside rating and feature: the item in words, and quotations of other reviews.

PairFacts.fields(row, level, feature, context) -> PromptFields    in training, evaluation and use

Quotations come from the index of training reviews. A pair's own review is never quoted: evidence is by other users, and
history is about other items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gavamoe.conditions import Condition, Context
from gavamoe.data.catalog import Catalog
from gavamoe.explainer.evidence import PairEvidence
from gavamoe.language.prompt import PromptFields, Quotation
from gavamoe.words import first_words

DESCRIPTION_WORDS = 40  # a longer description is cut, since a prompt gives up quotations before it cuts further


@dataclass(frozen=True)
class ItemTexts:
    """Name, categories and description of items by id; id 0, the unknown item, has none.

    Args:
        names: titles, or the names in the reviews where an item has no title.
        categories: lists of texts.
        descriptions: at most DESCRIPTION_WORDS words each; None where the item has none.
    """

    names: Sequence[str | None]
    categories: Sequence[Sequence[str]]
    descriptions: Sequence[str | None]

    @classmethod
    def from_catalog(cls, catalog: Catalog) -> ItemTexts:
        """Return the texts of the items of a catalog."""
        items = catalog.items
        titles = zip(items["title"].to_list(), items["item"].to_list(), strict=True)
        descriptions = (first_words(text or "", DESCRIPTION_WORDS) or None for text in items["description"].to_list())
        categories = (tuple(each or ()) for each in items["categories"].to_list())
        return cls([None, *(title or name for title, name in titles)], [(), *categories], [None, *descriptions])


@dataclass(frozen=True)
class PairFacts:
    """What the prompts of N pairs can state, looked up by row.

    Args:
        quotations: the sentences that prompts quote; None if they quote none.
        items: the items' texts; None for prompts of special tokens, which state no item.
        names: each item's name in the reviews [N], which is all that is known of an unknown item.
    """

    quotations: PairEvidence | None
    items: ItemTexts | None = None
    names: Sequence[str] = ()

    def fields(
        self,
        row: int,
        level: int | None,
        feature: str | None,
        context: Context = "history",
        user_known: bool = True,
        item_known: bool = True,
    ) -> PromptFields:
        """Return what the prompt of a pair states.

        Args:
            row: the pair.
            level: the rating level to state.
            feature: the feature to state, which quotations should be about.
            context: which of the facts to state. Prompts of special tokens state their evidence in any case.
            user_known: whether the user is not hidden. A hidden user has no history, like a new one.
            item_known: whether the item is not hidden. A hidden item has only its name, like a new one. The user's own
                sentences about it stay excluded in any case.
        """
        evidence: tuple[str, ...] = ()
        found = self.quotations
        if self.items is None:
            return PromptFields(level, feature, found.sentences(row, feature) if found and item_known else evidence)
        condition, fields = Condition(context=context), PromptFields(level, feature)
        if not condition.states("item"):
            return fields
        item = int(found.item_id[row]) if found and item_known else 0
        history: tuple[Quotation, ...] = ()
        if found and item and condition.states("evidence"):
            evidence = found.sentences(row, feature)
        if found and user_known and condition.states("history"):
            names = self.items.names
            history = tuple(Quotation(names[each.item_id] or "", each.text) for each in found.by_user(row, feature))
        name, categories = self.items.names[item] or self.names[row], tuple(self.items.categories[item])
        return PromptFields(level, feature, evidence, name, categories, self.items.descriptions[item], history)
