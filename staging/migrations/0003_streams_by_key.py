from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("staging", "0002_resume_prefixes_leases"),
    ]

    operations = [
        migrations.RemoveField(
            model_name="alias",
            name="stream_cut_at",
        ),
    ]
