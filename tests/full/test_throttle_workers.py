"""A throttle whose ledger is shared: workers on any number of hosts count together."""

import json
import os
import subprocess
import sys

import pytest
from django.conf import settings as django_settings
from django.http import JsonResponse
from django.urls import path

import backends
from otp_actions.http.throttles import otp_throttle

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@otp_throttle("20/h", by="identifier", field="email")
def ask(request):
    return JsonResponse({})


urlpatterns = [path("ask/", ask)]

#: A worker: says that it is up, waits for its start, then asks so many times in threads.
WORKER = """
import json, sys
from concurrent.futures import ThreadPoolExecutor

import django
from django.conf import settings

django.setup()
for name, value in json.loads(sys.argv[1]).items():
    setattr(settings, name, value)
from django.db import connections
from django.test import Client


def ask(_):
    try:
        return Client().post("/ask/", {"email": sys.argv[2]}, content_type="application/json").status_code
    finally:
        connections.close_all()


print("up", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(16) as pool:
    print(json.dumps(list(pool.map(ask, range(16)))))
"""


@pytest.mark.parametrize("ledger", ["redis", "database"])
def test_workers_count_together(ledger, redis_url, settings, otp_settings):
    with backends.redis_client(redis_url) as client:
        client.flushdb()
    otp_settings(OTP_LEDGER=ledger)
    changed = {
        "OTP_LEDGER": ledger,
        "OTP_REDIS_URL": redis_url,
        "OTP_SIGNING_KEY": django_settings.OTP_SIGNING_KEY,
        "ROOT_URLCONF": "full.test_throttle_workers",
    }
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "projects.full.settings",
        "PYTHONPATH": os.pathsep.join([os.path.dirname(os.path.dirname(__file__)), os.environ.get("PYTHONPATH", "")]),
    }
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, json.dumps(changed), spelling],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        for spelling in ("ada@example.com", " ada@example.com")
    ]
    for worker in workers:
        assert worker.stdout.readline() == "up\n"
    answers = []
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        said, _ = worker.communicate(timeout=60)
        answers += json.loads(said)
    assert sorted(answers) == [200] * 20 + [429] * 12
