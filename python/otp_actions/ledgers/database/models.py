"""The ledger's table. The ledger itself speaks SQL to it; the model is for migrations and for ``otp_purge``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

if TYPE_CHECKING:
    _BinaryField = models.BinaryField[bytes, bytes]
else:
    _BinaryField = models.BinaryField


class KeyField(_BinaryField):
    """17 bytes that are compared as bytes on every engine: no collation, no case, no padding."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        """Return a type that can be a primary key; MySQL's ``longblob`` cannot."""
        return "binary(17)" if connection.vendor == "mysql" else super().db_type(connection)


class LedgerEntry(models.Model):
    """What is counted or marked under one key."""

    key = KeyField(primary_key=True)
    value = models.BigIntegerField()
    #: Unix seconds. From then on the entry is as good as not there.
    expiry = models.BigIntegerField()

    class Meta:
        """One table, and an index for purging."""

        db_table = "otp_actions_ledger"
        verbose_name = "ledger entry"
        verbose_name_plural = "ledger entries"
        indexes = (models.Index(fields=["expiry"], name="otp_actions_ledger_expiry"),)

    def __str__(self) -> str:
        """Return the key, which names nobody."""
        return bytes(self.key).hex()
