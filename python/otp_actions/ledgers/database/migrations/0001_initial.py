from django.db import migrations, models

import otp_actions.ledgers.database.models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="LedgerEntry",
            fields=[
                ("key", otp_actions.ledgers.database.models.KeyField(primary_key=True, serialize=False)),
                ("value", models.BigIntegerField()),
                ("expiry", models.BigIntegerField()),
            ],
            options={
                "verbose_name": "ledger entry",
                "verbose_name_plural": "ledger entries",
                "db_table": "otp_actions_ledger",
                "indexes": [models.Index(fields=["expiry"], name="otp_actions_ledger_expiry")],
            },
        ),
    ]
