"""What is cut out of texts and settings, and what stays."""

from __future__ import annotations

import pytest

from cloakbench.bench.core.redaction import LEFT_OUT, is_secret_name, without_secret_settings, without_secrets


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://user:pass@host/x?token=1", "https://host/x"),
        ("https://user@host:8443/a/b.pth#frag", "https://host:8443/a/b.pth"),
        ("see https://u:p@host/x?sig=1: HTTP 404; next", "see https://host/x: HTTP 404; next"),
        ("urls=[https://a:b@h/x,https://c:d@h:80/y?z=1#q]", "urls=[https://h/x,https://h:80/y]"),
        ("'https://a:b@h/x?y' and \"ftp://a:b@h/z\"", "'https://h/x' and \"ftp://h/z\""),
        ("http://[::1]:80/x?a", "http://[::1]:80/x"),
        ("https://web.example/https://u:p@h/x?q=1", "https://web.example/https://h/x"),
        ("https://user:pa/ss@host/x", f"https://{LEFT_OUT}"),
        ("https://user:p@ss?w@host/x", f"https://{LEFT_OUT}"),
        ("https://us'er:pa{ss@host:8443/a/b?x", "https://host:8443/a/b"),
        ("https://h/d/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0/net.pth?x", f"https://h/d/{LEFT_OUT}/net.pth"),
        ("https://h/bot123456:AAHdqTcvCH1vGWJxfSe/net.pth", f"https://h/{LEFT_OUT}/net.pth"),
        ("https://h/550e8400-e29b-41d4-a716-446655440000/net.pth", f"https://h/{LEFT_OUT}/net.pth"),
        ("https://h/0123456789abcdef0123456789abcdef01234567/a", f"https://h/{LEFT_OUT}/a"),
        ("https://h/token/abc/net.pth: HTTP 404", f"https://h/token/{LEFT_OUT}/net.pth: HTTP 404"),
        ("model.hf_token=abc method=pgd", f"model.hf_token={LEFT_OUT} method=pgd"),
        ("{'password': 'abc', 'n': 3}", f"{{'password': '{LEFT_OUT}', 'n': 3}}"),
    ],
)
def test_secret_parts_go(text: str, left: str) -> None:
    assert without_secrets(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "https://host/@people/x.pth",
        "https://huggingface.co/o/vit_small_patch8_gap_112.cosface_ms1mv3/resolve/main/model.safetensors",
        "https://huggingface.co/o/n/resolve/0123456789abcdef0123456789abcdef01234567/model.safetensors",
        "https://github.com/o/n/releases/download/v2.2.9/20180402-114759-vggface2.pt",
        "https://host/tokens/net.pth",
        "path=${oc.env:CLOAKBENCH_WEIGHTS,weights}/net.pth",
        "state_key=model.ema tokens: 49",
        "unexpected token: 'x' at line 3",
        "sha256 is 1234, expected 5678: fetch it again",
        "a ? b : c, 8/255, user@host",
    ],
)
def test_everything_else_stays(text: str) -> None:
    assert without_secrets(text) == text


def test_settings_and_variables_that_are_called_like_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-aws-secret")
    monkeypatch.setenv("WANDB_API_KEY", "true")  # too short to be one
    settings = {
        "api_key": "x1",
        "urls": ("https://u:p@h/x?y",),
        "network": {"tokens": 49, "hfToken": "x2", "state_key": "ema"},
        "note": "with planted-aws-secret in it",
        "flag": "true",
        "password": None,
        "seed": 0,
    }
    assert without_secret_settings(settings) == {
        "api_key": LEFT_OUT,
        "urls": ["https://h/x"],
        "network": {"tokens": 49, "hfToken": LEFT_OUT, "state_key": "ema"},
        "note": f"with {LEFT_OUT} in it",
        "flag": "true",
        "password": None,
        "seed": 0,
    }
    assert not any(map(is_secret_name, ("state_key", "keys", "authors", "monkey", "passes", "tokeniser", "compass")))
