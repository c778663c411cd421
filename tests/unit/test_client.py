"""Where a request comes from, as far as that can be believed."""

import pytest
from django.test import AsyncRequestFactory, RequestFactory
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.request import Request

from otp_actions.client import UNKNOWN, address_of, network_of

PROXY, CLIENT, LIAR = "198.51.100.1", "192.0.2.1", "203.0.113.66"


def address(proxies, forwarded=None, remote=PROXY):
    headers = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    return address_of(RequestFactory(REMOTE_ADDR=remote, **headers).get("/"), proxies)


@pytest.mark.parametrize("forwarded", [None, "", CLIENT, f"{LIAR}, {CLIENT}", "nonsense"])
def test_without_proxies_only_the_connection_counts(forwarded):
    assert address(0, forwarded, remote=CLIENT) == CLIENT


@pytest.mark.parametrize(
    ("proxies", "forwarded"),
    [
        (1, CLIENT),
        (1, f"{LIAR}, {CLIENT}"),
        (1, f"{LIAR},{LIAR},{CLIENT}"),
        (2, f"{CLIENT}, {PROXY}"),
        (2, f"{LIAR}, {CLIENT}, {PROXY}"),
        (3, f"{LIAR}, {CLIENT}, {PROXY}, {PROXY}"),
        (1, f"nonsense, {CLIENT}"),
        (1, f"{LIAR},\t {CLIENT} "),
    ],
)
def test_each_proxy_is_one_place_from_the_right(proxies, forwarded):
    assert address(proxies, forwarded) == CLIENT


@pytest.mark.parametrize(("proxies", "forwarded"), [(1, None), (1, ""), (2, LIAR), (16, f"{LIAR}, {LIAR}")])
def test_too_few_places_leave_the_connection(proxies, forwarded):
    assert address(proxies, forwarded) == PROXY


@pytest.mark.parametrize(
    "place", ["unknown", "_hidden", "", "192.0.2", "192.0.2.1.5", "192.0.2.1/24", "::g", "1" * 9999]
)
def test_place_without_an_address_leaves_the_connection(place):
    assert address(1, f"{LIAR}, {place}") == PROXY


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("192.0.2.1:443", "192.0.2.1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:0DB8:0::0001", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:443", "192.0.2.1"),
    ],
)
def test_spellings_of_an_address(written, read):
    assert address(1, written) == read
    assert address(0, remote=written) == read


@pytest.mark.parametrize("remote", ["", None, "unix:", "nonsense"])
def test_connection_without_an_address_has_none(remote):
    assert address(0, remote=remote) is None
    assert address(1, "", remote=remote) is None
    assert address(1, CLIENT, remote=remote) == CLIENT


def test_drf_and_async_requests_are_read_alike():
    headers = {"X-Forwarded-For": f"{LIAR}, {CLIENT}"}
    assert address_of(Request(RequestFactory(headers=headers).get("/")), 1) == CLIENT
    assert address_of(AsyncRequestFactory().get("/", headers=headers), 1) == CLIENT


@given(forwarded=st.text(max_size=60), proxies=st.integers(0, 4))
def test_whatever_a_client_writes_moves_nothing_to_the_right_of_it(forwarded, proxies):
    ours = [CLIENT, *[PROXY] * (proxies - 1)][:proxies]
    assert address(proxies, ",".join([forwarded, *ours])) == (CLIENT if proxies else PROXY)


# --- What is counted as one client -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "network"),
    [
        (None, UNKNOWN),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::1", "2001:db8:0:2::/64"),
        ("::1", "::/64"),
    ],
)
def test_network_of_a_client(address, network):
    assert network_of(address) == network


@given(st.ip_addresses().map(str))
def test_every_address_has_a_network(address):
    assert network_of(address_of(RequestFactory(REMOTE_ADDR=address).get("/"), 0))
