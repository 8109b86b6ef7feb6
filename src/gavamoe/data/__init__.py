"""Reviews: readers, features, splits, the prepared dataset, the simulator."""
