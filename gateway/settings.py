"""Django's settings, every value through ``env``; docs/settings.md lists them for operators."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url

from gateway import env, secrets_file
from gateway.look import LOOK

BASE_DIR = Path(__file__).resolve().parent.parent

# Where it runs.
DATA_DIR = env.folder("DATA_DIR", str(BASE_DIR / "data"))
HOST = env.text("HOST", "127.0.0.1", expected="the address to listen on")
PORT = env.number("PORT", 8080, least=1, most=65535)
PUBLIC_URL = env.text(
    "WAYBILL_PUBLIC_URL", f"http://{HOST}:{PORT}", expected="the URL under which jobs reach the gateway"
).rstrip("/")
if urlsplit(PUBLIC_URL).scheme not in ("http", "https") or not urlsplit(PUBLIC_URL).hostname:
    raise env.SettingInvalid("WAYBILL_PUBLIC_URL", PUBLIC_URL, "a URL like https://waybill.example.org")
ALLOWED_HOSTS = [
    *env.words("WAYBILL_ALLOWED_HOSTS", expected="host names, separated by commas, besides that of WAYBILL_PUBLIC_URL"),
    str(urlsplit(PUBLIC_URL).hostname),
    "127.0.0.1",
    "localhost",
    "[::1]",
]
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
DEBUG = env.flag("WAYBILL_DEBUG", False)

# Secrets: one key ring, newest first. Everything else that is secret is derived from it.
SECRET_KEYS = secrets_file.load(
    env.secret("WAYBILL_SECRET_KEYS", expected="Fernet keys separated by commas, the newest first"),
    DATA_DIR / "secret-keys",
)
SECRET_KEY, *SECRET_KEY_FALLBACKS = [secrets_file.derive(key, "django") for key in SECRET_KEYS]

# The node, where this gateway has storages of its own that its peers are to reach.
NODE_NAME = env.text("WAYBILL_NODE_NAME", expected="the node's name; empty where there is none")
if NODE_NAME and not re.fullmatch("[a-z0-9][a-z0-9._-]{0,62}", NODE_NAME):
    raise env.SettingInvalid("WAYBILL_NODE_NAME", NODE_NAME, "a name of a-z, 0-9, '.', '_' and '-'")
NODE_URL = env.text("WAYBILL_NODE_URL", expected="the internal URL under which other gateways reach this one").rstrip(
    "/"
)
if NODE_NAME and (urlsplit(NODE_URL).scheme not in ("http", "https") or not urlsplit(NODE_URL).hostname):
    raise env.SettingInvalid("WAYBILL_NODE_URL", NODE_URL, "a URL like http://10.0.0.7:8081, beside WAYBILL_NODE_NAME")
NODE_PEERS = env.choice("WAYBILL_NODE_PEERS", "proxy", ("proxy", "redirect"))
NODE_BEAT_S = env.number("WAYBILL_NODE_BEAT_S", 10, least=1, most=3600)
NODE_SUSPECT_S = env.number("WAYBILL_NODE_SUSPECT_S", 30, least=2, most=3600)
NODE_LOST_S = env.number("WAYBILL_NODE_LOST_S", 120, least=NODE_SUSPECT_S + 1, most=86400)
NODE_HANDOVER_S = env.number("WAYBILL_NODE_HANDOVER_S", 15, most=3600)
#: By these, the newest first, gateways know each other.
PEER_SECRETS = [secrets_file.derive(key, "peers") for key in SECRET_KEYS]

# The catalog.
DATABASE_URL = env.secret("DATABASE_URL", expected="postgres://user:password@host/name, or empty for SQLite")
DATABASE_POOL_SIZE = env.number("WAYBILL_DATABASE_POOL_SIZE", 16, least=1, most=500)
try:
    _database = dj_database_url.parse(DATABASE_URL or f"sqlite:///{DATA_DIR / 'waybill.sqlite3'}")
except ValueError as exc:
    raise env.SettingInvalid("DATABASE_URL", "(not shown)", "postgres://user:password@host/name") from exc
if _database["ENGINE"] == "django.db.backends.postgresql":
    _database.setdefault("OPTIONS", {})["pool"] = {"min_size": 1, "max_size": DATABASE_POOL_SIZE, "timeout": 10}
    _database["CONN_MAX_AGE"] = 0
    _database["DISABLE_SERVER_SIDE_CURSORS"] = True
elif _database["ENGINE"] == "django.db.backends.sqlite3":
    _database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
    if not DATABASE_URL:
        # SQLite would let everybody read it; the files beside it get the same permissions.
        Path(_database["NAME"]).touch(mode=0o600)
    _database["CONN_MAX_AGE"] = None
    _database["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}
else:
    raise env.SettingInvalid("DATABASE_URL", "(not shown)", "postgres://… or empty for SQLite")
DATABASES = {"default": _database}

# Aliases and the data path.
ALIAS_LIFETIME_S = env.number("WAYBILL_ALIAS_LIFETIME_S", 7 * 86400, least=1)
ALIAS_MAX_LIFETIME_S = env.number("WAYBILL_ALIAS_MAX_LIFETIME_S", 90 * 86400, least=1)
MAX_OBJECT_BYTES = env.number("WAYBILL_MAX_OBJECT_BYTES", 5 * 2**40, least=1)
# gunicorn's configurations in deploy/ read these three by themselves; here they are checked.
WORKERS = env.number("WAYBILL_WORKERS", 1, least=1, most=256)
GRACEFUL_S = env.number("WAYBILL_GRACEFUL_S", 3600, least=1)
PROXY_ADDRESSES = env.words("WAYBILL_PROXY_ADDRESSES", "127.0.0.1", expected="addresses separated by commas, or *")
THREADS = env.number("WAYBILL_THREADS", 256, least=2, most=10_000)
MAX_STREAMS = env.number("WAYBILL_MAX_STREAMS", 48, least=1)
MAX_WAITERS = env.number("WAYBILL_MAX_WAITERS", 192)
WAIT_S = env.number("WAYBILL_WAIT_S", 25, most=3600)
REDIRECT_LIFETIME_S = env.number("WAYBILL_REDIRECT_LIFETIME_S", 60, least=1, most=3600)
MAX_WAIT_S = env.number("WAYBILL_MAX_WAIT_S", 60, most=3600)
CLIENT_STALL_S = env.number("WAYBILL_CLIENT_STALL_S", 120, least=1)
MAX_UNPACKED_FILES = env.number("WAYBILL_MAX_UNPACKED_FILES", 100_000, least=1)
UPLOAD_KEEP_S = env.number("WAYBILL_UPLOAD_KEEP_S", 86400, least=1)
UPLOAD_LEASE_S = env.number("WAYBILL_UPLOAD_LEASE_S", 300, least=5)
REPLACED_KEEP_S = env.number("WAYBILL_REPLACED_KEEP_S", 3600)
TOMBSTONE_S = env.number("WAYBILL_TOMBSTONE_S", 30 * 86400)
EVENTS_KEEP_S = env.number("WAYBILL_EVENTS_KEEP_S", 30 * 86400)
HARD_WATER = env.number("WAYBILL_HARD_WATER", 95, least=3, most=100)
HIGH_WATER = env.number("WAYBILL_HIGH_WATER", 80, least=2, most=HARD_WATER - 1)
LOW_WATER = env.number("WAYBILL_LOW_WATER", 70, least=1, most=HIGH_WATER - 1)
SCRUB_AFTER_S = env.number("WAYBILL_SCRUB_AFTER_S", 30 * 86400, least=60)
SCRUB_BYTES_S = env.number("WAYBILL_SCRUB_BYTES_S", 10 * 2**20)
TRANSFER_LEASE_S = env.number("WAYBILL_TRANSFER_LEASE_S", 120, least=5)
BREAKER_FAILURES = env.number("WAYBILL_BREAKER_FAILURES", 5, most=1000)
BREAKER_SPAN_S = env.number("WAYBILL_BREAKER_SPAN_S", 10, most=3600)
BREAKER_MAX_WAIT_S = env.number("WAYBILL_BREAKER_MAX_WAIT_S", 60, least=1, most=3600)
MEMORY_STORAGES = env.flag("WAYBILL_MEMORY_STORAGES", False)
LOCAL_ROOTS = [
    Path(path).absolute()
    for path in env.words(
        "WAYBILL_LOCAL_ROOTS",
        str(DATA_DIR / "storages"),
        expected="folders, separated by commas, below which local storages may lie",
    )
]

# Workers.
BROKER_URL = env.secret("BROKER_URL", expected="redis://host/0 or amqp://…, or empty for the embedded broker")
CELERY_BROKER_URL = BROKER_URL or "filesystem://"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {"socket_connect_timeout": 2, "socket_timeout": 10}
    if BROKER_URL
    else {
        "data_folder_in": str(DATA_DIR / "broker"),
        "data_folder_out": str(DATA_DIR / "broker"),
        "control_folder": str(DATA_DIR / "broker-control"),
        "store_processed": False,
        "polling_interval": 0.1,  # In seconds; a worker whose threads all have something waits so long, too.
    }
)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_DEFAULT_QUEUE = "bulk"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_ENABLE_UTC = True

# Logs.
LOG_LEVEL = env.choice("WAYBILL_LOG_LEVEL", "info", ("debug", "info", "warning", "error")).upper()
LOG_FORMAT = env.choice("WAYBILL_LOG_FORMAT", "text", ("text", "json"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"structured": {"()": "gateway.logs.formatter", "style": LOG_FORMAT}},
    "filters": {"crashes": {"()": "gateway.logs.OnlyCrashes"}},
    "handlers": {"stderr": {"class": "gateway.logs.StderrLines", "formatter": "structured"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django": {"level": "WARNING"},
        "django.request": {"filters": ["crashes"]},
        "kombu.connection": {"level": "ERROR"},
        "django.server": {"handlers": [], "propagate": False},
        "paramiko": {"level": "CRITICAL"},
        "boto3": {"level": "WARNING"},
        "botocore": {"level": "WARNING"},
        "urllib3": {"level": "ERROR"},
        "gunicorn.access": {"handlers": [], "propagate": False},
    },
}

# Django itself.
INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "staging.apps.StagingConfig",
    "gateway.apps.GatewayConfig",
]
MIDDLEWARE = [
    "gateway.middleware.RequestLog",
    "gateway.middleware.DataPath",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "gateway.middleware.OwnNames",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "gateway.urls"
WSGI_APPLICATION = "gateway.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "gateway" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [{"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"}]
APPEND_SLASH = False
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-gb"
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "gateway" / "static"]
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
# Aliases answer "no-referrer" by themselves; here it would make browsers hide the origin that CSRF protection checks.
SECURE_REFERRER_POLICY = "same-origin"
SILENCED_SYSTEM_CHECKS = [
    "security.W004",  # HSTS and the redirect to HTTPS are the proxy's, which ends TLS
    "security.W008",
    "security.W009",  # derived from 256 random bits, whatever their count of characters
    "security.W025",
]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PUBLIC_URL.startswith("https://")
LOGIN_URL = "/admin/login/"
LOGIN_REDIRECT_URL = "/admin/"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "gateway.auth.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["gateway.auth.HasProject"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "gateway.problems.api_exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Waybill",
    "VERSION": "1",
    "DESCRIPTION": "The control plane: storages, buckets, objects and aliases. The data path needs only curl.",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_PATCH": False,
    "ENUM_NAME_OVERRIDES": {
        "AliasMode": "staging.states.AliasMode",
        "AliasState": "staging.states.AliasState",
        "AskedStorageState": "gateway.api.storages.STATES",
        "CopyOnExists": "staging.states.CopyOnExists",
        "CopyState": "staging.states.CopyState",
        "NodeState": "gateway.api.nodes.STATES",
        "CheckpointState": "staging.states.CheckpointState",
        "ObjectState": "staging.states.ObjectState",
        "OnExists": "staging.states.OnExists",
        "ReplicaState": "staging.states.ReplicaState",
        "StorageState": "staging.states.StorageState",
        "TransferState": "staging.states.TransferState",
    },
}
UNFOLD = LOOK
