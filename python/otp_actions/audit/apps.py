"""The app ``otp_actions.audit``."""

from django.apps import AppConfig
from django.core import checks


class AuditConfig(AppConfig):
    """``"otp_actions.audit"`` in ``INSTALLED_APPS``."""

    name = "otp_actions.audit"
    label = "otp_actions_audit"
    verbose_name = "One-time passwords"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Listen, and register the system check."""
        from otp_actions.audit import receivers
        from otp_actions.audit.checks import check_installation

        receivers.connect()
        checks.register(check_installation, checks.Tags.models)
