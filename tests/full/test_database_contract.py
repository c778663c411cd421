"""``OTP_LEDGER = "database"`` passes the contract, on each engine."""

import pytest
from django.conf import settings
from django.core import mail
from django.db import connections

from contract.ledger import LedgerContract
from otp_actions.ledgers.database.connection import close_connections
from otp_actions.ledgers.database.ledger import DatabaseLedger

pytestmark = pytest.mark.django_db(databases="__all__")


class TestDatabaseLedger(LedgerContract):
    @pytest.fixture
    def make_ledger(self, monkeypatch):
        # As outside of a test run, and with persistent connections: otherwise each operation would make a new one.
        monkeypatch.delattr(mail, "outbox")
        monkeypatch.setitem(connections[settings.OTP_LEDGER_DATABASE].settings_dict, "CONN_MAX_AGE", None)

        def make():
            # Patience: here 64 threads at once stand in line, on a machine that may be busy.
            ledger = DatabaseLedger(settings.OTP_LEDGER_DATABASE, timeout=30)
            ledger.clear()
            return ledger

        yield make
        make()
        close_connections()

    def test_is_transactional_and_blocks(self, ledger):
        assert (ledger.transactional, ledger.blocking) == (True, True)
