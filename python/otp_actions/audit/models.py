"""``OTPEvent``: one thing that happened to a code."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class OTPEvent(models.Model):
    """One thing that happened to a code. Written once, never changed; holds no code, no context and no key."""

    class Event(models.TextChoices):
        """What happened; the signals' names."""

        GENERATED = "generated"
        VERIFIED = "verified"
        FAILED = "failed"
        EXHAUSTED = "exhausted"
        REVOKED = "revoked"

    class Outcome(models.TextChoices):
        """How it ended for whoever asked."""

        SUCCESS = "success"
        REFUSED = "refused"
        DECOY = "decoy"

    time = models.DateTimeField()
    event = models.CharField(max_length=16, choices=Event)
    outcome = models.CharField(max_length=16, choices=Outcome)
    reason = models.CharField(max_length=32, blank=True, help_text="The error_code of the answer.")
    identifier = models.CharField(
        max_length=1024, blank=True, help_text="Whom it was for: a digest, or as it is (OTP_AUDIT_IDENTIFIERS)."
    )
    # Beside it, since MySQL cannot index 1024 characters, and because two spellings of one identifier have one digest.
    identifier_digest = models.CharField(max_length=64, blank=True, editable=False)
    purpose = models.CharField(max_length=128, blank=True)
    jti = models.CharField("challenge", max_length=32, blank=True)
    ip = models.GenericIPAddressField("IP address", null=True, blank=True)
    user_agent = models.CharField(max_length=256, blank=True)

    objects: ClassVar[models.Manager[OTPEvent]] = models.Manager()

    class Meta:
        """Read-only: the permissions to add, change and delete do not exist."""

        db_table = "otp_actions_event"
        verbose_name = "OTP event"
        default_permissions = ("view",)
        ordering: ClassVar = ["-time", "-id"]
        indexes: ClassVar = [
            models.Index(fields=["time"], name="otp_actions_event_time"),
            models.Index(fields=["identifier_digest", "time"], name="otp_actions_event_identifier"),
            models.Index(fields=["jti"], name="otp_actions_event_jti"),
        ]

    def __str__(self) -> str:
        """Return what happened."""
        return f"{self.event} {self.reason}".rstrip()
