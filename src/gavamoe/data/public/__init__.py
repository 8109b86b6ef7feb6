"""Public review sets: where they are published, under what terms, and how to fetch them.

registry lists the sets; download fetches a file and resumes an interrupted transfer.

May import: gavamoe.errors, gavamoe.files and the version.
"""
