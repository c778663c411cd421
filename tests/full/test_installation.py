"""The installation shape itself: everything switched on fits together."""

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections


@pytest.mark.django_db(databases="__all__")
def test_database_is_the_engine_that_was_asked_for(engine):
    vendors = {"sqlite": "sqlite", "postgres": "postgresql", "mysql": "mysql"}
    assert {connection.vendor for connection in connections.all()} == {vendors[engine]}


@pytest.mark.django_db(databases="__all__")
def test_system_checks_find_no_error():
    call_command("check", "--fail-level", "ERROR", databases=list(settings.DATABASES))


@pytest.mark.django_db(databases="__all__")
def test_models_and_migrations_agree():
    call_command("makemigrations", "--check", "--dry-run")
