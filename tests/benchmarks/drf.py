"""What a code costs a DRF view: the same view without one, behind our door, and calling the baseline."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.handlers.wsgi import WSGIHandler
from django.test import RequestFactory, override_settings

from benchmarks import baseline
from benchmarks.measuring import EMAIL, Piece, in_turns, medians, report, row, set_up
from otp_actions.services import generate_otp

ROUNDS, CALLS = 60, 100

#: What is judged has no middleware, authentication or throttle: the view could hardly be shorter, nor our share larger.
SETTINGS: dict[str, Any] = {
    "ALLOWED_HOSTS": ["testserver"],
    "INSTALLED_APPS": [
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "rest_framework",
    ],
    "REST_FRAMEWORK": {
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_PERMISSION_CLASSES": [],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "UNAUTHENTICATED_USER": None,
    },
}

#: What `startproject` writes, for comparison.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]


def start_response(status: str, headers: list[tuple[str, str]]) -> None:
    """Take the head of a response, as a WSGI server does."""
    if not status.startswith("200"):
        raise AssertionError(status)


def main() -> None:
    set_up(**SETTINGS)
    from benchmarks.drf_views import URLS

    factory = RequestFactory()

    def request(issue: Callable[[str], tuple[str, str]]) -> tuple[dict[str, Any]]:
        code, context = issue(EMAIL)
        # The same body everywhere, so that reading it costs the same.
        body = json.dumps({"otp": code, "context": context, "amount": 100, "currency": "EUR"})
        return (factory.post("/", body, content_type="application/json").environ,)

    def server() -> Callable[[dict[str, Any]], None]:
        application = WSGIHandler()

        def serve(environ: dict[str, Any]) -> None:
            response = application(environ, start_response)
            b"".join(response)
            response.close()

        return serve

    bare = server()
    with override_settings(MIDDLEWARE=MIDDLEWARE):
        usual = server()
    ours, theirs = partial(request, generate_otp), partial(request, baseline.generate)
    urls = {name: {"ROOT_URLCONF": of_view} for name, of_view in URLS.items()}
    pieces = {
        "without": Piece(ours, bare, urls["without"]),
        "ours": Piece(ours, bare, urls["ours"]),
        "baseline": Piece(theirs, bare, urls["baseline"]),
        "usual without": Piece(ours, usual, urls["without"]),
        "usual ours": Piece(ours, usual, urls["ours"]),
    }
    time = medians(in_turns(pieces, rounds=ROUNDS, calls=CALLS))
    added, added_by_theirs, usually = (
        time[one] - time[other]
        for one, other in (("ours", "without"), ("baseline", "without"), ("usual ours", "usual without"))
    )
    share, usual_share = 100 * added / time["without"], 100 * usually / time["usual without"]
    report(
        [
            row("a JSON POST to a view, without OTP", ours=time["without"]),
            row("the same with @otp_verified; with the baseline", ours=time["ours"], other=time["baseline"]),
            row("  added, of the view", ours=added, value=share, unit=" %"),
            row(
                "  added, to what the baseline adds",
                ours=added,
                other=added_by_theirs,
                value=added_by_theirs / added,
            ),
            row("the view with startproject's middleware", ours=time["usual without"]),
            row("  added, of that view", ours=usually, value=usual_share, unit=" %"),
        ],
        {**time, "added": added, "baseline added": added_by_theirs},
    )


if __name__ == "__main__":
    main()
