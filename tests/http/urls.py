"""Each kind of view in each scenario, at ``/<kind>/<scenario>/``."""

from django.urls import include, path

from .views import ASYNC_KINDS, ASYNC_SCENARIOS, KINDS, SCENARIOS, build


def scenarios(kind):
    more = ASYNC_SCENARIOS if kind in ASYNC_KINDS else ()
    return [path(f"{scenario}/", build(kind, scenario)) for scenario in (*SCENARIOS, *more)]


urlpatterns = [path(f"{kind}/", include(scenarios(kind))) for kind in KINDS]
