from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="OTPEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("time", models.DateTimeField()),
                (
                    "event",
                    models.CharField(
                        choices=[
                            ("generated", "Generated"),
                            ("verified", "Verified"),
                            ("failed", "Failed"),
                            ("exhausted", "Exhausted"),
                            ("revoked", "Revoked"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "outcome",
                    models.CharField(
                        choices=[("success", "Success"), ("refused", "Refused"), ("decoy", "Decoy")], max_length=16
                    ),
                ),
                (
                    "reason",
                    models.CharField(blank=True, help_text="The error_code of the answer.", max_length=32),
                ),
                (
                    "identifier",
                    models.CharField(
                        blank=True,
                        help_text="Whom it was for: a digest, or as it is (OTP_AUDIT_IDENTIFIERS).",
                        max_length=1024,
                    ),
                ),
                ("identifier_digest", models.CharField(blank=True, editable=False, max_length=64)),
                ("purpose", models.CharField(blank=True, max_length=128)),
                ("jti", models.CharField(blank=True, max_length=32, verbose_name="challenge")),
                ("ip", models.GenericIPAddressField(blank=True, null=True, verbose_name="IP address")),
                ("user_agent", models.CharField(blank=True, max_length=256)),
            ],
            options={
                "verbose_name": "OTP event",
                "db_table": "otp_actions_event",
                "ordering": ["-time", "-id"],
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["time"], name="otp_actions_event_time"),
                    models.Index(fields=["identifier_digest", "time"], name="otp_actions_event_identifier"),
                    models.Index(fields=["jti"], name="otp_actions_event_jti"),
                ],
            },
        )
    ]
