"""The one route whose whole response is cached, and the application asked by schemathesis with caching on and off."""

import httpx


async def test_the_text_of_a_document_is_answered_from_the_cache_until_it_changes(client: httpx.AsyncClient) -> None:
    await client.post("/api/v1/documents", json={"user_id": 1, "title": "t", "content": "old"})
    path = "/api/v1/documents/1/content"
    first, second = await client.get(path), await client.get(path)
    assert (first.text, second.text) == ("old", "old")
    assert second.headers["cache-status"].startswith("donjon; hit")
    assert (await client.get(path, headers={"If-None-Match": first.headers["etag"]})).status_code == 304

    await client.put("/api/v1/documents/1", json={"title": "another", "content": "new"})
    changed = await client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (changed.status_code, changed.text) == (200, "new")

    await client.delete("/api/v1/documents/1")
    assert (await client.get(path)).status_code == 404
