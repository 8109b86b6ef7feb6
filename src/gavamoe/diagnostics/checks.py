"""Named checks of a run, one for each way in which the method fails, with thresholds that give pass, warn or fail.

Every check reads figures that other modules measured. A check whose figures do not exist is skipped and says why. The
reason of each threshold is in its `Rule` (`named_check`), which the report and docs/how-to/diagnose.md repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gavamoe.diagnostics.comparison import ClusteringFigures
from gavamoe.diagnostics.experts import ExpertFigures
from gavamoe.diagnostics.named_check import Check, Rule
from gavamoe.diagnostics.routing import BoundaryFigures
from gavamoe.diagnostics.text_checks import TextFigures
from gavamoe.preference.validation import COLLAPSED_KL

NO_EFFECT = 0.002  # relative rise of the loss; random gates of a trained run reach it when they are exchanged
NO_STAGE_2 = "the run has no stage 2"
ONE_CLUSTER = "the run has a single cluster"


RULES = {
    rule.name: rule
    for rule in (
        Rule(
            "poor_clustering",
            "silhouette of the users' latents; 0 with a single used cluster",
            0.1,
            0.02,
            False,
            "users of a random clustering have a silhouette of 0 or less; below 0.1 a third or more of them usually "
            "lie nearer to another cluster",
            "clusters are not apart in the latent space: try other values of preference.clusters "
            "(preference.choose_clusters tries a range), lower preference.beta, or provide more reviews per user",
        ),
        Rule(
            "ineffective_routing",
            "how often the nearest pair of another user has another gate, relative to random gates",
            0.4,
            0.7,
            True,
            "1 is what random gates give; a clustering with clear borders stays below 0.4, and from 0.7 on less than "
            "a third of what gates could tell of a pair is left",
            "similar pairs go to different gates: use explainer.gate_clusters=model, fewer preference.clusters, or a "
            "lower preference.beta",
        ),
        Rule(
            "expert_redundancy",
            "largest share of a layer's experts whose output equals another expert's (cosine above 0.95)",
            0.25,
            0.5,
            True,
            "experts from random weights or from parts of an FFN have cosines near 0; copies have 1, and with half of "
            "the experts copied the layer pays for twice the experts that it uses",
            "experts do the same: train longer, use explainer.initialisation=partition instead of replicate, or fewer "
            "explainer.experts",
        ),
        Rule(
            "posterior_collapse",
            "information of a user's latent about the user, in nats (at most)",
            0.5,
            COLLAPSED_KL,
            False,
            "a collapsed posterior is the same for every user and has 0 nats; training warns of a KL below 0.05 nats, "
            "and 0.5 nats are less than one yes-or-no answer about a user (0.69 nats)",
            "the latent says little about its user: lower preference.beta, raise preference.warmup_epochs, or provide "
            "more reviews per user",
        ),
        Rule(
            "load_collapse",
            "entropy of the experts' load in the least even cluster and layer, from one choice (0) to even use (1)",
            0.5,
            0.2,
            False,
            "0 is the same top-k experts for every token; at 0.2 most experts of that gate are unused, and trained "
            "gates with the load-balancing loss stay above 0.5",
            "a gate sends nearly all tokens to the same experts: raise explainer.balance_weight, lower "
            "explainer.learning_rate, or merge clusters with few reviews",
        ),
        Rule(
            "generic_text",
            "share of distinct texts among the predictions, divided by that share among the references",
            0.25,
            0.05,
            False,
            "1 is as varied as people write on the same pairs; runs on film reviews reach 0.96 or more and runs on "
            "simulated reviews 0.76; below 0.05 a text serves twenty pairs or more",
            "the texts hardly depend on the pair: use sampling (temperature above 0) or fewer candidates, state the "
            "feature in the prompt, or train stage 2 longer",
        ),
        Rule(
            "rating_text_incoherence",
            "correlation of the texts' sentiment with the predicted rating, relative to people's texts and ratings",
            0.5,
            0.15,
            False,
            "1 is as coherent as people are, whose correlation is 0.33 on short film reviews and 1.00 on simulated "
            "ones; trained runs reach 0.8 or more of it, and texts unrelated to their ratings 0",
            "texts praise what the model rates low, or the reverse: evaluate with --rating predicted, lower "
            "explainer.rating_dropout, or train stage 2 longer",
        ),
        Rule(
            "hallucinated_features",
            "share of named features that no training review of the item names, minus that share in the references",
            0.1,
            0.25,
            True,
            "people name new features of an item too, so their share is subtracted; from 0.25 on at least every "
            "fourth named feature is invented",
            "texts name features that nobody found in the item: use prompts with evidence "
            "(explainer.evidence), or --feature predicted",
        ),
    )
}


def run_checks(
    comparison: Sequence[ClusteringFigures],
    information: float,
    boundary: BoundaryFigures | None,
    experts: ExpertFigures | str,
    texts: TextFigures | str,
    of_pairs: bool = False,
) -> list[Check]:
    """Return all checks of a run, in the order of `RULES`.

    Args:
        comparison: figures of the run's clusters first, then of the others.
        information: nats that a user's latent says about the user.
        boundary: how decided gates are; None with one cluster.
        experts: figures of stage 2, or why there are none.
        texts: figures of the run's predictions, or why there are none.
        of_pairs: whether the clusters are fitted to pairs, as those of a stage 1 that reads texts.
    """
    found = {
        "poor_clustering": _poor_clustering(comparison[0], boundary, of_pairs),
        "ineffective_routing": _ineffective_routing(boundary, experts),
        "posterior_collapse": judge("posterior_collapse", information),
        **_expert_checks(experts),
        **_text_checks(texts),
    }
    return [found[name] for name in RULES]


def judge(name: str, value: float) -> Check:
    """Return the check of a measured value."""
    return RULES[name].judge(value)


def skip(name: str, why: str) -> Check:
    """Return a check that was skipped."""
    return RULES[name].skip(why)


def _warn(check: Check, advice: str) -> Check:
    """Return the check with a warning in place of a pass."""
    return replace(check, status="warn", advice=advice) if check.status == "pass" else check


def _poor_clustering(own: ClusteringFigures, boundary: BoundaryFigures | None, of_pairs: bool) -> Check:
    if boundary is None:
        return skip("poor_clustering", ONE_CLUSTER)
    if of_pairs:
        return skip("poor_clustering", "the clusters are of pairs, which the silhouette of users does not judge")
    check = judge("poor_clustering", own.silhouette if own.silhouette is not None else 0.0)
    gain, error = own.text_gain, own.text_gain_error
    if gain is None or error is None or gain > 2 * error:
        return check
    return _warn(check, "clusters are apart but say nothing about the words of texts, so gates by cluster cannot help")


def _ineffective_routing(boundary: BoundaryFigures | None, experts: ExpertFigures | str) -> Check:
    name = "ineffective_routing"
    if boundary is None:
        return skip(name, ONE_CLUSTER)
    if boundary.neighbour_disagreement is None:
        return skip(name, "all pairs have the same gate, or there is a single user")
    check = judge(name, boundary.neighbour_disagreement)
    if isinstance(experts, str) or experts.loss_other_gates is None:
        return check
    if experts.loss_other_gates > (1 + NO_EFFECT) * experts.loss:
        return check
    return _warn(
        check,
        "another cluster's gate writes the texts as well as their own: the gates make no difference; a run with "
        "explainer.gate_clusters=one has the same quality at less cost",
    )


def _expert_checks(experts: ExpertFigures | str) -> dict[str, Check]:
    if isinstance(experts, str):
        return {name: skip(name, experts) for name in ("expert_redundancy", "load_collapse")}
    alike = [layer.alike for layer in experts.layers if layer.alike is not None]
    return {
        "expert_redundancy": judge("expert_redundancy", max(alike))
        if alike
        else skip("expert_redundancy", "each layer has a single expert"),
        "load_collapse": judge("load_collapse", min(layer.least_balance for layer in experts.layers))
        if alike
        else skip("load_collapse", "each layer has a single expert"),
    }


def _text_checks(texts: TextFigures | str) -> dict[str, Check]:
    names = ("generic_text", "rating_text_incoherence", "hallucinated_features")
    if isinstance(texts, str):
        return {name: skip(name, texts) for name in names}
    values = (texts.distinct, texts.coherence, texts.hallucination)
    return {
        name: judge(name, value) if isinstance(value, float) else skip(name, value)
        for name, value in zip(names, values, strict=True)
    }
