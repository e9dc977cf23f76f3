"""Errors of the runbook agent.

```
RunbookError
├── FrontMatterError     a file is no runbook: its head is wrong, or it is no text
├── LibraryError         a folder of runbooks cannot be read at all
├── StoreError           the database of runbooks
│   ├── StoreDownError     cannot be reached, or broke off; worth trying again
│   └── StoreRefusedError  answers and refuses: password, rights, schema; people must look
└── EmbeddingError       no vectors from the endpoint; full text ranks alone
```

None of them fails a search: it goes on with less, and says so.
"""

from __future__ import annotations


class RunbookError(Exception):
    """Base. The text is one sentence."""


class FrontMatterError(RunbookError):
    """The file is no runbook."""


class LibraryError(RunbookError):
    """The folder cannot be read."""


class StoreError(RunbookError):
    """The database of runbooks cannot be used."""


class StoreDownError(StoreError):
    """The database cannot be reached, or broke off in the middle."""


class StoreRefusedError(StoreError):
    """The database answered and refused; trying again does not help."""


class EmbeddingError(RunbookError):
    """The endpoint gave no usable vectors."""
