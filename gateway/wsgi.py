"""The WSGI application, for both gunicorn roles."""

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
# Looking for garbage among what is being loaded takes a third of the start, and then a part of every full search.
gc.disable()
application = get_wsgi_application()
gc.freeze()
gc.enable()
