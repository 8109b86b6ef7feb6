"""How evenly experts are used: per cluster, layer and expert, and which experts nobody needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

DEAD = 0.01  # an expert with less than this part of an even share is called dead


@dataclass(frozen=True)
class ExpertReport:
    """use: a row per cluster, layer and expert (counted from 0): choices, and share of the cluster's in the layer."""

    use: pl.DataFrame

    @classmethod
    def count(cls, counts_NLE: np.ndarray, cluster_N: np.ndarray, layers: list[int]) -> ExpertReport:
        """From each text's choices by layer and expert (`expert_use`); `layers` names the L layers."""
        clusters = np.unique(cluster_N)
        choices_CLE = np.stack([counts_NLE[cluster_N == cluster].sum(0) for cluster in clusters])
        c, layer, expert = (index.ravel() for index in np.indices(choices_CLE.shape))
        use = pl.DataFrame(
            {
                "cluster": clusters[c],
                "layer": np.array(layers)[layer],
                "expert": expert,
                "choices": choices_CLE.ravel().astype(np.int64),
            }
        )
        total = pl.col("choices").sum().over("cluster", "layer")
        return cls(use.with_columns(share=pl.col("choices") / pl.max_horizontal(total, pl.lit(1))))

    def load(self) -> pl.DataFrame:
        """A row per cluster and layer, and per layer over all clusters (cluster null): entropy, dead, balance.

        entropy: of the load, as part of its maximum; 1 is even use. dead: experts with hardly a choice. balance: what
        the load-balancing loss would be for gates as sure as they choose; 1 is even.
        """
        everyone = self.use.group_by("layer", "expert").agg(pl.col("choices").sum())
        everyone = everyone.with_columns(
            cluster=pl.lit(None, self.use["cluster"].dtype),
            share=pl.col("choices") / pl.max_horizontal(pl.col("choices").sum().over("layer"), pl.lit(1)),
        ).select(self.use.columns)
        experts = self.use["expert"].n_unique()
        share = pl.col("share")
        return (
            pl.concat([self.use, everyone])
            .group_by("layer", "cluster")
            .agg(
                entropy=(share * share.replace(0.0, 1.0).log()).sum() / -np.log(max(experts, 2)),
                dead=(share < DEAD / experts).sum(),
                balance=experts * share.pow(2).sum(),
            )
            .sort("layer", "cluster", nulls_last=True)
        )

    def __str__(self) -> str:
        """The summary: a line per layer over all clusters, then the least even cluster of each."""
        load, lines = self.load(), []
        for layer in load["layer"].unique().sort():
            rows = load.filter(pl.col("layer") == layer)
            whole = rows.filter(pl.col("cluster").is_null()).row(0, named=True)
            least = rows.filter(pl.col("cluster").is_not_null()).sort("entropy").row(0, named=True)
            lines.append(
                f"layer {layer}: load entropy {whole['entropy']:.2f} of 1, {whole['dead']} dead experts; "
                f"least even cluster {least['cluster']}: {least['entropy']:.2f}, {least['dead']} dead"
            )
        return "\n".join(lines)
