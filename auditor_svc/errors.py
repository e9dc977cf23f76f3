"""Errors of the auditor.

```
AuditError
├── StoreDownError     the database cannot be reached or broke off; worth trying again
├── StoreRefusedError  the database refuses us: wrong password, no such database, missing permission; people must look
├── HeadMovedError     the chain's head in the database is not the one this writer extends; nothing was written
├── MigrationError     the schema cannot be brought to this version
└── ExportError        an export cannot be read: not one, cut, or of an unknown version
```
"""

from __future__ import annotations


class AuditError(Exception):
    """Base of all errors of this package."""


class StoreDownError(AuditError):
    """The database cannot be reached, or broke off in the middle. What was written then is known only by its head."""


class StoreRefusedError(AuditError):
    """The database answered and refused; trying again does not help."""


class HeadMovedError(AuditError):
    """Another writer, or an earlier try of this one, extended the chain. Nothing was written."""


class MigrationError(AuditError):
    """The schema in the database and the one in this package do not go together."""


class ExportError(AuditError):
    """The file is no audit export of a known version."""
