"""Users as Django has them, for superusers. What a user may do in a project is the membership's role."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from gateway.admin import words
from staging.models import Membership

admin.site.unregister([User, Group])


class ProjectInline(TabularInline):
    """The projects of a user, on the user's page, which only superusers see."""

    model = Membership
    fields = ["project", "role"]
    extra = 0
    hide_title = True
    verbose_name = "project"

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(request.user.is_superuser)

    has_add_permission = has_change_permission = has_delete_permission = has_view_permission


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    """Superusers see and do everything, other staff what their memberships allow; groups play no part."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    inlines = [ProjectInline]
    list_display = ["username", "full_name", "is_staff", "is_superuser", "is_active", "last_seen"]
    list_filter = ["is_staff", "is_superuser", "is_active"]
    filter_horizontal = []
    fieldsets = [
        (None, {"fields": ["username", "password"]}),
        ("Person", {"fields": ["first_name", "last_name", "email"]}),
        ("Access", {"fields": ["is_active", "is_staff", "is_superuser"]}),
    ]
    add_fieldsets = [
        (None, {"fields": ["username", "password1", "password2"]}),
        ("Access", {"fields": ["is_staff", "is_superuser"]}),
    ]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, object]:
        """Whoever gets a password here is to sign in here."""
        return {"is_staff": True, **super().get_changeform_initial_data(request)}

    def get_inlines(self, request: HttpRequest, obj: Model | None) -> list[type[TabularInline]]:
        """Projects once the user exists."""
        return [ProjectInline] if obj else []

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(request.user.is_superuser)

    has_add_permission = has_change_permission = has_view_permission

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never: what the user did would go from every history. An inactive user cannot sign in."""
        return False

    @display(description="Name", ordering="last_name")
    def full_name(self, user: User) -> str:
        return user.get_full_name() or words.NOTHING

    @display(description="Last sign-in", ordering="last_login")
    def last_seen(self, user: User) -> str:
        return words.ago(user.last_login)
