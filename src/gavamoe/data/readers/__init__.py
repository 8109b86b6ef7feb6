"""Readers: open a file of any known format and yield reviews in batches of one schema, with line numbers.

From bytes to rows: containers and inputs open files, archives and pipes; encodings and lines turn bytes into lines of
UTF-8; `formats` chooses the reader by the first bytes (delimited, json_lines, key_value, sql_dump, workbook, parquet,
pickle_rows); reading says how a file was read; binary names the files that are no tables.

From rows to reviews: `open` chooses the layout by the columns (layouts); canonical converts strings to typed reviews.
rows defines the interface of a reader and the handling of bad lines; prefetch reads ahead; safe_unpickle and
pandas_pickle load pickles safely; python_values parses Python literals without evaluating them.

May import: gavamoe.data.scale, gavamoe.features, gavamoe.files, gavamoe.errors.
"""
