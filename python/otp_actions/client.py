"""Where a request comes from, as far as that can be believed."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from django.http import HttpRequest

#: What requests without an address share: a server behind a socket whose proxy was not counted.
UNKNOWN: Final = "unknown"


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    text = text.strip()
    if text.startswith("["):  # [2001:db8::1]:443
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # 192.0.2.1:443
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def address_of(request: HttpRequest, proxies: int) -> str | None:
    """Return the client's address.

    Each of the *proxies* that are ours has appended to ``X-Forwarded-For`` whom it was called by, so the client stands
    as many places from the right; everything to the left of that is the client's own writing. A request that came
    through fewer proxies is judged by the connection.

    Args:
        request: The request.
        proxies: ``OTP_TRUSTED_PROXY_COUNT``.
    """
    if proxies:
        forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
        address = _parse(forwarded[-proxies]) if len(forwarded) >= proxies else None
        if address is not None:
            return str(address)
    address = _parse(request.META.get("REMOTE_ADDR") or "")
    return None if address is None else str(address)


def network_of(address: str | None) -> str:
    """Return what a budget counts *address* as: an IPv4 address as it is, IPv6 by /64, which is what one client has."""
    if address is None:
        return UNKNOWN
    parsed = ip_address(address)
    return str(IPv6Network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else address
