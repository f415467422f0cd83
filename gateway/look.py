"""How the admin looks: its name, colours, styles and scripts, as django-unfold wants them."""

from django.templatetags.static import static

LOOK = {
    "SITE_TITLE": "Waybill",
    "SITE_HEADER": "Waybill",
    "SITE_SUBHEADER": "Data staging by alias",
    "SITE_SYMBOL": "local_shipping",
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("waybill/icon.svg")}],
    "SHOW_BACK_BUTTON": True,
    "STYLES": [lambda _request: static("waybill/admin.css")],
    "SCRIPTS": [lambda _request, of=name: static(f"waybill/{of}.js") for name in ("copy", "dialog", "live")],
    "DASHBOARD_CALLBACK": "gateway.admin.dashboard.context",
    "SIDEBAR": {"navigation": "gateway.admin.navigation.sidebar"},
    "COLORS": {
        # Teal, one step darker than Tailwind's so that white text on 600 can be read.
        "primary": {
            "50": "oklch(98.4% .014 180.72)",
            "100": "oklch(95.3% .051 180.801)",
            "200": "oklch(91% .096 180.426)",
            "300": "oklch(85.5% .138 181.071)",
            "400": "oklch(77.7% .152 181.912)",
            "500": "oklch(66% .13 183)",
            "600": "oklch(51.1% .096 186.391)",
            "700": "oklch(43.7% .078 188.216)",
            "800": "oklch(38.6% .063 188.416)",
            "900": "oklch(33% .055 190)",
            "950": "oklch(27.7% .046 192.524)",
        },
    },
}
