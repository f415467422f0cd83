"""Everything that speaks HTTP: the data path, the API, the admin, and the Django project around them."""
