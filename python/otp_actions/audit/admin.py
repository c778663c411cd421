"""The trail in the admin: to read, not to write."""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from otp_actions.audit.identifiers import digests_of
from otp_actions.audit.models import OTPEvent

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[OTPEvent]
else:
    _ModelAdmin = admin.ModelAdmin

_DIGITS: Final = re.compile(r"-?[0-9]{1,19}")


@admin.register(OTPEvent)
class OTPEventAdmin(_ModelAdmin):
    """Shows, filters and finds events. Nobody adds, changes or deletes one here."""

    list_display = ("time", "event", "outcome", "reason", "identifier", "purpose", "ip", "jti")
    list_filter = ("event", "outcome", "reason", "purpose")
    date_hierarchy = "time"
    search_fields = ("jti", "ip", "identifier")
    search_help_text = "A challenge's id, an IP address, or an identifier: all of it, in any spelling."
    show_full_result_count = False  # Counting all rows, to say how many were not found.

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: OTPEvent | None = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: OTPEvent | None = None) -> bool:
        """Nobody: see ``otp_purge`` and ``otp_erase``."""
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[OTPEvent], search_term: str
    ) -> tuple[QuerySet[OTPEvent], bool]:
        """Find what equals *search_term*: digests know no parts, and this is what there are indexes for."""
        term = search_term.strip()
        if not term:
            return queryset, False
        found = Q(jti=term.lower()) | Q(identifier_digest__in=[term.lower(), *_digests(term)])
        with suppress(ValueError):
            found |= Q(ip=str(ip_address(term)))
        return queryset.filter(found), False


def _digests(term: str) -> list[str]:
    """Return the digests of *term* as text, and as a number if it looks like one."""
    readings: list[Any] = [term, int(term)] if _DIGITS.fullmatch(term) else [term]
    digests = []
    for reading in readings:
        with suppress(ValueError):
            digests += digests_of(reading)
    return digests
