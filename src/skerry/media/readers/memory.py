"""Tell when libxml2 ran out of memory: it reports that as an unknown error of syntax."""

from __future__ import annotations

from lxml import etree


def raise_if_out_of_memory(error: Exception) -> None:
    """MemoryError, if that is what the error means."""
    if isinstance(error, etree.XMLSyntaxError) and error.code == etree.ErrorTypes.ERR_NO_MEMORY:
        raise MemoryError from error
