"""`python -m services.shop.prepare`: makes the shop's users, databases, tables and goods.

Reads `SHOP_ADMIN_DSN`, `ORDERS_DB_PASSWORD`, `CATALOG_DB_PASSWORD`, each also as `<NAME>_FILE`. Exit code 0:
prepared; 2: a variable is missing; 7: the server cannot be reached or refuses, with its own words on standard error.
"""

from __future__ import annotations

import asyncio
import sys

from services.shop.errors import explain
from services.shop.schema import prepare
from services.shop.settings import PrepareSettings
from services.shop.web import settings_or_exit


def main() -> int:
    """Prepare the databases and return the exit code."""
    settings = settings_or_exit(PrepareSettings.read)
    try:
        asyncio.run(prepare(settings.admin_dsn, settings.secrets))
    except Exception as error:
        failure = explain(error)
        sys.stderr.write(f"the shop's databases could not be prepared: {failure.code}: {failure.text}\n")
        return 7
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
