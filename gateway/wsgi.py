"""The WSGI application, for both gunicorn roles."""

import gc
import os

import django

from gateway.paths import Handler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
# Looking for garbage among what is being loaded takes a third of the start, and then a part of every full search.
gc.disable()
django.setup(set_prefix=False)
application = Handler()
gc.freeze()
gc.enable()
