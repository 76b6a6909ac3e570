"""What the index asks its database. ``{ids}`` stands for the marks of as many ids as are asked for at once."""

from __future__ import annotations

from typing import Final

PRESENT: Final = """
SELECT id FROM recent WHERE id IN ({ids})
UNION ALL
SELECT id FROM chunks WHERE id IN ({ids}) AND pack NOT IN (SELECT no FROM packs WHERE condemned)
AND NOT EXISTS (SELECT 1 FROM damaged WHERE damaged.id = chunks.id AND damaged.pack = chunks.pack)
"""
THERE: Final = """
SELECT id FROM recent WHERE id IN ({ids})
UNION ALL
SELECT id FROM chunks WHERE id IN ({ids})
AND NOT EXISTS (SELECT 1 FROM damaged WHERE damaged.id = chunks.id AND damaged.pack = chunks.pack)
"""
LOCATED: Final = """
SELECT id, name, frame_offset, frame_length, start, length FROM (
    SELECT id, name, frame_offset, frame_length, start, length, 0 AS doubt
    FROM recent JOIN recent_packs ON no = pack WHERE id IN ({ids})
    UNION ALL
    SELECT id, name, frame_offset, frame_length, start, length, condemned
        + 2 * EXISTS (SELECT 1 FROM damaged WHERE damaged.id = chunks.id AND damaged.pack = chunks.pack)
    FROM chunks JOIN packs ON no = pack WHERE id IN ({ids})
) ORDER BY doubt DESC
"""
COPIES: Final = """
SELECT id, name, EXISTS (SELECT 1 FROM damaged WHERE damaged.id = chunks.id AND damaged.pack = chunks.pack)
FROM chunks JOIN packs ON no = pack WHERE id IN ({ids})
"""
ROWS: Final = """
SELECT id, pack, frame_offset, start, length,
    EXISTS (SELECT 1 FROM damaged WHERE damaged.id = chunks.id AND damaged.pack = chunks.pack)
FROM chunks WHERE (id, pack) > (?, ?) ORDER BY id, pack LIMIT 4096
"""
MERGE: Final = (
    "INSERT OR IGNORE INTO packs (name, size, salvaged) SELECT name, size, salvaged FROM recent_packs",
    """
    INSERT OR IGNORE INTO chunks SELECT id, packs.no, frame_offset, frame_length, start, length
    FROM recent JOIN recent_packs ON recent_packs.no = pack JOIN packs ON packs.name = recent_packs.name ORDER BY id
    """,
    "DELETE FROM recent",
    "DELETE FROM recent_packs",
)
