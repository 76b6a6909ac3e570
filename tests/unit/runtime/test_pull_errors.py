"""Why a pull failed: each cause that registries and engines have words for is told by its own code."""

from __future__ import annotations

import pytest

from holdfast.runtime.pull_errors import login_failed, pull_failed

NOTES = "registry.example/notes:1"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("toomanyrequests: You have reached your unauthenticated pull rate limit.", "registry_rate_limited"),
        ("unexpected status code https://registry.example/v2/a: 429 Too Many Requests", "registry_rate_limited"),
        (
            "pull access denied for notes, repository may require 'docker login': denied: exceeded rate limit",
            "registry_rate_limited",
        ),
        (
            "pull access denied for notes, repository does not exist or may require 'docker login': denied: no access",
            "registry_denied",
        ),
        ("unauthorized: authentication required", "registry_denied"),
        ('Head "https://registry.example/v2/notes/manifests/1": no basic auth credentials', "registry_denied"),
        ("unexpected status from GET request to https://registry.example/v2/: 403 Forbidden", "registry_denied"),
        (
            "manifest for registry.example/notes:1 not found: manifest unknown: manifest unknown",
            "image_not_in_registry",
        ),
        ("name unknown: repository name not known to registry", "image_not_in_registry"),
        (
            "error pulling image configuration: download failed after attempts=1: unknown blob",
            "image_not_in_registry",
        ),
        ('failed to resolve reference "registry.example/notes:1": not found', "image_not_in_registry"),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", "image_for_other_platform"),
        ('image operating system "windows" cannot be used on this platform', "image_for_other_platform"),
        ("x509: certificate signed by unknown authority", "registry_untrusted"),
        ("http: server gave HTTP response to HTTPS client", "registry_untrusted"),
        ("write /var/lib/docker/tmp/a: no space left on device", "image_no_space"),
        ("received unexpected HTTP status: 502 Bad Gateway", "registry_broken"),
        (
            'Get "https://registry.example/v2/": dial tcp 203.0.113.9:443: connect: connection refused',
            "registry_unreachable",
        ),
        ('Get "https://registry.example/v2/": dial tcp: lookup registry.example: no such host', "registry_unreachable"),
        ('Get "https://registry.example/v2/": net/http: TLS handshake timeout', "registry_unreachable"),
        ('Get "https://registry.example/v2/": context deadline exceeded', "registry_unreachable"),
        ("unexpected EOF", "registry_unreachable"),
        ("open /var/lib/docker/tmp/a: permission denied", "image_pull_failed"),
        ("layers from manifest don't match image configuration", "image_pull_failed"),
    ],
)
def test_each_cause_has_its_code_and_all_name_registry_image_and_what_was_said(said: str, code: str) -> None:
    error = pull_failed(NOTES, f"{said}\n")
    assert error.code == code
    assert error.details == {"registry": "registry.example", "reference": NOTES, "said": said.rstrip(".")}
    assert NOTES in error.message
    assert said.rstrip(".") in error.message
    assert error.next_step


def test_what_an_image_is_called_does_not_pass_for_what_was_said() -> None:
    reference = "registry.example/denied/timeout:429"
    said = f'Get "https://registry.example/v2/denied/timeout/manifests/429": {reference}: dial tcp: connection refused'
    assert pull_failed(reference, said).code == "registry_unreachable"
    assert pull_failed("denied/timeout", "something else").details["registry"] == "docker.io"


def test_words_without_end_are_cut() -> None:
    assert len(pull_failed(NOTES, "x " * 5000).message) < 700


def test_what_a_registry_said_puts_no_signs_into_a_line_that_nobody_sees() -> None:
    for error in (
        pull_failed(NOTES, "de\x1b[2Jnied \u202eabc"),
        login_failed("r.example", "\x9b2J \u2066unauthorized"),
    ):
        assert error.message.isprintable()
        assert str(error.details["said"]).isprintable()
