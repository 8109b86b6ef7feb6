"""What stage 1 starts from: an untrained model for a catalog, and interactions with what it reads of their texts."""

from __future__ import annotations

from gavamoe.config import PreferenceConfig
from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import InteractionArrays, ReviewDataset
from gavamoe.distributed import default_device
from gavamoe.errors import DataError
from gavamoe.preference.item_features import ItemText
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.text_target import COLUMNS, TextTarget


def untrained_model(catalog: Catalog, config: PreferenceConfig, seed: int, vocabulary: int = 0) -> PreferenceModel:
    """Return stage 1 with random weights on the default device, with description features if the settings say so.

    Args:
        catalog: users, items and rating scale of the data.
        config: settings of stage 1.
        seed: of the random weights and of the description features.
        vocabulary: V, units of texts (`text_target`); 0 if `config` reconstructs ratings only.

    Raises:
        ConfigError: the items' descriptions have too few words for `config.item_features`.
    """
    sizes = catalog.n_users, catalog.n_items, catalog.scale.levels
    model = PreferenceModel.from_config(*sizes, config, seed, vocabulary)
    if config.item_features:
        model.set_item_features(ItemText(catalog.items, config.item_features, seed).vectors(catalog.items))
    return model.to(default_device())


def read_texts(
    dataset: ReviewDataset, arrays: dict[str, InteractionArrays], config: PreferenceConfig
) -> tuple[dict[str, InteractionArrays], TextTarget | None]:
    """Add to the interactions what stage 1 reads of their texts; unchanged and None if it reconstructs ratings only.

    Args:
        dataset: the prepared dataset.
        arrays: ids and levels of the splits train and valid.
        config: settings of stage 1.

    Raises:
        DataError: the dataset has no texts or no features to read.
    """
    kind = config.text_kind
    if kind is None:
        return arrays, None
    missing = set(COLUMNS[kind]) - set(dataset.scan().collect_schema().names())
    if missing:
        raise DataError(
            f"preference.reconstructs={config.reconstructs}: {dataset.path} has no column {min(missing)}; prepare data "
            "with texts, or use preference.reconstructs=ratings"
        )
    reviews = {split: dataset.interactions(split, COLUMNS[kind]) for split in ("train", "valid")}
    target = TextTarget.fit(kind, reviews["train"])
    return {split: target.with_units(arrays[split], reviews[split]) for split in reviews}, target
