/** A service worker: once loaded, the page works without a network. A new version takes over when its pages are closed. */

declare const FILES: readonly string[]; // of the page; all are filled in where it is built
declare const LATER: string; // a file that not everyone needs, kept when it is fetched
declare const VERSION: string;
declare const registration: ServiceWorkerRegistration;

const OURS = `${registration.scope} `; // other pages of the same host have caches, too
const CACHE = OURS + VERSION;

interface LifeEvent extends Event {
  waitUntil(work: Promise<unknown>): void;
}

interface FetchEvent extends Event {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}

/** Fetch all files, past the browser's own cache, which may have those of another version. */
async function keepAll(): Promise<void> {
  const cache = await caches.open(CACHE);
  await cache.addAll(FILES.map((file) => new Request(file, { cache: "reload" })));
}

async function forgetOthers(): Promise<void> {
  const names = (await caches.keys()).filter((name) => name.startsWith(OURS) && name !== CACHE);
  await Promise.all(names.map((name) => caches.delete(name)));
}

async function answer(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request);
  if (kept !== undefined) return kept;
  const response = await fetch(request);
  if (response.ok && request.url.endsWith(`/${LATER}`)) {
    await cache.put(request, response.clone()).catch(() => undefined); // where there is no room, it is fetched again
  }
  return response;
}

addEventListener("install", (event) => (event as LifeEvent).waitUntil(keepAll()));
addEventListener("activate", (event) => (event as LifeEvent).waitUntil(forgetOthers()));
addEventListener("fetch", (event) => {
  const { request } = event as FetchEvent;
  if (request.method === "GET") (event as FetchEvent).respondWith(answer(request));
});
