"""What must not be seen, in the places where it would be."""

from __future__ import annotations

import pytest

from depotlab.service._reasons.masking import COVER, Mask

URL = (
    "http://store:9000/contexts/shop/1.tar.gz?X-Amz-Credential=AKIAPLANTED0123456789%2F2026%2Fs3"
    "&X-Amz-Expires=900&X-Amz-Signature=feedfacefeedfacefeedface"
)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f'Get "{URL}": dial tcp: refused', id="the whole address"),
        pytest.param("signature feedfacefeedfacefeedface does not fit", id="the signature alone"),
        pytest.param("of AKIAPLANTED0123456789/2026/s3", id="a value as it was meant"),
        pytest.param("X-Amz-Credential=AKIAPLANTED0123456789%2F2026%2Fs3;", id="a value as sent"),
    ],
)
def test_an_address_that_is_a_key_is_covered(text: str) -> None:
    found = Mask(urls=[URL])(text)
    assert COVER in found
    assert "feedface" not in found
    assert "AKIAPLANTED" not in found


def test_where_the_address_leads_stays_readable() -> None:
    found = Mask(urls=[URL])(f'Get "{URL}": refused')
    assert found == f'Get "http://store:9000/contexts/shop/1.tar.gz?{COVER}": refused'


def test_each_line_of_a_long_secret_is_covered() -> None:
    mask = Mask(["-----BEGIN KEY-----\nMIIEplantedplanted\n-----END KEY-----\n"])
    assert mask("  MIIEplantedplanted") == f"  {COVER}"


def test_short_values_are_not_secrets_that_could_be_covered() -> None:
    mask = Mask(["true", "8080", ""])
    assert mask("true on port 8080") == "true on port 8080"


def test_of_two_secrets_the_longer_is_covered_whole() -> None:
    assert Mask(["planted-1", "planted-12"])("planted-12") == COVER


def test_a_secret_in_an_address_is_covered_too() -> None:
    assert Mask(["pass/word+1"])("https://u:pass%2Fword%2B1@host") == f"https://u:{COVER}@host"


@pytest.mark.parametrize(
    "printed",
    [
        pytest.param('{"PASSWORD": "it\'s \\"planted\\" é\\\\1"}', id="JSON"),
        pytest.param('{"PASSWORD": "it\'s \\"planted\\" \\u00e9\\\\1"}', id="JSON in ASCII"),
        pytest.param("PASSWORD='it'\\''s \"planted\" é\\1'", id="a shell's, as in the file of the environment"),
    ],
)  # fmt: skip
def test_a_secret_is_covered_however_it_is_quoted(printed: str) -> None:
    found = Mask(['it\'s "planted" é\\1'])(printed)
    assert COVER in found
    assert "planted" not in found


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param([], id="none"),
        pytest.param(["plain", ""], id="none with a secret"),
        pytest.param(["plain", "has planted-1", "plant", "ed-1"], id="one with a secret"),
    ],
)
def test_many_texts_are_covered_as_each_would_be(texts: list[str]) -> None:
    mask = Mask(["planted-1"])
    assert mask.each(texts) == [mask(text) for text in texts]


def test_the_mask_shows_nothing() -> None:
    assert "planted" not in repr(Mask(["planted-1"]))
