"""The goods of the shop: what a product is, and the fifty that every new shop sells."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

CACHE_PREFIX = "catalog:"
PRODUCT_KEY = CACHE_PREFIX + "product:"
"""A product's cache entry stands under this plus its SKU, as JSON."""

_KINDS = ("Kettle", "Lamp", "Chair", "Notebook", "Backpack", "Mug", "Clock", "Blanket", "Umbrella", "Radio")
_MAKES = ("Plain", "Oak", "Copper", "Travel", "Studio")


class Product(BaseModel):
    """One product as the catalog gives it out."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sku: str
    name: str
    price_cents: int = Field(ge=0)


PRODUCTS: tuple[Product, ...] = tuple(
    Product(
        sku=f"SKU-{number + 1:04d}",
        name=f"{_MAKES[number // len(_KINDS)]} {_KINDS[number % len(_KINDS)]}",
        price_cents=499 + 175 * number,
    )
    for number in range(len(_KINDS) * len(_MAKES))
)
SKUS: tuple[str, ...] = tuple(product.sku for product in PRODUCTS)
