from django.urls import path

from demo import views

urlpatterns = [
    path("", views.page),
    path("request-code/", views.request_code),
    path("sign-in/", views.sign_in),
]
