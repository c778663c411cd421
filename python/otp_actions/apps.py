"""The Django app. It has no models: installing it gives system checks and translations."""

from django.apps import AppConfig
from django.core import checks


class OTPActionsConfig(AppConfig):
    """``"otp_actions"`` in ``INSTALLED_APPS``."""

    name = "otp_actions"
    label = "otp_actions"
    verbose_name = "One-time passwords"

    def ready(self) -> None:
        """Register the system checks."""
        from otp_actions.checks import check_deployment, check_names, check_redis, check_settings

        checks.register(check_settings, checks.Tags.security)
        checks.register(check_names, checks.Tags.security)
        checks.register(check_redis, checks.Tags.security)
        checks.register(check_deployment, checks.Tags.security, deploy=True)
