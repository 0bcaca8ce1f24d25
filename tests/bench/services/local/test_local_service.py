"""Networks behind real HTTP: what they answer, what is refused, what goes wrong on purpose, and how it ends."""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from emulators.fleet import CONF, blank, face, face_pixels
from omegaconf import OmegaConf
from photo_sets import StubDetector
from PIL import Image
from thumbnail_faces import looking, thumbnails

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.ranges import SettingError
from cloakbench.bench.core.status import OK
from cloakbench.bench.services.building import build_service
from cloakbench.bench.services.local.faults import Faults
from cloakbench.bench.services.local.form import NoFormError, read_form
from cloakbench.bench.services.local.messages import ApiError
from cloakbench.bench.services.local.server import LocalServer, start
from cloakbench.bench.services.local.settings import LocalSettings
from cloakbench.bench.services.preparing import upsampled
from cloakbench.models.mlaas.wire import multipart
from cloakbench.models.pictures import JPEG, Picture
from cloakbench.models.service_keys import ServiceKeys
from cloakbench.models.services import (
    BAD_PICTURE,
    NO_FACE,
    NOT_OFFERED,
    QUOTA,
    REFUSED,
    SERVICE_FAILED,
    THROTTLED,
    Connection,
    RemoteService,
)

THRESHOLDS = {0.1: 0.2, 0.01: 0.5}


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with start(thumbnails(), looking(), thresholds=THRESHOLDS) as server:
        yield server


def asking(server: LocalServer, name: str = "local", key: str = "", **settings: Any) -> RemoteService:
    """A service that asks a server, without waits between retries."""
    config: Any = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    config["line"] |= {"base_url": server.url}
    for setting, value in settings.items():
        (config if setting in config else config["line"])[setting] = value
    return build_service(config, name, Connection(ServiceKeys(key), sleep=lambda seconds: None))


def raw(server: LocalServer, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
    connection.request(method, path, body, headers)
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    return reply.status, json.loads(content)


def cosine(a: Picture, b: Picture) -> float:
    """What the networks say in this process, of the pixels that are behind the pictures."""
    model = thumbnails()
    images = [torch.tensor(_pixels(one)).permute(2, 0, 1)[None].float() / 255 for one in (a, b)]
    one, other = (model.embed(image)[0].double() for image in images)
    return float(one @ other)


def _pixels(picture: Picture) -> Any:
    return np.array(Image.open(io.BytesIO(picture.content)))


def test_scores_are_cosines_on_a_scale_to_100_and_thresholds_lie_on_it(server: LocalServer) -> None:
    a, b = (upsampled(face_pixels(person, side_px=112), 112) for person in (1, 2))
    answer = asking(server).compare(a, b)
    assert answer.score == round(50 * (1 + cosine(a, b)), 3)
    assert answer.thresholds is not None and answer.thresholds.by_far == {0.1: 60.0, 0.01: 75.0}
    assert answer.thresholds.source == "answer" and answer.model_version == "thumbnail 000000000000 looks 111111111111"


def test_a_picture_is_looked_at_once_however_often_it_is_asked_about() -> None:
    model = thumbnails()
    with start(model) as server:
        service = asking(server)
        scores = {service.compare(face(1), face(person)).score for person in (2, 3, 2, 1)}
        service.found("cb_1")
        service.enrol("cb_1", {"p1": face(1)})
        service.search("cb_1", face(2), 1)
    assert model.network.seen == [1, 1, 1] and len(scores) == 3  # each alone: no score depends on who else asks


def test_many_connections_get_the_answers_of_one(server: LocalServer) -> None:
    service = asking(server)
    expected = [service.compare(face(0), face(person)).score for person in range(12)]
    found: dict[int, Any] = {}

    def ask(person: int) -> None:
        found[person] = service.compare(face(0), face(person)).score

    threads = [threading.Thread(target=ask, args=(person,)) for person in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[person] for person in range(12)] == expected


def test_an_adapter_for_the_face_plus_plus_shape_gets_the_same_scores(server: LocalServer) -> None:
    ours, shaped = asking(server), asking(server, "facepp")
    for a, b in ((face(1), face(1, 1)), (face(1), face(2)), (face(1), blank())):
        one, other = ours.compare(a, b), shaped.compare(a, b)
        assert (one.status, one.score) == (other.status, other.score)
        assert (one.thresholds and one.thresholds.by_far) == (other.thresholds and other.thresholds.by_far)
    told = ours.card.vocabulary.task_words(ours.attributes(face(1)).attributes)
    shaped_words = shaped.card.vocabulary.task_words(shaped.attributes(face(1)).attributes)
    assert told == shaped_words and set(told) == {"gender", "age", "expression"}
    for name, service in (("cb_a", ours), ("cb_b", shaped)):
        assert service.found(name).status == OK
        handles: dict[str, str] = {}
        for begin in (0, 5):
            handles |= service.enrol(name, {f"p{n}": face(n) for n in range(begin, begin + 5)}).handles
        found = service.search(name, face(7, 1), 5)
        assert found.matches[0].face == handles["p7"] and len(found.matches) == 5
    assert ours.leftovers("cb_") == shaped.leftovers("cb_") == ("cb_a", "cb_b")
    assert shaped.forget("cb_a").status == ours.forget("cb_b").status == OK and server.service.galleries() == ()


def test_without_an_attribute_model_attributes_are_not_offered() -> None:
    with start(thumbnails()) as server:
        answer = asking(server).attributes(face(1))
        assert (answer.status, answer.attributes) == (NOT_OFFERED, {}) and "attribute_model" in answer.note


def test_pictures_over_the_limits_are_refused_with_a_status(server: LocalServer) -> None:
    def status(content: bytes) -> tuple[int, str]:
        body = json.dumps({"picture": base64.b64encode(content).decode()}).encode()
        code, said = raw(server, "POST", "/v1/attributes", body)
        return code, said["error"]["message"]

    assert status(b"GIF89a" + bytes(100)) == (400, "the picture is not taken: it is neither PNG nor JPEG")
    assert status(face(1).content[:500])[0] == 400
    assert "sides are from 16 to 4096" in status(upsampled(face_pixels(1, side_px=8), 8).content)[1]
    with start(thumbnails(), settings=LocalSettings(file_bytes=2000, largest_side_px=200)) as small:
        service = asking(small)
        assert "sides are from 16 to 200" in service.compare(face(1, side_px=208), face(2)).note
        noise = torch.randint(256, (3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        answer = service.compare(Picture.of(noise), face(2))
        assert answer.status == BAD_PICTURE and "at most 2000" in answer.note
    code, said = raw(server, "POST", "/v1/compare", bytes(33 << 20))
    assert (code, said["error"]["code"]) == (413, "too_large")


def test_faces_below_the_smallest_are_not_found() -> None:
    with start(thumbnails(), settings=LocalSettings(smallest_face_px=150)) as server:
        service = asking(server)
        assert service.compare(face(1, side_px=144), face(2)).status == NO_FACE
        assert service.compare(face(1, side_px=160), face(2)).status == OK
        told = asking(server, smallest_face_px=150).compare(face(1, side_px=144), face(2))
        unsent = asking(server, smallest_face_px=150).compare(upsampled(face_pixels(1, side_px=112), 112), face(2))
    assert told.status == NO_FACE and (unsent.status, unsent.calls) == (BAD_PICTURE, 0)
    assert "its face has 112 pixels, the smallest is 150" in unsent.note


def test_a_detector_finds_the_face_of_a_full_photo() -> None:
    photo = torch.zeros(3, 300, 300, dtype=torch.uint8)
    photo[:, :112, :112] = face_pixels(1, side_px=112)
    crop = upsampled(face_pixels(1, side_px=112), 112)
    with start(thumbnails()) as plain, start(thumbnails(), detector=StubDetector()) as finding:
        assert plain.service.api_version != finding.service.api_version
        dark = Picture.of(torch.zeros(3, 300, 300, dtype=torch.uint8))
        assert asking(finding).compare(Picture.of(photo), dark).status == NO_FACE
        assert asking(finding).compare(Picture.of(photo), crop).score == pytest.approx(100, abs=0.001)
        assert (asking(plain).compare(Picture.of(photo), crop).score or 0) < 95


def test_jpeg_is_taken_too(server: LocalServer) -> None:
    answer = asking(server).compare(Picture.of(face_pixels(1), JPEG), face(1))
    assert answer.status == OK and (answer.score or 0) > 99


def test_a_key_is_needed_where_one_is_set(server: LocalServer) -> None:
    with start(thumbnails(), key="OUR-LOCAL-KEY") as locked:
        for name in ("local", "facepp"):
            refused = asking(locked, name, key="ANOTHER").compare(face(1), face(2))
            assert refused.status == REFUSED and refused.calls == 1
            assert asking(locked, name, key="OUR-LOCAL-KEY").compare(face(1), face(2)).status == OK
    assert asking(server).compare(face(1), face(2)).status == OK


def test_another_version_is_refused_and_what_decides_an_answer_makes_another(server: LocalServer) -> None:
    version = server.service.api_version
    assert asking(server, api_version=version).compare(face(1), face(2)).status == OK
    refused = asking(server, api_version="1-of-yesterday").compare(face(1), face(2))
    assert refused.status == REFUSED and f"{version} is served, not 1-of-yesterday" in refused.note
    for changes in (
        {"thresholds": {0.1: 0.3}},
        {"thresholds": THRESHOLDS, "settings": LocalSettings(score_digits=2)},
        {"thresholds": THRESHOLDS, "attribute_model": None},
    ):
        given: Any = {"attribute_model": looking(), **changes}
        with start(thumbnails(), **given) as other:
            assert other.service.api_version != version
    slow = LocalSettings(latency_seconds=0.001, calls_per_second=1000)
    with start(thumbnails(), looking(), thresholds=THRESHOLDS, settings=slow) as same:
        assert same.service.api_version == version


def test_score_digits_are_as_set() -> None:
    for digits in (0, 1, 5):
        with start(thumbnails(), settings=LocalSettings(score_digits=digits)) as server:
            score = asking(server).compare(face(1), face(2)).score or 0.5
            assert round(score, digits) == score and (digits < 5 or round(score, 1) != score)


def test_answers_are_late_and_throttled_as_set() -> None:
    waits: list[float] = []
    clock = iter([0.0, 0.1, 0.2, 0.9, 1.05, 1.06])
    faults = Faults(LocalSettings(latency_seconds=0.2, calls_per_second=2), lambda: next(clock), waits.append)
    said = []
    for _ in range(6):
        try:
            faults.pass_or_fail()
            said.append("ok")
        except ApiError as problem:
            said.append(problem.code)
    assert said == ["ok", "ok", "throttled", "throttled", "ok", "throttled"] and waits == [0.2] * 6
    with start(thumbnails(), settings=LocalSettings(calls_per_second=2)) as server:
        answers = [asking(server, attempts=1).compare(face(1), face(2)) for _ in range(3)]
        assert [one.status for one in answers] == [OK, OK, THROTTLED]


def test_a_share_of_requests_fails_and_retries_give_the_same_answers(server: LocalServer) -> None:
    expected = [asking(server).compare(face(0), face(person)).score for person in range(30)]
    with start(thumbnails(), looking(), thresholds=THRESHOLDS, settings=LocalSettings(error_share=0.3)) as failing:
        service = asking(failing, attempts=30)
        answers = [service.compare(face(0), face(person)) for person in range(30)]
        assert [one.score for one in answers] == expected
        calls = failing.service.faults.calls
        assert sum(one.retries for one in answers) == calls - 30 and 4 < calls - 30 < 40
        impatient = asking(failing, attempts=1)
        once = {impatient.compare(face(0), face(1)).status for _ in range(60)}
        assert once == {OK, THROTTLED, SERVICE_FAILED}


def test_a_used_up_quota_is_told() -> None:
    with start(thumbnails(), settings=LocalSettings(most_calls=2)) as server:
        for name in ("local", "facepp"):
            answers = [asking(server, name).compare(face(1), face(2)).status for _ in range(2)]
            server.service.faults.calls = 0
            assert answers == [OK, OK]
        server.service.faults.calls = 2
        assert {asking(server, name).compare(face(1), face(2)).status for name in ("local", "facepp")} == {QUOTA}


def test_a_network_that_gives_no_number_fails_and_has_no_score() -> None:
    model = thumbnails()
    model.embed = lambda images: torch.full((1, 4), torch.nan)  # type: ignore[method-assign]
    with start(model) as server:
        answer = asking(server, attempts=1).compare(face(1), face(2))
    assert (answer.status, answer.score) == (SERVICE_FAILED, None) and "no number" in answer.note


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", "/v1/compare", b"{", "bad_request"),
        ("POST", "/v1/compare", b"[]", "bad_request"),
        ("POST", "/v1/compare", b'{"a": 3, "b": ""}', "bad_picture"),
        ("POST", "/v1/compare", b'{"a": "no base64!", "b": ""}', "bad_picture"),
        ("POST", "/v1/galleries/none/search", b'{"picture": "", "k": 0}', "bad_request"),
        ("POST", "/v1/galleries/none/search", b'{"picture": "", "k": 3}', "no_such_gallery"),
        ("POST", "/v1/galleries/none/faces", b'{"pictures": {}}', "no_such_gallery"),
        ("GET", "/v1/compare", b"", "no_such_call"),
        ("POST", "/", b"", "no_such_call"),
        ("POST", "/v1/galleries/a/b/c", b"", "no_such_call"),
    ],
)
def test_what_is_not_as_documented_is_an_error_with_a_code(
    server: LocalServer, method: str, path: str, body: bytes, code: str
) -> None:
    status, said = raw(server, method, path, body)
    assert 400 <= status < 500 and said["error"]["code"] == code and "\n" not in said["error"]["message"]


def test_a_request_that_does_not_say_its_length_is_refused(server: LocalServer) -> None:
    with socket.create_connection((server.host, server.port), timeout=20) as one:
        one.sendall(b"POST /v1/compare HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")
        assert one.recv(1000).startswith(b"HTTP/1.1 411")


def test_what_is_served_is_told(server: LocalServer) -> None:
    status, said = raw(server, "GET", "/v1/service")
    assert (
        status == 200 and said["service"] == "local service" and said["attributes"] == ["gender", "age", "expression"]
    )
    assert said["thresholds"] == {"0.1": 60.0, "0.01": 75.0} and said["api_version"] == server.service.api_version


def test_forms_are_read_to_the_byte_and_cut_ones_are_none() -> None:
    content = bytes(range(256)) * 3 + b"\r\n--\r\n\r"
    kind, body = multipart({"a": "1", "b": "two\r\nlines"}, {"image_file": ("x.png", content)})
    assert read_form(kind, body) == ({"a": "1", "b": "two\r\nlines"}, {"image_file": content})
    assert read_form("application/x-www-form-urlencoded", b"a=1&b=%20") == ({"a": "1", "b": " "}, {})
    for wrong in (body[:-40], b"nothing"):
        with pytest.raises(NoFormError):
            read_form(kind, wrong)
    with pytest.raises(NoFormError, match="is text/plain"):
        read_form("text/plain", b"x")


def test_a_server_that_stopped_answers_nobody_over_connections_that_were_open(server: LocalServer) -> None:
    with start(thumbnails()) as ending:
        service = asking(ending, attempts=1)
        assert service.compare(face(1), face(2)).status == OK
    assert service.compare(face(1), face(2)).status == SERVICE_FAILED


def test_it_listens_on_this_machine_alone_and_a_taken_port_is_one_line(server: LocalServer) -> None:
    assert server.host == "127.0.0.1" and server.server_address == ("127.0.0.1", server.port)
    taken = rf"^port {server.port} of 127\.0\.0\.1 is taken; choose another port=N"
    with pytest.raises(ConfigError, match=taken), start(thumbnails(), port=server.port):
        pass
    for wrong in (-1, 70_000, True):
        with pytest.raises(ConfigError, match="must be a whole number from 0"), start(thumbnails(), port=wrong):
            pass


def test_a_local_service_is_at_no_other_machine_and_needs_no_consent(server: LocalServer) -> None:
    assert asking(server).card.on_this_machine and asking(server).card.title == "local service"
    with pytest.raises(ConfigError, match=r"line\.base_url is https://somewhere\.example: it must be an address of"):
        asking(server, base_url="https://somewhere.example")


@pytest.mark.parametrize(
    "wrong",
    [
        {"score_digits": 7},
        {"score_digits": -1},
        {"error_share": 1.0},
        {"latency_seconds": -1.0},
        {"calls_per_second": 0},
        {"file_bytes": 0},
        {"largest_side_px": 8},
        {"most_calls": -1},
        {"smallest_face_px": -1},
    ],
)
def test_settings_out_of_range_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=f"^{next(iter(wrong))} is "):
        LocalSettings(**wrong)


def test_rooms_of_the_service_name_no_platform() -> None:
    """But for the shape that is asked for by its name."""
    folder = Path(__file__).parents[4] / "bench" / "services" / "local"
    names = ("baidu", "tencent", "aliyun", "rekognition", "azure", "face++")
    for path in folder.glob("*.py"):
        text = path.read_text(encoding="utf-8").lower()
        assert path.stem in ("facepp_shape",) or not [name for name in names if name in text], path.name
