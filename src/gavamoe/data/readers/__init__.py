"""Readers: open a file of any known format and yield reviews in batches of one schema, with line numbers.

`open` chooses the reader by the first bytes (delimited, json_lines, parquet, pickle_rows) and the layout by the columns
(layouts); canonical converts strings to typed reviews. lines and json_array read chunks; rows defines the interface of
a reader and the handling of bad lines; prefetch reads ahead; safe_unpickle and pandas_pickle load pickles safely.

May import: gavamoe.data.scale, gavamoe.features, gavamoe.errors.
"""
