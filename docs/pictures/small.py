"""Makes screenshots small: a PNG of at most 256 colours, a third of the size, and to the eye the same.

A page has few colours, and the edges of its letters some thousand shades of them; each shade that is rare becomes the
nearest of the frequent ones. The browser that took the picture counts; PNG is written here (W3C PNG, third edition).
"""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path
from typing import Any

__all__ = ["save_small"]

_N_COLORS = 256
_COUNT = """async ([png, most]) => {
  const image = new Image();
  image.src = 'data:image/png;base64,' + png;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height);
  const drawn = canvas.getContext('2d');
  drawn.drawImage(image, 0, 0);
  const pixels = new Uint32Array(drawn.getImageData(0, 0, image.width, image.height).data.buffer);
  const counts = new Map();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) || 0) + 1);
  const palette = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a)).slice(0, most);
  const part = (color, k) => (color >> (8 * k)) & 255;
  const far = (a, b) => [0, 1, 2].reduce((sum, k) => sum + (part(a, k) - part(b, k)) ** 2, 0);
  const index = new Map();
  for (const color of counts.keys()) {
    let best = 0;
    palette.forEach((other, k) => { if (far(color, other) < far(color, palette[best])) best = k; });
    index.set(color, best);
  }
  const indices = Uint8Array.from(pixels, pixel => index.get(pixel));
  const text = bytes => { let all = '';
    for (let at = 0; at < bytes.length; at += 8192)
      all += String.fromCharCode(...bytes.subarray(at, at + 8192));
    return btoa(all); };
  return { width: image.width, height: image.height, indices: text(indices),
           colors: palette.map(color => [0, 1, 2].map(k => part(color, k))) };
}"""


def save_small(page: Any, png: bytes, path: Path) -> None:
    """Write a screenshot to `path` with few colours; `page` is of the browser that counts them."""
    encoded = base64.b64encode(png).decode()
    counted = page.evaluate(_COUNT, [encoded, _N_COLORS])
    width, height = counted["width"], counted["height"]
    indices = base64.b64decode(counted["indices"])
    # Filter 0, none, before each row: neighbours in a palette are not neighbours in colour.
    rows = b"".join(b"\0" + indices[at : at + width] for at in range(0, len(indices), width))
    palette = bytes(part for color in counted["colors"] for part in color)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits, of a palette
    chunks = ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(rows, 9)))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*each) for each in (*chunks, (b"IEND", b"")))
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
