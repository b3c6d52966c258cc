// How does a Cloudflare worker answer at once with what it has, and refresh it after it has answered?
//
// `npm install`, then `ORIGIN=https://example.org npm start`, and ask http://127.0.0.1:8080/EUR: it answers with what the origin says
// under /EUR. The build below `package.json` is what `wrangler` does by itself.
//
// Each isolate has a memory of its own, so this saves work and promises nothing about other isolates.

import { waitUntil } from "cloudflare:workers";
import { createCache, key } from "donjon";

// Made once for the isolate, not for each request. Whoever is served a stale value does not wait for the refresh that it causes:
// `waitUntil` keeps the isolate alive for it.
const cache = createCache({ namespace: "rates", maxBytes: 16 * 2 ** 20, waitUntil });

export default {
  async fetch(request, env) {
    const currency = new URL(request.url).pathname.slice(1);
    const load = async ({ signal }) => {
      const answer = await fetch(`${env.ORIGIN}/${encodeURIComponent(currency)}`, { signal });
      if (!answer.ok) throw new Error(`the origin answered ${answer.status}`);
      return answer.json();
    };
    try {
      // Fresh for a second; then served for an hour more, while one request refreshes it or the origin is away.
      const rate = await cache.getOrSet(key("rate", currency), load, { ttl: "1s", grace: "1h", signal: request.signal });
      return Response.json(rate);
    } catch (error) {
      return new Response(error.message, { status: 502 });
    }
  },
};
