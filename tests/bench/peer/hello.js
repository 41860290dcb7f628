// The peer's guest: what `wasmtime serve` runs in the bench. Same answer as our samples' GET /hello.
addEventListener("fetch", (event) => {
  const { pathname } = new URL(event.request.url);
  const body = JSON.stringify({ message: "hello", path: pathname, tenant: "acme" });
  event.respondWith(new Response(body, { status: 200, headers: { "content-type": "application/json" } }));
});
