"""The gateway's settings, on a data folder that lives as long as the test run."""

import atexit
import os
import shutil
import tempfile

_folder = tempfile.mkdtemp(prefix="waybill-tests-")
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
os.environ["DATA_DIR"] = _folder
os.environ["WAYBILL_MEMORY_STORAGES"] = "true"
# Tests of other things than waiting do not wait for what is not there.
os.environ["WAYBILL_WAIT_S"] = "0"
os.environ.pop("BROKER_URL", None)

from gateway.settings import *  # noqa: E402, F403

# A hash that is slow on purpose is of no use to tests.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":  # noqa: F405
    # Nothing that the tests themselves write has to survive a power cut; what a gateway writes is written as ever.
    DATABASES["default"]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"  # noqa: F405

# Each of Django's test clients would look for all static files anew; a real gateway serves them in tests/system.
WHITENOISE_USE_FINDERS = False
