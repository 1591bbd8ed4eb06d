/** A service worker: once loaded, the page works without a network. A new version takes over when its pages are closed. */

declare const FILES: readonly string[]; // of the page; all are filled in where it is built
declare const LATER: string; // a file that not everyone needs, kept when it is fetched
declare const VERSION: string;

interface LifeEvent extends Event {
  waitUntil(work: Promise<unknown>): void;
}

interface FetchEvent extends Event {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}

async function forgetOthers(): Promise<void> {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name !== VERSION).map((name) => caches.delete(name)));
}

async function answer(request: Request): Promise<Response> {
  const cache = await caches.open(VERSION);
  const kept = await cache.match(request);
  if (kept !== undefined) return kept;
  const response = await fetch(request);
  if (response.ok && request.url.endsWith(`/${LATER}`)) await cache.put(request, response.clone());
  return response;
}

addEventListener("install", (event) => {
  (event as LifeEvent).waitUntil(caches.open(VERSION).then((cache) => cache.addAll(FILES)));
});
addEventListener("activate", (event) => (event as LifeEvent).waitUntil(forgetOthers()));
addEventListener("fetch", (event) => {
  const { request } = event as FetchEvent;
  if (request.method === "GET") (event as FetchEvent).respondWith(answer(request));
});
