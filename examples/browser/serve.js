// Serves the page, the package as it was built, and one price.

import { createReadStream } from "node:fs";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

const here = new URL(".", import.meta.url);
const built = new URL("./node_modules/donjon/dist/", here);
const TYPES = { html: "text/html", js: "text/javascript" };
let price = 30;

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, "http://localhost");
  if (pathname === "/price") {
    if (request.method === "POST") price++;
    return response.writeHead(200, { "content-type": "application/json", "cache-control": "no-store" }).end(`${price}`);
  }
  const [, folder, name] = /^\/(donjon\/)?([\w-]+\.(?:html|js))?$/.exec(pathname) ?? [];
  const file = createReadStream(fileURLToPath(new URL(name ?? "index.html", folder === undefined ? here : built)));
  file.on("error", () => response.writeHead(404).end());
  file.on("open", () => response.writeHead(200, { "content-type": TYPES[(name ?? "index.html").split(".").pop()] }));
  file.pipe(response);
});
server.listen(Number(process.env.PORT ?? 8000), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
