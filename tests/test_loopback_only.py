"""Tests reach no other machine: with names, with numbers, and through the HTTP client of services."""

from __future__ import annotations

import socket
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from emulators.fleet import CONF
from loopback_only import OutsideError
from omegaconf import OmegaConf

from cloakbench.bench.services.building import build_service
from cloakbench.models.mlaas.wire import Request, Wire
from cloakbench.models.service_keys import ServiceKeys
from cloakbench.models.services import SERVICE_FAILED, Connection


def test_numbers_and_names_of_other_machines_lead_nowhere() -> None:
    with socket.socket() as one, pytest.raises(OutsideError, match=r"192\.0\.2\.1"):
        one.connect(("192.0.2.1", 443))
    with socket.socket(socket.AF_INET6) as one, pytest.raises(OutsideError):
        one.connect_ex(("2001:db8::1", 443))
    with pytest.raises(socket.gaierror, match=r"no other machine: 'api\.example'"):
        socket.getaddrinfo("api.example", 443)
    with pytest.raises(URLError, match="no other machine"):
        urlopen("http://api.example")


def test_this_machine_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass


def test_services_as_they_are_configured_cannot_be_asked_here() -> None:
    config = OmegaConf.load(CONF / "facepp.yaml")
    config.line.attempts = 1
    connection = Connection(ServiceKeys("k", "s"), sleep=lambda seconds: None)
    service = build_service(OmegaConf.to_container(config), "facepp", connection)  # type: ignore[arg-type]
    answer = service.found("cb_1")
    assert answer.status == SERVICE_FAILED and "ConnectError" in answer.note
    with pytest.raises(Exception, match="ConnectError"):
        Wire("https://api.example", 1.0).send(Request("compare"))
